"""What writing costs: buffered rows over the same rows appended one at a time."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
from benchmarks.pairs import paired_ratios, table

from plastikit.record.store import RunStore
from plastikit.record.table import Column

ROWS = 256
VARIABLES = 20


def test_buffered_rows(tmp_path: Path) -> None:
    """256 records of 20 variables, committed together and one by one."""
    numbers = itertools.count()

    def write(*, commits_each: bool) -> None:
        store = RunStore(tmp_path / f"{next(numbers)}.zarr", configuration={}, provenance={})
        diagnostics = store.table("diagnostics")
        diagnostics.extend_axis("layer", {"layer": np.array(["a", "b", "c"])})
        for variable in range(VARIABLES):
            diagnostics.declare(f"v{variable}", Column(dims=("layer",)))
        for step in range(ROWS):
            store.append("diagnostics", step, {f"v{variable}": np.ones(3) for variable in range(VARIABLES)})
            if commits_each:
                store.commit()
        store.close()

    ratios = paired_ratios(
        {"buffered": lambda: write(commits_each=False), "one commit per record": lambda: write(commits_each=True)},
        rounds=3,
    )
    print(table(f"{ROWS} records of {VARIABLES} variables", ratios))
    assert ratios["one commit per record"] > 1.0
