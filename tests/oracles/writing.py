"""A run whose every value follows from its step, so that any reader can tell what it should hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from plastikit.record.dataset import read_attributes
from plastikit.record.store import RunStore
from plastikit.record.table import Column, Layout

LAYERS = 3
UNITS = 40


@dataclass(frozen=True)
class Resumed:
    """From where a run is gone on with."""

    run: str
    step: int
    rows: Mapping[str, int] = field(default_factory=dict)


def resumed(location: str | Path, step: int | None) -> Resumed | None:
    """The run that lies at ``location``, from ``step`` on; None for a new one."""
    return None if step is None else Resumed(str(read_attributes(location)["id"]), step)


def declare(store: RunStore) -> Layout:
    """Variables of several shapes in two groups, one of which is written as packed vectors."""
    table = store.table("diagnostics")
    table.extend_axis("layer", {"layer": np.array([f"layer_{k}" for k in range(LAYERS)])})
    table.extend_axis("unit", {"unit_layer": np.zeros(UNITS, dtype=np.int64), "unit_index": np.arange(UNITS)})
    for name, dims in (("srank", ("layer",)), ("unit_activation", ("unit",)), ("norm", ())):
        table.declare(name, Column(dims=dims))
    store.table("training").declare("loss", Column(dtype="float64"))
    return layout_of()


def layout_of() -> Layout:
    """Where the numbers of a packed row belong."""
    return Layout({"unit_activation": (np.arange(UNITS), np.arange(UNITS)[None])})


def hand_over(store: RunStore, layout: Layout, step: int, *, is_noted: bool = True) -> None:
    """The row of ``step`` in both groups, and now and then an event."""
    values = {"srank": row(step, LAYERS), "norm": np.float32(step)}
    store.append("diagnostics", step, values, (layout, row(step, UNITS)))
    store.append("training", step, {"loss": step / 7})
    if is_noted and step % 10 == 0:
        store.event("note", f"at {step}", step)


def row(step: int, size: int) -> npt.NDArray[np.float32]:
    """What one row holds."""
    return (step + np.arange(size) / 64).astype(np.float32)


def check(tree: xr.DataTree, *, is_noted: bool = True) -> dict[str, int]:
    """Rows of each group; raises where a value is not what its step says, or a length is not that of the others."""
    counts: dict[str, int] = {}
    for group in ("diagnostics", "training", *(["events"] if is_noted else [])):
        data = tree[group].to_dataset().load()
        leading = "event" if group == "events" else "step"
        counts[group] = count = data.sizes.get(leading, 0)
        if count:
            _check_rows(data, group, count)
    return counts


def _check_rows(data: xr.Dataset, group: str, count: int) -> None:
    steps = np.arange(count)
    if group == "events":
        assert [str(text) for text in data["message"].values] == [f"at {10 * k}" for k in range(count)]
        return
    assert data["step"].values.tolist() == steps.tolist()
    expected: dict[str, Any] = (
        {"loss": steps / 7}
        if group == "training"
        else {
            "norm": steps.astype(np.float32),
            "srank": np.stack([row(step, LAYERS) for step in steps]),
            "unit_activation": np.stack([row(step, UNITS) for step in steps]),
        }
    )
    for name, values in expected.items():
        np.testing.assert_array_equal(data[name].values, values)
    assert not np.isnat(data["wall_time"].values).any()
