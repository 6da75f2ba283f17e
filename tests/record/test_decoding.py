"""Chunks become values again, or an error."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numcodecs import VLenUTF8, Zstd

from plastikit.errors import DamagedError
from plastikit.record.decoding import Kind, decode
from plastikit.record.encoding import ArrayKind, array_document, encode


def _kind(dtype: str, chunks: tuple[int, ...], **changed: Any) -> Kind:
    missing: Any = {"str": "", "float32": np.nan}.get(dtype, -1)
    dims = tuple(f"d{number}" for number in range(len(chunks)))
    written = ArrayKind(dims=dims, chunks=chunks, dtype=dtype, missing=missing, attributes={"units": "1"})
    return Kind.of(array_document(chunks, written) | changed)


@pytest.mark.parametrize(
    "values",
    [
        np.arange(12, dtype=np.float32).reshape(3, 4) / 7,
        np.array([-1, 2**60], dtype=np.int64),
        np.array(["", "ü" * 300, "a"], dtype=object),
    ],
)
def test_what_was_written_comes_back(values: np.ndarray[Any, Any]) -> None:
    """Numbers and texts, bit for bit; without a checksum too."""
    kind = _kind("str" if values.dtype == object else str(values.dtype), values.shape)
    found = decode(encode(values), kind)
    assert found.dtype == values.dtype
    np.testing.assert_array_equal(found, values)
    old = _kind("str" if values.dtype == object else str(values.dtype), values.shape, codecs=_old(kind))
    assert not old.is_checked
    np.testing.assert_array_equal(decode(encode(values)[:-4], old), values)


def _old(kind: Kind) -> list[dict[str, str]]:
    return [{"name": "vlen-utf8" if kind.is_text else "bytes"}, {"name": "zstd"}]


def test_what_an_array_is() -> None:
    """Its metadata give dimensions, type, what is missing and the passport."""
    kind = _kind("float32", (4, 2))
    assert (kind.dims, kind.chunks, kind.dtype, kind.is_text) == (*(("d0", "d1"), (4, 2), np.dtype("float32"), False),)
    assert np.isnan(kind.missing)
    assert kind.attributes == {"units": "1"}
    assert _kind("int64", (4,)).missing == -1
    assert _kind("str", (4,)).missing == ""


def test_every_flipped_bit_is_met() -> None:
    """With its checksum, no bit of a chunk can turn unseen."""
    data, kind = encode(np.arange(5, dtype=np.float32)), _kind("float32", (5,))
    for bit in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(DamagedError, match="checksum"):
            decode(bytes(damaged), kind)


@pytest.mark.parametrize("length", [0, 1, 3, 4, 10])
def test_a_short_chunk(length: int) -> None:
    """A chunk that ends early is an error, with a checksum and without."""
    data, kind = encode(np.arange(50, dtype=np.float32)), _kind("float32", (50,))
    with pytest.raises(DamagedError):
        decode(data[:length], kind)
    with pytest.raises(DamagedError):
        decode(data[:length], _kind("float32", (50,), codecs=_old(kind)))


def test_values_of_another_shape() -> None:
    """What unpacks into too few or too many values is an error."""
    for text in (False, True):
        values = np.array(["a", "b"], dtype=object) if text else np.arange(2, dtype=np.float32)
        kind = _kind("str" if text else "float32", (3,))
        with pytest.raises(DamagedError, match="unpacked"):
            decode(encode(values), kind)
    packed = Zstd().encode(VLenUTF8().encode(np.array(["a", "b"], dtype=object))[:-1])
    with pytest.raises(DamagedError, match="unpacked"):
        decode(packed, _kind("str", (2,), codecs=_old(_kind("str", (2,)))))


@pytest.mark.parametrize(
    "changed",
    [
        {"codecs": [{"name": "bytes"}, {"name": "gzip"}]},
        {"codecs": []},
        {"data_type": "string"},
        {"data_type": "nothing"},
        {"data_type": 3},
        {"fill_value": "x"},
        {"chunk_grid": {}},
        {"dimension_names": None},
    ],
)
def test_metadata_that_no_plastikit_writes(changed: dict[str, Any]) -> None:
    """Such an array is told, and never read as something else."""
    with pytest.raises(DamagedError):
        _kind("float32", (3,), **changed)
