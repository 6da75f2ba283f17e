"""``plastikit runs``: one line for each run, whatever became of it."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from plastikit.cli import console
from plastikit.cli.main import app
from plastikit.record.dataset import open_run
from plastikit.testing import write_synthetic_run

WRITER = """
import os, sys, torch, plastikit
model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
monitor = plastikit.attach(model, optimizer=optimizer, store=sys.argv[1], schedule=plastikit.every(1))
model(torch.randn(8, 4)).sum().backward()
optimizer.step()
print("writing", flush=True)
sys.stdin.readline()
os._exit(9)
"""


def _call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["runs", *map(str, arguments)])


def _answer(*arguments: str | Path) -> dict[str, dict[str, Any]]:
    answer = _call(*arguments, "--json")
    assert answer.exit_code == 0, answer.output
    return {run["name"]: run for run in json.loads(answer.stdout)["runs"]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs in every state, in folders of their own or not, beside what is no run."""
    above = tmp_path_factory.mktemp("all")
    write_synthetic_run(above / "study" / "wide.zarr", records=12, width=64)
    write_synthetic_run(above / "study" / "narrow.zarr", records=6, width=16, seed=1)
    write_synthetic_run(above / "failed.zarr", records=2, state="failed", error="DivergedError: the loss is nan; lower")
    write_synthetic_run(above / "stopped.zarr", records=2, state="interrupted", error="interrupted after 2 updates")
    shutil.copytree(above / "failed.zarr", above / "truncated.zarr")
    root = above / "truncated.zarr" / "zarr.json"
    root.write_bytes(root.read_bytes()[:500])
    write_synthetic_run(above / "bitten.zarr", records=6)
    (above / "bitten.zarr" / "diagnostics" / "srank" / "c" / "0" / "0").write_bytes(b"what")
    (above / "empty.zarr").mkdir()
    (above / "foreign.zarr").mkdir()
    (above / "foreign.zarr" / "zarr.json").write_text('{"zarr_format": 3, "node_type": "group", "attributes": {}}')
    (above / ".hidden").mkdir()
    shutil.copytree(above / "failed.zarr", above / ".hidden" / "old.zarr")
    (above / "notes.txt").touch()
    return above


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process in the middle of a run, tmp_path/live.zarr."""
    command = [sys.executable, "-P", "-c", WRITER, str(tmp_path / "live.zarr")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "writing\n"
        yield process
        process.kill()


def test_every_run_has_its_state(folder: Path) -> None:
    """Runs of all folders are listed with their state; what cannot be read is, too, with the reason."""
    found = _answer(folder)
    assert {name: run["state"] for name, run in found.items()} == {
        "bitten": "finished",
        "empty": "unreadable",
        "failed": "failed",
        "foreign": "unreadable",
        "stopped": "interrupted",
        "study/narrow": "finished",
        "study/wide": "finished",
        "truncated": "unreadable",
    }
    assert found["failed"]["error"] == "DivergedError: the loss is nan; lower"
    assert "damaged" in found["truncated"]["error"]
    assert "no zarr.json" in found["empty"]["error"]


def test_a_damaged_chunk_costs_its_metric_alone(folder: Path) -> None:
    """The other last values are there, and the error names what cannot be read."""
    bitten = _answer(folder)["bitten"]
    assert "diagnostics/srank cannot be read in rows 0 to 5" in bitten["error"]
    assert bitten["values"].keys() == {"dormant_fraction", "weight_norm", "loss", "success_rate"}


def test_last_values_are_those_of_the_run(folder: Path) -> None:
    """Each is the mean over layers, networks or tasks of what the run holds last."""
    wide = _answer(folder)["study/wide"]
    run = open_run(folder / "study" / "wide.zarr")
    last = run["diagnostics"].to_dataset().isel(step=-1)
    wanted = {
        "dormant_fraction": last["network_dormant_fraction"].sel(tau=0.025).mean(),
        "rank": last["srank"].mean(),
        "weight_norm": last["network_weight_norm"].mean(),
        "loss": run["training"]["critic_loss"][-1],
        "success_rate": run["evaluation"]["success_rate"][-1].mean(),
    }
    for metric, value in wanted.items():
        np.testing.assert_allclose(wide["values"][metric]["value"], float(value), rtol=1e-5)
    assert (wide["step"], wide["rows"]["diagnostics"], wide["rows"]["evaluation"]) == (1100, 12, 2)
    assert wide["configured"]["width"] == 64
    files = [file for file in (folder / "study" / "wide.zarr").rglob("*") if file.is_file()]
    assert wide["size"] == sum(file.stat().st_size for file in files)


def test_a_value_that_is_measured_now_and_then(tmp_path: Path) -> None:
    """The last value is looked for behind rows, and whole chunks, in which it was not measured."""
    run = tmp_path / "run.zarr"
    program = (
        "import sys, numpy as np\n"
        "from plastikit.record.store import RunStore\n"
        "from plastikit.record.table import Column\n"
        "from pathlib import Path\n"
        "store = RunStore(Path(sys.argv[1]), configuration={}, provenance={})\n"
        "table = store.table('diagnostics')\n"
        "table.extend_axis('layer', {'layer': np.array(['a', 'b'])})\n"
        "table.declare('srank', Column(dims=('layer',)))\n"
        "for step in range(2100):\n"
        "    store.append('diagnostics', step, {'srank': np.array([3.0, 5.0])} if step == 7 else {})\n"
        "store.close()\n"
    )
    subprocess.run([sys.executable, "-P", "-c", program, str(run)], check=True)
    found = _answer(tmp_path)["run"]
    assert (found["values"]["rank"]["value"], found["step"]) == (4.0, 2099)


def test_a_live_run_and_one_whose_writer_is_gone(tmp_path: Path, writer: subprocess.Popen[str]) -> None:
    """While its process lives a run is running; once that was killed, it is abandoned."""
    assert _answer(tmp_path)["live"]["state"] == "running"
    writer.kill()
    writer.wait()
    assert _answer(tmp_path)["live"]["state"] == "abandoned"


def test_filter_and_order(folder: Path) -> None:
    """Runs of some states alone, by a column, the largest first; those without a value come last."""
    assert list(_answer(folder, "--state", "failed", "--state", "interrupted")) == ["failed", "stopped"]
    by_width = list(_answer(folder, "--sort", "width", "--descending"))
    assert (by_width[0], by_width[-1]) == ("study/wide", "truncated")
    by_loss = _answer(folder, "--sort", "loss", "--state", "finished").values()
    losses = [run["values"]["loss"]["value"] for run in by_loss]
    assert losses == sorted(losses)


def test_the_table_is_whole_in_a_file(folder: Path) -> None:
    """Where the output is no terminal, every column is there in full, and each failure has its line."""
    answer = _call(folder)
    assert answer.exit_code == 0
    title, *lines = answer.stdout.splitlines()
    assert title.split() == re.split(
        r"\s+", "run state started last row step records size tasks width seed dormant rank weight norm loss success"
    )
    [wide] = [line for line in lines if line.startswith("study/wide ")]
    assert "finished" in wide
    assert "1,100" in wide
    assert "failed: DivergedError: the loss is nan" in lines
    assert lines[-1] == "8 runs"


def test_a_narrow_terminal_does_without_some_columns(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On 80 characters what tells least is left out, no number is cut, and what is missing is named."""
    shown, told = io.StringIO(), io.StringIO()
    for name, file in (("out", shown), ("notes", told)):
        terminal = Console(file=file, force_terminal=True, color_system=None, width=80, highlight=False)
        monkeypatch.setattr(console, name, terminal)
    assert _call(folder, "--state", "finished").exit_code == 0
    lines = shown.getvalue().splitlines()
    assert [title for title in ("state", "last row", "dormant", "rank", "success") if title not in lines[0]] == []
    assert max(map(len, lines[:4])) <= 80
    assert "…" not in "".join(lines[:4])
    hidden = told.getvalue().partition("no room for: ")[2].partition(";")[0].split(", ")
    assert {"started", "records"} <= set(hidden)
    assert [title for title in hidden if f" {title} " in lines[0]] == []


def test_a_pattern_names_runs(folder: Path) -> None:
    """A pattern lists the runs that it fits."""
    assert sorted(_answer(f"{folder}/study/*ow.zarr")) == ["narrow"]
    assert "no run found" in _call(f"{folder}/study/*.none").output


def test_one_run_and_a_run_without_rows(tmp_path: Path) -> None:
    """A run itself is listed alone; one that has recorded nothing yet has dashes."""
    run = write_synthetic_run(tmp_path / "young.zarr", records=0)
    found = _answer(run)["young"]
    assert (found["step"], found["last_row"], found["values"]) == (None, None, {})
    assert _call(run).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["nowhere"], "nowhere does not exist"),
        (["file"], "file is no folder"),
        (["bare"], "no run found in bare"),
        (["bare", "--state", "faild"], "Did you mean failed"),
        (["bare", "--sort", "siz"], "Did you mean size"),
    ],
)
def test_bad_input_is_one_clear_error(
    arguments: list[str], complaint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was found, what was expected and the next move."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bare").mkdir()
    (tmp_path / "file").touch()
    answer = _call(*arguments)
    assert answer.exit_code == 1
    assert complaint in answer.output
    assert len(answer.stderr.strip().splitlines()) == 1


def test_reading_changes_nothing(folder: Path) -> None:
    """No file is written or touched by listing the runs."""

    def stamps() -> dict[str, int]:
        return {str(file): file.stat().st_mtime_ns for file in folder.rglob("*")}

    before = stamps()
    _call(folder)
    assert stamps() == before
