"""A run in the formats of other tools: CSV and Parquet tables, or one netCDF file; whole, or not at all."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import xarray as xr

from plastikit.errors import ConfigurationError, ExportExistsError, UnknownNameError
from plastikit.export.csv_table import CsvTable
from plastikit.export.frames import Block, Frame, frames
from plastikit.schema import UNIT

FORMATS: Final = ("csv", "parquet", "netcdf")
NOTE: Final = "run.json"
"""What stands beside the tables: the attributes of the run, and what each column is."""


class TableWriter(Protocol):
    """Takes the blocks of one table, and is closed after the last."""

    def write(self, block: Block) -> None:
        """Add rows."""
        ...

    def close(self) -> None:
        """Write what is left."""
        ...


Opens = Callable[[Path, Frame, Mapping[str, Any]], TableWriter]
"""From the file, the table and the attributes of its run to what writes it."""


@dataclass(frozen=True, kw_only=True)
class Written:
    """A file that an export has written."""

    path: Path
    rows: int
    columns: tuple[str, ...]
    size: int
    """Bytes."""


@dataclass(frozen=True, kw_only=True)
class Export:
    """What an export has written, and what it left out."""

    path: Path
    files: tuple[Written, ...]
    left_out: tuple[str, ...]
    """Variables with a value for each unit, which nobody named."""


def export_tables(
    run: xr.DataTree,
    output: Path,
    file_format: str,
    *,
    groups: Sequence[str] = (),
    variables: Sequence[str] = (),
    force: bool = False,
) -> Export:
    """Write the tables of ``run`` as CSV or Parquet: a folder, or one file where ``output`` is named like one.

    What has a value for each unit is left out unless ``variables`` names it: it is most of a run by far.

    Raises:
        ConfigurationError: nothing is there to be written, or several tables would go into one file.
        ExportExistsError: something lies at ``output``, and ``force`` is not given or would destroy something else.
        MissingExtraError: Parquet without the extra ``export``.
        UnknownNameError: a group or a variable that the run does not have, or a format that there is not.
    """
    opens = _opens(file_format)
    found = frames(run, groups=groups, variables=variables)
    left_out = [] if variables else [frame for frame in found if UNIT in frame.dims]
    kept = [frame for frame in found if frame not in left_out]
    if not kept:
        raise ConfigurationError(f"there is nothing to write{_asked(groups)}; let the run go past its first record")
    attributes = {str(name): value for name, value in run.attrs.items()}
    suffix = f".{file_format}"
    names = tuple(name for frame in left_out for name in frame.variables)
    if output.suffix == suffix:
        if len(kept) > 1:
            raise ConfigurationError(
                f"{output} is one file, and these are {len(kept)} tables ({', '.join(frame.name for frame in kept)}); "
                "give a folder, or choose variables of the same dimensions with --variable"
            )
        with replaced(output, force=force) as fresh:
            written = _write_table(opens, fresh, kept[0], attributes)
        return Export(path=output, files=(_moved(written, output),), left_out=names)
    with replaced(output, force=force, is_folder=True) as fresh:
        files = [_write_table(opens, fresh / f"{frame.name}{suffix}", frame, attributes) for frame in kept]
        columns = {each.path.name: _described(frame, each) for frame, each in zip(kept, files, strict=True)}
        note = {"run": attributes, "tables": columns}
        (fresh / NOTE).write_text(json.dumps(note, indent=2, ensure_ascii=False, default=str), encoding="utf-8")
    return Export(path=output, files=tuple(_moved(each, output / each.path.name) for each in files), left_out=names)


@contextmanager
def replaced(output: Path, *, force: bool, is_folder: bool = False) -> Iterator[Path]:
    """A new file or folder, which takes the place of ``output`` when all has gone well, and is deleted where not.

    Raises:
        ConfigurationError: the folder above cannot be written.
        ExportExistsError: something lies at ``output``, and ``force`` is not given or would destroy something else.
    """
    _check_place(output, force=force, is_folder=is_folder)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        room = Path(tempfile.mkdtemp(prefix=f".{output.name}.", suffix=".partial", dir=output.parent))
    except OSError as error:
        raise ConfigurationError(
            f"{output} cannot be written: {error.strerror}; choose a place in a folder that you may write to"
        ) from None
    try:
        fresh = room / output.name
        if is_folder:
            fresh.mkdir()
        yield fresh
        _check_place(output, force=force, is_folder=is_folder)
        if is_folder and output.exists():
            output.rename(room / f"{output.name}.old")
        fresh.replace(output)
    finally:
        shutil.rmtree(room, ignore_errors=True)


def _check_place(output: Path, *, force: bool, is_folder: bool) -> None:
    if not os.path.lexists(output):
        return
    if not force:
        raise ExportExistsError(
            f"{output} exists already and is left untouched; choose another --output, or add --force"
        )
    is_ours = output.is_dir() and ((output / NOTE).is_file() or not any(output.iterdir()))
    if is_folder and not is_ours:
        raise ExportExistsError(
            f"{output} is no earlier export and is left untouched, --force or not; choose another --output"
        )
    if not is_folder and output.is_dir():
        raise ExportExistsError(f"{output} is a folder, where a file would be written; choose another --output")


def _write_table(opens: Opens, path: Path, frame: Frame, attributes: Mapping[str, Any]) -> Written:
    writer = opens(path, frame, attributes)
    rows = 0
    columns: tuple[str, ...] = ()
    try:
        for block in frame.blocks():
            writer.write(block)
            rows, columns = rows + len(next(iter(block.values()))), tuple(block)
    finally:
        writer.close()
    return Written(path=path, rows=rows, columns=columns, size=path.stat().st_size)


def _described(frame: Frame, written: Written) -> dict[str, Any]:
    """Rows of a table, and the passport of each of its columns that has one."""
    dataset = frame.dataset
    passports = {name: dict(dataset[name].attrs) if name in dataset else {} for name in written.columns}
    return {"rows": written.rows, "dims": [frame.leading, *frame.dims], "columns": passports}


def _moved(written: Written, path: Path) -> Written:
    return Written(path=path, rows=written.rows, columns=written.columns, size=written.size)


def _asked(groups: Sequence[str]) -> str:
    return f" in {' and '.join(groups)}" if groups else ""


def _opens(file_format: str) -> Opens:
    if file_format == "csv":
        return CsvTable
    if file_format == "parquet":
        from plastikit.export.parquet_table import ParquetTable

        return ParquetTable
    raise UnknownNameError.of("format", file_format, FORMATS)
