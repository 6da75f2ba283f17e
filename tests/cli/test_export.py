"""``plastikit export`` on real runs: what another tool reads is what the run holds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
import xarray as xr
from torch import nn
from typer.testing import CliRunner, Result

import plastikit
from plastikit.cli.main import app
from plastikit.record.dataset import open_run
from plastikit.testing import write_synthetic_run


def _call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["export", *map(str, arguments)])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small MLP in training, with groups, losses, an evaluation that lacks a task, and an event."""
    torch.manual_seed(0)
    store = tmp_path_factory.mktemp("runs") / "mlp.zarr"
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 1))
    optimizer = torch.optim.Adam(model.parameters())
    metadata = {"seed": 3, "nested": {"lists": [1, 2], "none": None}}
    with plastikit.attach(
        model,
        optimizer=optimizer,
        store=store,
        schedule=plastikit.every(2, costly=6),
        groups=lambda _: [0, 1] * 8,
        metadata=metadata,
    ) as monitor:
        for step in range(20):
            monitor.stamp(env_step=10.0 * step)
            loss = model(torch.randn(16, 4)).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            monitor.step(loss=loss)
        monitor.evaluation(success_rate={"reach": 0.5, "push": float("nan")})
        monitor.event("note", 'one, "two"\nthree')
    return store


def _read(file: Path) -> pd.DataFrame:
    return pd.read_parquet(file) if file.suffix == ".parquet" else pd.read_csv(file, parse_dates=["wall_time"])


@pytest.mark.parametrize("to", ["csv", "parquet"])
def test_tables_hold_the_run(to: str, run: Path, tmp_path: Path) -> None:
    """Every variable but those of units has its values, bit for bit, at step and labels; unmeasured rows are gone."""
    answer = _call(run, "--to", to, "-o", tmp_path / "out", "--json")
    assert answer.exit_code == 0, answer.output
    done = json.loads(answer.stdout)
    assert done["left_out"] == ["unit_activation", "unit_gradient"]
    opened = open_run(run)
    seen = set()
    for file in done["files"]:
        table = _read(Path(file["path"]))
        assert [len(table), list(table.columns)] == [file["rows"], file["columns"]]
        group = Path(file["path"]).stem.split("_")[0]
        dataset = opened[group].to_dataset()
        for name in [column for column in table.columns if column in dataset.data_vars]:
            variable = dataset[name]
            if variable.dtype.kind != "f":
                continue
            # Labels such as '1' are numbers to who reads a CSV.
            wanted = variable.to_series().dropna()
            wanted.index = [tuple(map(str, place if isinstance(place, tuple) else (place,))) for place in wanted.index]
            found = table.set_index([*map(str, variable.dims)])[name].dropna().astype("float32")
            found.index = [tuple(map(str, place if isinstance(place, tuple) else (place,))) for place in found.index]
            assert found.to_dict() == wanted.to_dict()
            seen.add(f"{group}/{name}")
        measured = [name for name in table.columns if name in dataset.data_vars]
        assert not table[measured].isna().all(axis=1).any()
    assert seen == {
        f"{group}/{name}"
        for group in ("diagnostics", "training", "evaluation")
        for name in opened[group].data_vars
        if not name.startswith("unit_")
    }


@pytest.mark.parametrize("to", ["csv", "parquet"])
def test_times_texts_and_coordinates(to: str, run: Path, tmp_path: Path) -> None:
    """Times are in UTC to the microsecond, commas, quotes and line breaks survive, environment steps stand beside."""
    assert _call(run, "--to", to, "-o", tmp_path / "out").exit_code == 0
    events = _read(tmp_path / "out" / f"events.{to}")
    assert events["message"].tolist() == ['one, "two"\nthree']
    losses = _read(tmp_path / "out" / f"training.{to}")
    wanted = open_run(run)["training"]["wall_time"].values.astype("datetime64[us]")
    assert str(losses["wall_time"].dt.tz) == "UTC"
    assert (losses["wall_time"].dt.tz_localize(None).values.astype("datetime64[us]") == wanted).all()
    assert losses["env_step"].tolist() == [10.0 * step for step in range(20)]
    layers = _read(tmp_path / "out" / f"diagnostics_layer.{to}")
    assert list(layers.columns[:6]) == ["step", "env_step", "wall_time", "layer", "layer_network", "layer_units"]
    assert set(layers["layer_units"]) == {8, 6}


def test_costly_values_are_empty_between(run: Path, tmp_path: Path) -> None:
    """Where only cheap probes ran, a rank is an empty field, not 0."""
    _call(run, "--to", "csv", "-o", tmp_path / "out")
    layers = pd.read_csv(tmp_path / "out" / "diagnostics_layer.csv")
    assert sorted(set(layers["step"][layers["srank"].isna()])) == [2, 4, 8, 10, 14, 16]
    assert sorted(set(layers["step"][layers["srank"].notna()])) == [0, 6, 12, 18]


def test_units_go_out_when_named(run: Path, tmp_path: Path) -> None:
    """A variable of units is a table with the name of the layer and the index in it, as one file where one is named."""
    file = tmp_path / "units.csv"
    answer = _call(run, "--to", "csv", "-o", file, "--variable", "unit_*")
    assert answer.exit_code == 0, answer.output
    table = pd.read_csv(file)
    assert list(table.columns[3:]) == ["layer", "unit_index", "unit_activation", "unit_gradient"]
    dataset = open_run(run)["diagnostics"].to_dataset()
    one = table[(table["layer"] == 3) & (table["unit_index"] == 5)]
    assert one["unit_activation"].astype("float32").tolist() == dataset["unit_activation"].values[:, 13].tolist()


def test_passports_go_along(run: Path, tmp_path: Path) -> None:
    """run.json beside the tables, and each Parquet file in itself, say what a column is and how the run was set."""
    _call(run, "--to", "parquet", "-o", tmp_path / "out")
    note = json.loads((tmp_path / "out" / "run.json").read_text())
    passport = open_run(run)["diagnostics"]["srank"].attrs
    assert note["tables"]["diagnostics_layer.parquet"]["columns"]["srank"] == passport
    assert note["run"]["configuration"]["nested"] == {"lists": [1, 2], "none": None}
    schema = pq.read_schema(tmp_path / "out" / "diagnostics_layer.parquet")
    assert schema.field("srank").metadata[b"definition"].decode() == passport["definition"]
    assert json.loads(schema.metadata[b"plastikit"])["configuration"]["seed"] == 3


def test_netcdf_is_the_run(run: Path, tmp_path: Path) -> None:
    """xarray opens the file again: groups, dimensions, labels, values, times and passports are those of the run."""
    file = tmp_path / "run.nc"
    answer = _call(run, "--to", "netcdf", "-o", file)
    assert answer.exit_code == 0, answer.output
    opened = open_run(run)
    with xr.open_datatree(file) as found:
        assert set(found.children) == set(opened.children)
        for group in opened.children:
            xr.testing.assert_identical(found[group].to_dataset(), opened[group].to_dataset())
        assert found.attrs["state"] == "finished"
        assert json.loads(found.attrs["configuration"]) == opened.attrs["configuration"]


def test_a_part_as_netcdf(run: Path, tmp_path: Path) -> None:
    """Groups and variables that were not asked for stay out; the names of the layers of units stay in."""
    file = tmp_path / "part.nc"
    _call(run, "--to", "netcdf", "-o", file, "--group", "diagnostics", "--variable", "unit_activation")
    with xr.open_datatree(file) as found:
        assert list(found.children) == ["diagnostics"]
        assert list(found["diagnostics"].data_vars) == ["unit_activation"]
        assert found["diagnostics"]["layer"].values.tolist() == ["1", "3"]


def test_default_names(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without --output, what is written lies in the current folder and is named after the run and the format."""
    monkeypatch.chdir(tmp_path)
    for to in ("csv", "parquet", "netcdf"):
        assert _call(run, "--to", to).exit_code == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mlp.nc", "mlp_csv", "mlp_parquet"]


def test_a_run_in_progress(tmp_path: Path) -> None:
    """A run that is still written goes out as far as it is committed."""
    write_synthetic_run(tmp_path / "run.zarr", records=3, state="running")
    assert _call(tmp_path / "run.zarr", "--to", "csv", "-o", tmp_path / "out").exit_code == 0
    assert len(pd.read_csv(tmp_path / "out" / "training.csv")) == 3


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--to", "csv", "--variable", "srnk"], "Did you mean srank"),
        (["--to", "netcdf", "--variable", "srnk"], "Did you mean srank"),
        (["--to", "csv", "--group", "diagnostic"], "Did you mean diagnostics"),
        (["--to", "csv", "-o", "all.csv"], "all.csv is one file, and these are"),
        (["--to", "csv", "-o", "taken"], "exists already and is left untouched"),
        (["--to", "csv", "-o", "taken", "--force"], "is no earlier export and is left untouched"),
        (["--to", "netcdf", "-o", "taken", "--force"], "is a folder, where a file would be written"),
    ],
)
def test_bad_input_is_one_clear_error(
    arguments: list[str], complaint: str, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was found, what was expected and the next move; nothing is written and nothing is lost."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "mine").touch()
    answer = _call(run, *arguments)
    assert answer.exit_code == 1
    assert complaint in answer.output
    assert "Traceback" not in answer.output
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == ["taken", "taken/mine"]


def test_wrong_format_is_a_wrong_call(run: Path) -> None:
    """A format that there is not is a wrong call, whose answer names those that there are."""
    answer = _call(run, "--to", "xls")
    assert answer.exit_code == 2
    assert "parquet" in answer.output


def test_empty_run(tmp_path: Path) -> None:
    """A run without a row has nothing to write, and says so."""
    write_synthetic_run(tmp_path / "run.zarr", records=0)
    answer = _call(tmp_path / "run.zarr", "--to", "csv", "-o", tmp_path / "out")
    assert answer.exit_code == 1
    assert "there is nothing to write" in answer.output
    assert not (tmp_path / "out").exists()


def test_force_replaces_an_earlier_export(run: Path, tmp_path: Path) -> None:
    """With --force an earlier export gives way as a whole; without it, it is left as it is."""
    out = tmp_path / "out"
    _call(run, "--to", "csv", "-o", out)
    (out / "old.csv").touch()
    assert _call(run, "--to", "csv", "-o", out).exit_code == 1
    assert (out / "old.csv").exists()
    assert _call(run, "--to", "csv", "-o", out, "--force", "--group", "training").exit_code == 0
    assert sorted(path.name for path in out.iterdir()) == ["run.json", "training.csv"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize(("to", "module"), [("parquet", "pyarrow"), ("netcdf", "h5netcdf")])
def test_without_the_extra_one_line_says_how_to_install_it(to: str, module: str, run: Path, tmp_path: Path) -> None:
    """Where the format's library is not installed, the error names the extra that brings it; CSV needs none."""
    code = (
        f"import sys; sys.modules[{module!r}] = None\n"
        "from plastikit.cli.main import app\n"
        "sys.argv = ['plastikit', 'export', *sys.argv[1:]]; app()"
    )
    command = [sys.executable, "-P", "-c", code, str(run), "--to"]
    answer = subprocess.run([*command, to], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert answer.returncode == 1
    assert answer.stderr.splitlines()[-1].endswith("is not installed: pip install 'plastikit[export]'")
    assert list(tmp_path.iterdir()) == []
    assert subprocess.run([*command, "csv"], cwd=tmp_path, capture_output=True, check=False).returncode == 0


def test_the_table_for_people(run: Path, tmp_path: Path) -> None:
    """A line for each file, what was left out, and how to read it."""
    answer = _call(run, "--to", "csv", "-o", tmp_path / "out")
    assert "diagnostics_layer_tau.csv" in answer.stdout
    assert "unit_activation, unit_gradient" in answer.stderr
    assert "pandas.read_csv" in answer.stdout
    assert np.isfinite(pd.read_csv(tmp_path / "out" / "training.csv")["loss"]).all()
