"""One table as CSV, which any tool reads: UTF-8, a header, an empty field for what was not measured."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from plastikit.export.frames import Block, Frame, Repeated, Values


class CsvTable:
    """Numbers are as short as they can be without losing a bit; times are ISO 8601 in UTC."""

    def __init__(self, path: Path, frame: Frame, attributes: Mapping[str, Any]) -> None:  # noqa: ARG002  CSV has no room for them
        """Start the file at ``path``."""
        self._file = path.open("w", encoding="utf-8", newline="")
        self._has_header = False

    def write(self, block: Block) -> None:
        """Add rows, after the header where they are the first."""
        if not self._has_header:
            self._file.write(",".join(map(_quoted, block)) + "\n")
            self._has_header = True
        columns = [_column(values) for values in block.values()]
        self._file.writelines(",".join(row) + "\n" for row in zip(*columns, strict=True))

    def close(self) -> None:
        """Write what is left."""
        self._file.close()


def _column(values: Repeated | Values) -> list[str]:
    if isinstance(values, Repeated):
        found: list[str] = np.array(_texts(values.values), dtype=object)[values.codes].tolist()
        return found
    return _texts(values)


def _texts(values: Values) -> list[str]:
    if values.dtype.kind == "M":
        texts = np.datetime_as_string(values, unit="us", timezone="UTC").tolist()
        return ["" if text == "NaT" else text for text in texts]
    if values.dtype.kind == "f":
        # NumPy's numbers, not Python's: of a float32 they print the fewest digits that give it back.
        return ["" if text == "nan" else text for text in map(str, values)]
    if values.dtype.kind in "iub":
        return list(map(str, values.tolist()))
    return [_quoted(str(value)) for value in values]


def _quoted(text: str) -> str:
    if any(mark in text for mark in ',"\r\n'):
        doubled = text.replace('"', '""')
        return f'"{doubled}"'
    return text
