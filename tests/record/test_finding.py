"""Which runs are meant by a folder, a pattern, a path or several."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from plastikit.errors import NotARunError
from plastikit.record.finding import find_runs, name_of, places_of
from plastikit.record.place import Folder
from plastikit.testing import write_synthetic_run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two runs, a file and another folder."""
    folder = tmp_path_factory.mktemp("finding")
    for name in ("b.zarr", "a.zarr"):
        write_synthetic_run(folder / name, records=1)
    (folder / "notes.zarr").write_text("no folder")
    (folder / "figures").mkdir()
    return folder


def test_every_form(folder: Path) -> None:
    """A folder gives its runs by name; a pattern what fits; paths come in their own order."""

    def names(paths: Any) -> list[str]:
        return [name_of(place) for place in places_of(paths)]

    assert [path.name for path in find_runs(folder)] == ["a.zarr", "b.zarr"]
    assert names(folder) == names(str(folder)) == ["a", "b"]
    assert names(f"{folder}/b*") == ["b"]
    assert names(folder / "b.zarr") == ["b"]
    assert names([folder / "b.zarr", str(folder / "a.zarr")]) == ["b", "a"]


def test_a_run_without_its_root_is_still_one(folder: Path) -> None:
    """A run whose root is gone is no folder of runs while the root's copy lies in it."""
    (folder / "b.zarr" / "zarr.json").unlink()
    assert [place.location for place in places_of(folder / "b.zarr")] == [str(folder / "b.zarr")]


def test_nothing_found(tmp_path: Path) -> None:
    """An empty folder, a pattern that fits nothing and an empty list say what to give."""
    nothing: list[Any] = [tmp_path, f"{tmp_path}/*.zarr", []]
    for paths in nothing:
        with pytest.raises(NotARunError, match="give a folder that holds runs"):
            places_of(paths)


def test_names() -> None:
    """A run is called by the last part of its path, whatever stands around it."""
    assert name_of(Folder(Path("runs") / "a.b.zarr")) == "a.b"
    assert name_of(Folder(Path("run"))) == "run"
