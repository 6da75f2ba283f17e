"""The bytes of a run on disk: metadata of arrays and groups, and values as chunks, as Zarr v3 defines them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import google_crc32c
import numpy as np
import numpy.typing as npt
from numcodecs import VLenUTF8, Zstd

from plastikit.schema import Scalar

Values = npt.NDArray[Any]
Document = dict[str, Any]

TEXT: Final = "str"

_ZSTD: Final = Zstd(level=0)
_TEXTS: Final = VLenUTF8()


def group_document(attributes: Mapping[str, Any]) -> Document:
    """The metadata of a group."""
    return {"attributes": dict(attributes), "zarr_format": 3, "node_type": "group"}


@dataclass(frozen=True, kw_only=True)
class ArrayKind:
    """All that the metadata of an array say but its shape."""

    dims: tuple[str, ...]
    chunks: tuple[int, ...]
    """Sizes of a chunk along ``dims``."""
    dtype: str
    missing: float | str
    """What stands where nothing was measured."""
    attributes: Mapping[str, Scalar]


def array_document(shape: tuple[int, ...], kind: ArrayKind) -> Document:
    """The metadata of an array whose chunks ``encode`` makes."""
    serializer: Document = (
        {"name": "vlen-utf8", "configuration": {}}
        if kind.dtype == TEXT
        else {"name": "bytes", "configuration": {"endian": "little"}}
    )
    return {
        "shape": list(shape),
        "data_type": "string" if kind.dtype == TEXT else kind.dtype,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(kind.chunks)}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": "NaN" if kind.missing != kind.missing else kind.missing,
        "codecs": [
            serializer,
            {"name": "zstd", "configuration": {"level": _ZSTD.level, "checksum": False}},
            {"name": "crc32c"},
        ],
        "attributes": dict(kind.attributes),
        "dimension_names": list(kind.dims),
        "zarr_format": 3,
        "node_type": "array",
        "storage_transformers": [],
    }


def encode(values: Values) -> bytes:
    """A whole chunk: compressed, and followed by its checksum."""
    if values.dtype.kind in "OUT":
        plain = _TEXTS.encode(values.astype(object).reshape(-1))
    else:
        plain = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<"))
    packed = bytes(_ZSTD.encode(plain))
    checksum: int = google_crc32c.value(packed)
    return packed + checksum.to_bytes(4, "little")
