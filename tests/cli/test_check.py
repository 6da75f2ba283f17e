"""``plastikit check``: damage told in plain lines and in JSON, and mended."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import xarray as xr
from typer.testing import CliRunner, Result

from plastikit.cli.main import app
from plastikit.record.dataset import open_run
from plastikit.record.store import RunStore
from plastikit.testing import write_synthetic_run


def _call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["check", *map(str, arguments)])


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run with a damaged chunk and a damaged root."""
    path = write_synthetic_run(tmp_path / "run.zarr", records=20)
    (path / "zarr.json").write_text("{")
    (path / "diagnostics" / "srank" / "c" / "0" / "0").write_bytes(b"nothing")
    return path


def test_a_whole_run(tmp_path: Path) -> None:
    """One line, and exit code 0."""
    path = write_synthetic_run(tmp_path / "run.zarr", records=2)
    answer = _call(path)
    assert (answer.exit_code, answer.stdout) == (0, f"{path} (finished): whole\n")


def test_damage_is_told(run: Path) -> None:
    """What is damaged, what survives, and the next move; exit code 1, and nothing is written."""
    answer = _call(run)
    assert answer.exit_code == 1
    lines = [line.strip() for line in answer.stdout.splitlines()]
    assert lines[0] == f"{run} (finished): 2 files damaged"
    assert "damaged   zarr.json: the root's metadata cannot be read; no values are lost with it" in lines
    assert "damaged   diagnostics/srank, rows 0 to 19: it does not fit its checksum" in lines
    assert any(line.startswith("survives  diagnostics: 20 rows, ") for line in lines)
    assert lines[-1] == f"'plastikit check {run} --repair' makes what survives readable"
    assert (run / "zarr.json").read_text() == "{"


def test_json_says_the_same(run: Path) -> None:
    """Each damaged file with its variable and rows, and each group with what is whole in it."""
    answer = _call(run, "--json")
    assert answer.exit_code == 1
    [found] = json.loads(answer.stdout)["runs"]
    assert (found["run"], found["whole"], found["dropped"]) == (str(run), False, [])
    assert [(file["file"], file["variable"], file["rows"]) for file in found["damaged"]] == [
        ("zarr.json", None, None),
        ("diagnostics/srank/c/0/0", "diagnostics/srank", [0, 19]),
    ]
    group = found["survives"]["diagnostics"]
    assert group["whole"] == group["variables"] - 1


def test_repair(run: Path) -> None:
    """A repaired run is readable by all, says what it lost, and is whole from then on."""
    answer = _call(run, "--repair")
    assert answer.exit_code == 0, answer.output
    assert "lost      diagnostics/srank: 20 rows from 0 to 1900 (its file was damaged: " in answer.stdout
    assert f"repaired  the damaged files are kept in {run}/damaged/1" in answer.stdout
    assert open_run(run)["diagnostics"]["srank"].isnull().all()
    assert xr.open_datatree(run, engine="zarr")["diagnostics"]["srank"].isnull().all()
    again = _call(run)
    assert again.exit_code == 0
    assert "whole" in again.stdout
    assert "lost      diagnostics/srank: 20 rows" in again.stdout
    assert json.loads(_call(run, "--repair", "--json").stdout)["runs"][0]["whole"]


def test_many_runs(run: Path) -> None:
    """A folder is all its runs; what cannot be checked is said, and the others are checked all the same."""
    write_synthetic_run(run.parent / "whole.zarr", records=1)
    (run.parent / "none.zarr").mkdir()
    answer = _call(run.parent)
    assert answer.exit_code == 1
    assert "whole.zarr (finished): whole" in answer.stdout
    assert "2 files damaged" in answer.stdout
    assert "error: " in answer.stderr
    assert "none.zarr is not a readable run" in answer.stderr
    assert "Traceback" not in answer.output


def test_a_run_that_is_being_written(tmp_path: Path) -> None:
    """It is checked, but not repaired."""
    path = tmp_path / "run.zarr"
    store = RunStore(path, configuration={}, provenance={})
    assert _call(path).exit_code == 0
    (path / "zarr.copy.json").write_text("{")
    answer = _call(path, "--repair")
    assert answer.exit_code == 1
    assert "is being written by" in answer.stderr
    assert (path / "zarr.copy.json").read_text() == "{"
    store.close()
