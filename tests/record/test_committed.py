"""What a root says, and what is said of a root that says nonsense."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from oracles.memory import Memory
from plastikit.errors import DamagedError, PlastikitError
from plastikit.record.committed import Kinds, read_groups, read_root
from plastikit.record.encoding import ArrayKind, array_document
from plastikit.record.opening import open_place
from plastikit.record.root import seal
from plastikit.testing import write_synthetic_run

FLIPS = 150


def _document(shape: tuple[int, ...], **attributes: str) -> dict[str, Any]:
    dims = ("step", "layer")[: len(shape)]
    kind = ArrayKind(dims=dims, chunks=(4,) * len(dims), dtype="float32", missing=np.nan, attributes=attributes)
    return array_document(shape, kind)


def _place(arrays: dict[str, dict[str, Any]]) -> Memory:
    metadata = {"consolidated_metadata": {"metadata": arrays}}
    attributes = {"schema_version": 2, "state": "finished", "configuration": {}}
    return Memory({"zarr.json": seal({"attributes": attributes, "node_type": "group"} | metadata)})


def test_arrays_that_are_alike_share_their_kind() -> None:
    """Of many runs, arrays that differ in their shape alone are of one kind; others are not."""
    kinds = Kinds()
    first, shape = kinds.of("training/loss", _document((3,), units="1"))
    second, other = kinds.of("training/loss", _document((5,), units="1"))
    assert first is second
    assert (shape, other) == ((3,), (5,))
    assert kinds.of("training/loss", _document((3,), units="s"))[0] is not first
    assert kinds.of("training/success", _document((3,), units="1"))[0] is not first


def test_groups_and_their_coordinates(tmp_path: Path) -> None:
    """Every array stands in its group; coordinates are those that the group names, and the labels."""
    place = Memory.of(write_synthetic_run(tmp_path / "run.zarr", records=3))
    group = read_groups(place, read_root(place), Kinds())["training"]
    assert set(group.arrays) == {"step", "wall_time", "env_step", "critic_loss", "actor_loss"}
    assert group.coordinates == {"step", "wall_time", "env_step"}
    assert set(group.indexes) == {"step"}
    assert group.arrays["critic_loss"].shape == (3,)


@pytest.mark.parametrize(
    "arrays",
    [
        {"training/loss": _document((3,)), "training/step": _document((4,))},
        {"training/l/oss": _document((3,))},
        {"training/loss": _document((-3,))},
        {"training/loss": _document((3,)) | {"shape": "three"}},
        {"training/loss": _document((3, 2)) | {"shape": [3]}},
        {"training/loss": {}},
        {"training/loss": _document((3,)) | {"codecs": [{"name": "gzip"}]}},
    ],
)
def test_roots_that_say_nonsense(arrays: dict[str, dict[str, Any]]) -> None:
    """A root that fits its checksum and cannot be true is damaged, whoever wrote it."""
    place = _place(arrays)
    with pytest.raises(DamagedError, match=r"run\.zarr is damaged: its zarr\.json.*plastikit check run\.zarr --repair"):
        read_groups(place, read_root(place), Kinds())


def test_a_root_without_its_state() -> None:
    """State and configuration belong to every run."""
    place = Memory({"zarr.json": seal({"attributes": {"schema_version": 2, "state": "finished"}})})
    with pytest.raises(DamagedError, match="neither state nor configuration"):
        read_root(place)


def test_flipped_bits_without_a_checksum() -> None:
    """In a root of version 1 a flipped bit can pass unseen; whatever comes of it is a value or an error of ours."""
    with zipfile.ZipFile(Path(__file__).parent / "frozen" / "version-1.zip") as packed:
        files = {name.removeprefix("version-1.zarr/"): packed.read(name) for name in packed.namelist()}
    assert json.loads(files["zarr.json"])["attributes"]["schema_version"] == 1
    told = 0
    for number in range(FLIPS):
        generator = np.random.default_rng(number)
        place, data = Memory(files), bytearray(files["zarr.json"])
        data[generator.integers(len(data))] ^= 1 << generator.integers(8)
        place.files["zarr.json"] = bytes(data)
        try:
            open_place(place).load()
        except PlastikitError:
            told += 1
    assert 0 < told < FLIPS
