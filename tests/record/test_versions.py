"""Frozen runs of every layout there was: each is read as it was written, by plastikit and by plain xarray."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from oracles.memory import Memory
from plastikit.errors import DamagedError
from plastikit.record.dataset import open_run, open_runs
from plastikit.record.opening import open_place
from plastikit.record.place import Folder
from plastikit.record.repair import mend
from plastikit.record.verification import verify
from plastikit.schema import SCHEMA_VERSION

FROZEN = Path(__file__).parent / "frozen"
VERSIONS = range(1, SCHEMA_VERSION + 1)
LOSSES = [0.9419028, 1.7295847, 1.1367062, 1.3389276, 0.4487585, 0.7981716, 0.5749791, 2.7628398, 1.094306, 1.0316169]
UNITS = [0.07596451, 0.00868844, 0.01876269, 0.05336247]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same small training, recorded by every version."""
    folder = tmp_path_factory.mktemp("frozen")
    for version in VERSIONS:
        with zipfile.ZipFile(FROZEN / f"version-{version}.zip") as packed:
            packed.extractall(folder)
    return folder


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_is_read(version: int, runs: Path) -> None:
    """State, settings, steps, labels, passports and values are those of the day it was written."""
    run = open_run(runs / f"version-{version}.zarr")
    assert (run.attrs["schema_version"], run.attrs["state"]) == (version, "finished")
    assert run.attrs["configuration"]["architecture"] == "plain"
    assert run["training"]["step"].values.tolist() == list(range(1, 11))
    np.testing.assert_allclose(run["training"]["loss"], LOSSES, rtol=1e-6)
    diagnostics = run["diagnostics"].to_dataset()
    assert diagnostics["step"].values.tolist() == [0, 2, 4, 6, 8]
    assert diagnostics["parameter"].values.tolist() == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert diagnostics["srank"].values[:, 0].tolist() == [3, 2, 3, 3, 4]
    assert diagnostics["srank"].attrs["parameter_delta"] == 0.01
    np.testing.assert_allclose(diagnostics["unit_activation"][2], UNITS, rtol=1e-6)
    assert diagnostics["group_dormant_fraction"].dims == ("step", "layer", "group", "tau")
    assert str(diagnostics["wall_time"].values[0]).startswith("2026-11-22T")
    assert run["evaluation"]["success_rate"].sel(task="push").item() == 1
    assert run["events"]["message"].values.tolist() == ["half way"]


@pytest.mark.parametrize("version", VERSIONS)
def test_plain_xarray_reads_every_version(version: int, runs: Path) -> None:
    """Every variable, coordinate and attribute is the same without plastikit."""
    path = runs / f"version-{version}.zarr"
    plain = xr.open_datatree(path, engine="zarr")
    plain.attrs.pop("checksum", None)
    assert plain.identical(open_run(path))


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_is_whole(version: int, runs: Path) -> None:
    """What was frozen has not been damaged since."""
    assert not verify(Folder(runs / f"version-{version}.zarr")).damaged


def test_runs_of_all_versions_join(runs: Path) -> None:
    """Runs of different layouts stand side by side."""
    joined = open_runs(runs)
    assert joined["training"]["loss"].shape == (len(VERSIONS), 10)
    np.testing.assert_allclose(joined["training"]["loss"], [LOSSES] * len(VERSIONS), rtol=1e-6)


def test_a_missing_chunk_of_version_1(runs: Path) -> None:
    """There, numbers that are not there are damage; texts that are not there were all empty, and were never written."""
    place = Memory.of(runs / "version-1.zarr")
    del place.files["events/message/c/0"]
    assert open_place(place)["events"]["message"].values.tolist() == [""]
    del place.files["diagnostics/srank/c/0/0"]
    with pytest.raises(DamagedError, match=r"diagnostics/srank cannot be read in rows 0 to 4.*it is not there"):
        open_place(place)["diagnostics"]["srank"].load()
    mend(place)
    assert np.isnan(open_place(place)["diagnostics"]["srank"]).all()
    assert not verify(place).damaged


def test_a_repaired_run_of_version_1(runs: Path, tmp_path: Path) -> None:
    """It stays a run of version 1, which plain xarray reads; without root all its values come back from its arrays."""
    place = Memory.of(runs / "version-1.zarr")
    place.files["zarr.json"] = place.files["zarr.json"][:1000]
    place.files["training/loss/c/0"] = place.files["training/loss/c/0"][:-3]
    mend(place)
    path = place.put_into(tmp_path / "run.zarr")
    run = open_run(path)
    plain = xr.open_datatree(path, engine="zarr")
    plain.attrs.pop("checksum")
    assert plain.identical(run)
    assert (run.attrs["schema_version"], run.attrs["state"]) == (1, "interrupted")
    assert "lost with them" in run.attrs["error"]
    assert np.isnan(run["training"]["loss"]).all()
    for group in ("diagnostics", "evaluation", "events"):
        assert run[group].identical(open_run(runs / "version-1.zarr")[group])
