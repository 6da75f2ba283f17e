"""Readings become one vector and come back as they were."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from plastikit.watch.packing import Packing, Packings, Readings, merge, pack, to_host
from plastikit.watch.probe import Rows


def _readings() -> Readings:
    return {
        "norm": {"a": torch.tensor(1.0), "b": torch.tensor(2.5, dtype=torch.float64)},
        "count": {"a": torch.tensor(3)},
        "fraction": {"a": torch.tensor([0.25, 0.5]), "b": torch.arange(6.0).reshape(3, 2).T},
        "network": {"model": torch.tensor(-1.0, requires_grad=True)},
    }


def test_there_and_back() -> None:
    """Numbers, vectors and strided matrices of any type come back under their names, in float32."""
    measured = to_host(_readings())
    assert {variable: list(row) for variable, row in measured.items()} == {
        variable: list(row) for variable, row in _readings().items()
    }
    for variable, row in _readings().items():
        for label, value in row.items():
            found = measured[variable][label]
            assert found.dtype == np.float32
            np.testing.assert_array_equal(found, value.detach().numpy())


def test_no_readings() -> None:
    """Nothing measured is nothing."""
    assert pack({}, {}) is None
    assert to_host({}) == {}


def test_alike_records_share_their_packing() -> None:
    """The second record of the same kind is packed as the first; its numbers are its own."""
    known: Packings = {}
    first = pack(_readings(), known)
    assert first is not None
    later = _readings()
    later["norm"]["a"] = torch.tensor(7.0)
    second = pack(later, known)
    assert second is not None
    assert second.packing is first.packing
    assert first.unpack()["norm"]["a"] == 1
    assert second.unpack()["norm"]["a"] == 7


@pytest.mark.parametrize(
    "change",
    [
        {"fraction": {"a": torch.tensor([0.25, 0.5, 1.0])}},
        {"norm": {"a": torch.ones(2)}},
        {"norm": {name: torch.ones(2) for name in ("a", "b")}},
        {"norm": {"c": torch.tensor(1.0)}},
        {"other": {"a": torch.tensor(1.0)}},
    ],
)
def test_other_records_are_packed_anew(change: dict[str, dict[str, Tensor]]) -> None:
    """Another shape, label or variable gives a packing of its own, with the right values."""
    known: Packings = {}
    first = pack(_readings(), known)
    assert first is not None
    readings = _readings()
    merge(readings, change)
    second = pack(readings, known)
    assert second is not None
    assert second.packing is not first.packing
    for variable, row in readings.items():
        for label, value in row.items():
            np.testing.assert_array_equal(second.unpack()[variable][label], value.detach().numpy())


def test_half_precision_beside_whole_numbers() -> None:
    """A count keeps all its digits where another value is in half precision."""
    measured = to_host({"a": {"x": torch.tensor(4097), "y": torch.tensor(0.5, dtype=torch.bfloat16)}})
    assert measured["a"]["x"] == 4097
    assert measured["a"]["y"] == 0.5


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_several_devices() -> None:
    """Values of two devices come back in their places, and a record may move to another device."""
    readings = _readings()
    known: Packings = {}
    on_host = pack(readings, known)
    readings["norm"]["a"] = readings["norm"]["a"].cuda()
    assert on_host is not None
    moved = pack(readings, known)
    assert moved is not None
    assert isinstance(moved.packing, Packing)
    np.testing.assert_array_equal(moved.unpack()["fraction"]["b"], on_host.unpack()["fraction"]["b"])
    assert moved.unpack()["norm"]["a"] == 1


def test_rows_are_packed_as_they_lie() -> None:
    """Stacked values of several labels come back label by label, those of several networks beside each other."""
    readings: Readings = {}
    merge(readings, {"norm": Rows(["a", "b"], torch.tensor([1.0, 2.0])), "one": {"x": torch.tensor(5.0)}})
    merge(readings, {"norm": Rows(["c"], torch.tensor([3.0])), "wide": Rows(["a"], torch.tensor([[4.0, 6.0]]))})
    assert dict(readings["norm"]) == {"a": 1.0, "b": 2.0, "c": 3.0}
    measured = to_host(readings)
    assert measured["norm"] == {"a": 1.0, "b": 2.0, "c": 3.0}
    assert measured["wide"]["a"].tolist() == [4.0, 6.0]
    merge(readings, {"norm": {"a": torch.tensor(9.0)}})
    assert to_host(readings)["norm"]["a"] == 9
