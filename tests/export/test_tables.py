"""An export is whole or not there, whatever ends it, and takes little memory however long the run is."""

from __future__ import annotations

import signal
import subprocess
import sys
import tracemalloc
from contextlib import ExitStack
from pathlib import Path

import pytest

from plastikit.errors import DamagedError, ExportExistsError
from plastikit.export import frames, netcdf
from plastikit.export.netcdf import export_netcdf
from plastikit.export.tables import export_tables, replaced
from plastikit.record.dataset import open_run
from plastikit.testing import write_synthetic_run


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("is_folder", [False, True])
def test_an_error_leaves_what_was_there(is_folder: bool, tmp_path: Path) -> None:
    """What fails halfway leaves neither a half export nor a left-over, and the earlier one as it was."""
    output = tmp_path / "out"
    with replaced(output, force=True, is_folder=is_folder) as fresh:
        (fresh / "run.json" if is_folder else fresh).write_text("first")
    with ExitStack() as stack:
        stack.enter_context(pytest.raises(KeyboardInterrupt))
        fresh = stack.enter_context(replaced(output, force=True, is_folder=is_folder))
        (fresh / "run.json" if is_folder else fresh).write_text("second")
        stack.callback(_interrupt)
    assert (output / "run.json" if is_folder else output).read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_what_came_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    """A file that another program wrote during the export is left untouched."""
    output = tmp_path / "out.csv"
    with ExitStack() as stack:
        stack.enter_context(pytest.raises(ExportExistsError))
        stack.enter_context(replaced(output, force=False)).write_text("ours")
        output.write_text("theirs")
    assert output.read_text() == "theirs"
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]


@pytest.mark.parametrize("file_format", ["csv", "parquet", "netcdf"])
def test_damage_is_told_and_nothing_is_written(file_format: str, tmp_path: Path) -> None:
    """A damaged chunk ends the export with its variable and rows; no file is left that looks like an export."""
    run = write_synthetic_run(tmp_path / "run.zarr", records=5)
    chunk = run / "diagnostics" / "srank" / "c" / "0" / "0"
    chunk.write_bytes(chunk.read_bytes()[:-5])
    with ExitStack() as stack:
        stack.enter_context(pytest.raises(DamagedError, match=r"diagnostics/srank.*rows 0 to 4"))
        if file_format == "netcdf":
            export_netcdf(open_run(run), tmp_path / "out")
        else:
            export_tables(open_run(run), tmp_path / "out", file_format)
    assert [path.name for path in tmp_path.iterdir()] == ["run.zarr"]


@pytest.mark.parametrize("file_format", ["csv", "netcdf"])
def test_ctrl_c_leaves_nothing(file_format: str, tmp_path: Path) -> None:
    """A real interrupt in the middle of an export ends it with 130 and no file."""
    run = write_synthetic_run(tmp_path / "run.zarr", width=128, records=3000)
    command = [sys.executable, "-P", "-c", "from plastikit.cli.main import app; app()", "export", str(run)]
    command += ["--to", file_format, "-o", "out", "--variable", "*"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None:
            if any(file.is_file() for file in tmp_path.glob(".out.*.partial/**/*")):
                process.send_signal(signal.SIGINT)
                break
        process.communicate(timeout=60)
    assert process.returncode == 130
    assert [path.name for path in tmp_path.iterdir()] == ["run.zarr"]


@pytest.fixture(scope="module")
def lengths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two runs, of which the second holds 3 MB more of values for each unit."""
    folder = tmp_path_factory.mktemp("lengths")
    return [write_synthetic_run(folder / f"{n}.zarr", width=64, depth=1, records=n) for n in (2048, 6144)]


@pytest.mark.parametrize("file_format", ["csv", "parquet", "netcdf"])
def test_memory_does_not_grow_with_the_run(
    file_format: str, lengths: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an export holds at a time is bounded: of a run three times as long it is about the same."""
    monkeypatch.setattr(frames, "_BLOCK_CELLS", 2**14)
    monkeypatch.setattr(netcdf, "_BLOCK_VALUES", 2**14)
    monkeypatch.setattr(netcdf, "_CHUNK_BYTES", 2**14)
    peaks = []
    for run in map(open_run, lengths):
        output = tmp_path / f"{run['diagnostics'].sizes['step']}"
        tracemalloc.start()
        if file_format == "netcdf":
            export_netcdf(run, output, variables=["unit_activation"])
        else:
            export_tables(run, output, file_format, variables=["unit_activation"])
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] - peaks[0] < 2**20
