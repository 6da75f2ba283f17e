"""Every example runs as it stands and prints what it found."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).resolve().parents[1] / "examples").glob("*.py"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.stem)
def test_example_runs(example: Path, tmp_path: Path) -> None:
    """The script ends well; one that is told where to record leaves a run that says it is finished."""
    store = tmp_path / "run.zarr"
    command = [sys.executable, "-P", str(example), str(store)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.count("\n") > 3
    if "sys.argv" in example.read_text(encoding="utf-8"):
        assert '"state": "finished"' in (store / "zarr.json").read_text(encoding="utf-8")
