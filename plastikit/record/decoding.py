"""What an array on disk is, and its chunks as values; a chunk that is not what was written is an error, never data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import google_crc32c
import numpy as np
import numpy.typing as npt
from numcodecs import VLenUTF8, Zstd

from plastikit.errors import DamagedError

Values = npt.NDArray[Any]
Document = dict[str, Any]

_CHECKSUM_BYTES: Final = 4
_ZSTD: Final = Zstd()
_TEXTS: Final = VLenUTF8()
_NUMBERS: Final = ["bytes", "zstd"]
_STRINGS: Final = ["vlen-utf8", "zstd"]
_CHECKED: Final = ["crc32c"]


@dataclass(frozen=True, eq=False)
class Kind:
    """All that the metadata of an array say, apart from its shape."""

    dims: tuple[str, ...]
    chunks: tuple[int, ...]
    dtype: np.dtype[Any]
    """``object`` for text."""
    missing: Any
    """What stands where nothing was measured."""
    is_checked: bool
    """Whether a checksum follows each chunk."""
    attributes: Mapping[str, Any]

    @classmethod
    def of(cls, document: Document) -> Kind:
        """Read the metadata of an array.

        Raises:
            DamagedError: no plastikit writes such an array.
        """
        try:
            is_text = document["data_type"] == "string"
            dtype = np.dtype(object if is_text else document["data_type"])
            missing = document["fill_value"]
            codecs = [codec["name"] for codec in document["codecs"]]
            is_checked = codecs[-1:] == _CHECKED
            if codecs[: -1 if is_checked else None] != (_STRINGS if is_text else _NUMBERS):
                raise DamagedError(f"packed as {', '.join(codecs)}, which no plastikit does")
            chunks = tuple(document["chunk_grid"]["configuration"]["chunk_shape"])
            if not all(isinstance(size, int) and size > 0 for size in chunks):
                raise DamagedError("its chunks have no size")
            return cls(
                dims=tuple(document["dimension_names"]),
                chunks=chunks,
                dtype=dtype,
                missing=missing if is_text else dtype.type(missing),
                is_checked=is_checked,
                attributes=document.get("attributes", {}),
            )
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            if isinstance(error, DamagedError):
                raise
            raise DamagedError("its metadata are not those of an array") from None

    @property
    def is_text(self) -> bool:
        """Whether it holds texts."""
        return self.dtype.kind == "O"


def decode(data: bytes, kind: Kind) -> Values:
    """The values of a whole chunk.

    Raises:
        DamagedError: it is not what was written.
    """
    if kind.is_checked:
        data, checksum = data[:-_CHECKSUM_BYTES], data[-_CHECKSUM_BYTES:]
        if google_crc32c.value(data).to_bytes(_CHECKSUM_BYTES, "little") != checksum:
            raise DamagedError("it does not fit its checksum")
    try:
        plain = _ZSTD.decode(data)
        flat = _TEXTS.decode(plain) if kind.is_text else np.frombuffer(plain, dtype=kind.dtype.newbyteorder("<"))
        return flat.astype(kind.dtype, copy=False).reshape(kind.chunks)
    except (RuntimeError, ValueError, TypeError, MemoryError, OverflowError):
        raise DamagedError("it cannot be unpacked") from None
