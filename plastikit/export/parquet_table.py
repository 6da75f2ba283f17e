"""One table as Parquet, with its passports; it comes with the extra ``export``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from plastikit.errors import MissingExtraError
from plastikit.export.frames import Block, Frame, Repeated, Values

try:
    import pyarrow as pa
    import pyarrow.parquet as pq
except ImportError:
    raise MissingExtraError.of("writing Parquet", "export") from None


class ParquetTable:
    """Labels are categories, times are timestamps in UTC, what was not measured is null.

    The attributes of the run lie in the file's metadata under ``plastikit``, those of a variable in its field's.
    """

    def __init__(self, path: Path, frame: Frame, attributes: Mapping[str, Any]) -> None:
        """Start the file at ``path``."""
        self._path = path
        self._dataset = frame.dataset
        self._attributes = attributes
        self._writer: Any = None

    def write(self, block: Block) -> None:
        """Add rows."""
        columns = {name: _array(values) for name, values in block.items()}
        if self._writer is None:
            fields = [pa.field(name, column.type, metadata=self._passport(name)) for name, column in columns.items()]
            told = json.dumps(dict(self._attributes), ensure_ascii=False, default=str)
            self._schema = pa.schema(fields, metadata={"plastikit": told})
            self._writer = pq.ParquetWriter(self._path, self._schema, compression="zstd")
        self._writer.write_table(pa.Table.from_arrays(list(columns.values()), schema=self._schema))

    def close(self) -> None:
        """Write what is left."""
        if self._writer is not None:
            self._writer.close()

    def _passport(self, name: str) -> dict[str, str]:
        attrs = self._dataset[name].attrs if name in self._dataset else {}
        return {str(key): str(value) for key, value in attrs.items()}


def _array(values: Repeated | Values) -> Any:
    if isinstance(values, Repeated):
        if values.values.dtype.kind in "OUT":
            labels, first = np.unique(values.values.astype(str), return_inverse=True)
            codes = pa.array(first[values.codes].astype(np.int32))
            return pa.DictionaryArray.from_arrays(codes, pa.array(labels.tolist(), pa.string()))
        values = values.whole()
    if values.dtype.kind == "M":
        return pa.array(values.astype("datetime64[us]"), pa.timestamp("us", tz="UTC"))
    if values.dtype.kind in "OUT":
        return pa.array([str(value) for value in values], pa.string())
    return pa.array(values, from_pandas=True)
