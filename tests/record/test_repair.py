"""Damage of every kind: reading tells it or is right, and a repair leaves a run that says what is lost."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from oracles.damage import damage, varied_run
from oracles.memory import Memory
from plastikit.errors import DamagedError, StoreInUseError
from plastikit.record.dataset import open_run, open_runs
from plastikit.record.opening import open_place
from plastikit.record.place import Folder, place_of
from plastikit.record.repair import ASIDE, mend, repair
from plastikit.record.store import RunStore
from plastikit.record.verification import verify

DAMAGES = 500
LEADING = {"diagnostics": "step", "training": "step", "evaluation": "step", "events": "event"}

Tree = dict[str, np.ndarray[Any, Any]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of many kinds of files."""
    return varied_run(tmp_path_factory.mktemp("repair") / "run.zarr")


@pytest.fixture(scope="module")
def files(folder: Path) -> Mapping[str, bytes]:
    """Its files."""
    return Memory.of(folder).files


@pytest.fixture(scope="module")
def values(files: Mapping[str, bytes]) -> Tree:
    """What it holds."""
    found, errors = _read(Memory(files))
    assert not errors
    return found


def _read(place: Memory) -> tuple[Tree, dict[str, str]]:
    """Every variable that can be read, and what is said of every other."""
    found, errors = {}, {}
    try:
        tree = open_place(place)
    except DamagedError as error:
        return {}, {"": str(error)}
    for group in tree.children:
        for name, variable in tree.children[group].to_dataset(inherit=False).variables.items():
            try:
                found[f"{group}/{name}"] = variable.values
            except DamagedError as error:
                errors[f"{group}/{name}"] = str(error)
    return found, errors


def _same(ours: np.ndarray[Any, Any], theirs: np.ndarray[Any, Any]) -> bool:
    return ours.dtype == theirs.dtype and np.array_equal(ours, theirs, equal_nan=ours.dtype.kind in "fM")


def _told_rows(entry: Mapping[str, Any], found: Tree, key: str) -> slice:
    """Which rows of a variable the root lists as lost."""
    group, _, name = key.partition("/")
    leading = LEADING[group]
    if name == leading or name in {"layer", "layer_network", "unit_layer", "unit_index", "tau"}:
        return slice(entry["first"], entry["last"] + 1)
    steps = found[f"{group}/{leading}"].tolist()
    return slice(steps.index(entry["first"]), steps.index(entry["last"]) + 1)


def test_random_damage(files: Mapping[str, bytes], values: Tree, tmp_path: Path) -> None:
    """Of 500 random damages, every reading is right or names run, variable and rows; and so is every repaired run."""
    for number in range(DAMAGES):
        generator = np.random.default_rng(number)
        place = Memory(files)
        what = ", ".join(damage(place, generator) for _ in range(generator.integers(1, 4)))
        found, errors = _read(place)
        for key, ours in found.items():
            assert _same(ours, values[key]), f"{what}: {key} is wrong"
        for key, error in errors.items():
            place_told = rf"{re.escape(key)} cannot be read in rows \d+ to \d+" if key else "zarr.json|rows"
            assert re.search(place_told, error), f"{what}: {error}"
            assert "run.zarr is damaged" in error
            assert "plastikit check run.zarr" in error
        damaged = verify(place).damaged
        told = {file.variable for file in damaged}
        assert errors.keys() - {""} <= told, what

        done = mend(place)
        assert not verify(place).damaged, what
        mended, errors = _read(place)
        assert not errors, what
        tree = open_place(place)
        dropped = tree.attrs.get("dropped", [])
        assert bool(done.kept_in) == bool(damaged)
        for key, theirs in values.items():
            entries = [entry for entry in dropped if key == f"{entry['group']}/{entry['variable']}"]
            if key not in mended:
                assert entries, f"{what}: {key} is gone unsaid"
                continue
            kept = np.ones(len(theirs), dtype=bool)
            for entry in entries:
                kept[_told_rows(entry, mended, key)] = False
            assert _same(mended[key][kept], theirs[kept]), f"{what}: {key} was changed unsaid"
            assert not kept.all() or not entries, f"{what}: {key} is said to be lost and is not"
        if number % 50 == 0:
            path = place.put_into(tmp_path / f"{number}.zarr")
            plain = xr.open_datatree(path, engine="zarr").load()
            assert set(plain.children) == set(LEADING), what
            assert open_run(path)["diagnostics"].equals(plain["diagnostics"]) or dropped


def test_what_was_damaged_is_kept(files: Mapping[str, bytes]) -> None:
    """Damaged files are copied into a folder of the run before anything is written; a second repair takes another."""
    place = Memory(files)
    for number in (1, 2):
        place.files["diagnostics/srank/c/0/0"] = b"\x00" * 10
        done = mend(place)
        assert done.kept_in == f"{ASIDE}/{number}"
        assert place.files[f"{ASIDE}/{number}/diagnostics/srank/c/0/0"] == b"\x00" * 10
    assert len(open_place(place).attrs["dropped"]) == 1


def test_lost_rows_are_missing_and_listed(files: Mapping[str, bytes], values: Tree) -> None:
    """The rows of a damaged chunk are NaN; the root says of which variable, from which step to which, and why."""
    place = Memory(files)
    place.files["diagnostics/srank/c/1/0"] = place.files["diagnostics/srank/c/1/0"][:-1]
    mend(place)
    tree = open_place(place)
    [entry] = tree.attrs["dropped"]
    reason = "its file was damaged: it does not fit its checksum"
    lost = {"group": "diagnostics", "variable": "srank", "rows": 476, "first": 10240, "last": 14990, "reason": reason}
    assert entry == lost
    srank = tree["diagnostics"]["srank"].values
    assert np.isnan(srank[1024:, :2]).all()
    np.testing.assert_array_equal(srank[:1024], values["diagnostics/srank"][:1024])
    np.testing.assert_array_equal(srank[:, 2], values["diagnostics/srank"][:, 2])


def test_a_lost_root_comes_back_from_its_copy(files: Mapping[str, bytes]) -> None:
    """With the copy there, nothing is lost at all."""
    place = Memory(files)
    del place.files["zarr.json"]
    assert not mend(place).dropped
    assert place.files["zarr.json"] == files["zarr.json"]


def test_lost_steps_are_negative(files: Mapping[str, bytes], values: Tree, tmp_path: Path) -> None:
    """Rows whose step is lost keep their values, at steps that cannot be; joined runs leave them out."""
    place = Memory(files)
    del place.files["diagnostics/step/c/1"]
    mend(place)
    run = open_place(place)["diagnostics"]
    assert run["step"].values.tolist() == [*(10 * row for row in range(1024)), *range(-476, 0)]
    np.testing.assert_array_equal(run["srank"].values, values["diagnostics/srank"])
    joined = open_runs(place.put_into(tmp_path / "run.zarr"))["diagnostics"]
    assert joined["step"].values.tolist() == [10 * row for row in range(1024)]
    np.testing.assert_array_equal(joined["srank"].values[0], values["diagnostics/srank"][:1024])


def test_lost_labels_are_named_so(files: Mapping[str, bytes], values: Tree) -> None:
    """A label that is lost becomes a name that no other run has; the numbers along it stay."""
    place = Memory(files)
    place.files["diagnostics/layer/c/0"] = b""
    mend(place)
    run = open_place(place)["diagnostics"]
    assert run["layer"].values.tolist() == ["lost layer 0 of run", "lost layer 1 of run", "c"]
    np.testing.assert_array_equal(run["srank"].values, values["diagnostics/srank"])


def test_a_whole_run_is_left_alone(folder: Path) -> None:
    """Where nothing is damaged, nothing is written."""
    before = Memory.of(folder).files
    done = repair(Folder(folder))
    assert (done.kept_in, done.dropped) == (None, ())
    assert Memory.of(folder).files == before


def test_a_run_that_is_being_written_is_left_alone(tmp_path: Path) -> None:
    """While its writer lives, a run is not repaired."""
    path = tmp_path / "run.zarr"
    store = RunStore(path, configuration={}, provenance={})
    (path / "zarr.copy.json").unlink()
    with pytest.raises(StoreInUseError):
        repair(Folder(path))
    store.close()
    (path / "zarr.copy.json").unlink()
    assert repair(Folder(path)).kept_in
    assert not verify(Folder(path)).damaged
    assert (path / "zarr.copy.json").read_bytes() == (path / "zarr.json").read_bytes()


def test_nothing_to_repair_from() -> None:
    """Where no metadata are left, the error says so."""
    place = Memory({"zarr.json": b"{", "diagnostics/step/zarr.json": b"", "diagnostics/step/c/0": b"x"})
    with pytest.raises(DamagedError, match=r"run\.zarr cannot be repaired.*restore it from a backup"):
        mend(place)


class Failing(Memory):
    """A place in which only so many writings succeed."""

    def __init__(self, files: Mapping[str, bytes], writings: int) -> None:
        super().__init__(files)
        self.left = writings

    def write(self, items: Mapping[str, bytes]) -> None:
        for key, data in items.items():
            self.left -= 1
            if self.left < 0:
                raise OSError("no space left")
            super().write({key: data})


@pytest.mark.parametrize("writings", range(6))
def test_a_repair_that_is_interrupted(writings: int, files: Mapping[str, bytes], values: Tree) -> None:
    """At whatever instant it ends, what was lost passes for nothing else, and another repair completes it."""
    damaged = dict(files) | {"diagnostics/srank/c/0/0": b"x", "training/loss/c/1": b"y"}
    place: Memory = Failing(damaged, writings)
    with pytest.raises(OSError, match="no space"):
        mend(place)
    listed = {entry["variable"] for entry in open_place(place).attrs.get("dropped", [])}
    found, errors = _read(place)
    for key in ("diagnostics/srank", "training/loss"):
        assert key in errors or key.rpartition("/")[2] in listed
    place = Memory(place.files)
    mend(place)
    assert not verify(place).damaged
    assert len(open_place(place).attrs["dropped"]) == 2
    found, errors = _read(place)
    assert not errors
    np.testing.assert_array_equal(found["training/loss"][:1024], values["training/loss"][:1024])
    assert np.isnan(found["training/loss"][1024:]).all()


def test_a_run_behind_a_url(prefix: str, files: Mapping[str, bytes], values: Tree) -> None:
    """It is checked and repaired where it lies."""
    place = place_of(f"{prefix}/run.zarr")
    place.write(dict(files) | {"zarr.json": b"{", "diagnostics/srank/c/0/0": b"x"})
    assert {file.key for file in verify(place).damaged} == {"zarr.json", "diagnostics/srank/c/0/0"}
    done = repair(place)
    assert place.read([f"{done.kept_in}/diagnostics/srank/c/0/0"]) == [b"x"]
    run = open_run(f"{prefix}/run.zarr")
    assert np.isnan(run["diagnostics"]["srank"][:1024, :2]).all()
    np.testing.assert_array_equal(run["training"]["loss"], values["training/loss"])
    assert not verify(place).damaged
