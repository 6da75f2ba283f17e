"""A check of every file: what is damaged is named, and what survives is counted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from oracles.damage import varied_run
from oracles.memory import Memory
from plastikit.errors import NotARunError, SchemaVersionError
from plastikit.record.place import Folder
from plastikit.record.root import seal, unseal
from plastikit.record.store import RunStore
from plastikit.record.table import Column
from plastikit.record.verification import verify


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of many kinds of files."""
    return varied_run(tmp_path_factory.mktemp("verification") / "run.zarr")


def test_every_file_is_looked_at(folder: Path) -> None:
    """Whichever file is cut short, it is met, and named with what it held."""
    whole = Memory.of(folder)
    verdict = verify(whole)
    assert (verdict.damaged, verdict.origin) == ((), "zarr.json")
    assert verdict.survives == {
        "diagnostics": {"rows": 1500, "variables": 10, "whole": 10},
        "training": {"rows": 1500, "variables": 3, "whole": 3},
        "events": {"rows": 4, "variables": 5, "whole": 5},
    }
    for key in whole.keys():  # noqa: SIM118  a place is no mapping
        place = Memory(whole.files)
        place.files[key] = place.files[key][:-1]
        [file] = verify(place).damaged
        assert file.key == key
        variable, is_chunk, _ = key.partition("/c/")
        assert (file.variable, file.rows is not None) == ((variable, True) if is_chunk else (None, False))


def test_damage_in_words(folder: Path) -> None:
    """Variable, rows, which part of them, and the reason."""
    place = Memory.of(folder)
    del place.files["diagnostics/srank/c/1/1"]
    del place.files["diagnostics/tau/zarr.json"]
    first, second = verify(place).damaged
    assert str(first) == "diagnostics/tau/zarr.json: it is not there; no values are lost with it"
    assert str(second) == "diagnostics/srank, rows 1024 to 1499, layer 2 to 2: it is not there"
    assert verify(place).survives["diagnostics"]["whole"] == 9


def test_where_the_root_was_found(folder: Path) -> None:
    """A damaged root is told with what is lost with it: nothing while its copy is there."""
    place = Memory.of(folder)
    place.files["zarr.json"] = b"{}"
    verdict = verify(place)
    assert verdict.origin == "zarr.copy.json"
    assert str(verdict.damaged[0]).endswith("cannot be read; no values are lost with it")
    del place.files["zarr.copy.json"]
    verdict = verify(place)
    assert verdict.origin == "arrays"
    assert str(verdict.damaged[0]).endswith("configuration and provenance are lost with it")
    assert verdict.survives["diagnostics"] == {"rows": 1500, "variables": 10, "whole": 10}


def test_a_run_that_goes_on_is_whole(tmp_path: Path) -> None:
    """While a run is written, arrays' own metadata lag behind the root's: that is no damage."""
    path = tmp_path / "run.zarr"
    store = RunStore(path, configuration={}, provenance={})
    store.table("training").declare("loss", Column())
    for step in range(20):
        store.append("training", step, {"loss": 0.5})
        store.commit()
        assert not verify(Folder(path)).damaged
    own = json.loads((path / "training" / "loss" / "zarr.json").read_text())
    assert own["shape"] != [20]
    store.close()
    assert not verify(Folder(path)).damaged


def test_what_is_not_checked(tmp_path: Path, folder: Path) -> None:
    """What is no run, or of a newer plastikit, is told so."""
    with pytest.raises(NotARunError):
        verify(Folder(tmp_path))
    place = Memory.of(folder)
    document = unseal(place.files["zarr.json"])
    document["attributes"]["schema_version"] = 99
    place.files["zarr.json"] = seal(document)
    with pytest.raises(SchemaVersionError):
        verify(place)
