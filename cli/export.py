"""``plastikit export``: a run in the formats of pandas, polars, R and netCDF."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from plastikit.cli import options

if TYPE_CHECKING:
    from plastikit.export.tables import Export


class Format(StrEnum):
    """What a run can be written as."""

    CSV = "csv"
    PARQUET = "parquet"
    NETCDF = "netcdf"


def export(
    run: options.Run,
    *,
    to: Annotated[Format, typer.Option(help="csv, parquet or netcdf; the last two come with plastikit\\[export].")],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Where to; by default NAME_csv or NAME_parquet, a folder, or NAME.nc. One table can go into one file: "
            "give a name that ends in .csv or .parquet.",
            show_default=False,
        ),
    ] = None,
    group: Annotated[
        list[str] | None,
        typer.Option(help="diagnostics, training, evaluation or events; may be given several times; all by default."),
    ] = None,
    variable: Annotated[
        list[str] | None,
        typer.Option(help="A variable, or a pattern such as '*_rank'; may be given several times; all by default."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier export.")] = False,
    json: options.Json = False,
) -> None:
    """Write a run for pandas, polars, R or any reader of netCDF.

    CSV and Parquet are tidy tables, one for each set of dimensions: diagnostics_layer has a row for each step and
    layer, with step, env_step, wall_time, the layer's name and network, and a column for each variable measured by
    layer; diagnostics_layer_tau has the threshold too; training has a row for each step. Rows in which nothing was
    measured are left out, and single values that were not are empty (null in Parquet). run.json beside them says what
    each column is, and holds the run's configuration; each Parquet file holds both itself.

    What has a value for each unit is most of a run by far. CSV and Parquet leave it out unless --variable names it:
    10,000 records of 3,600 units are 36 million rows.

    netCDF holds all of a run as it is, and opens with xarray.open_datatree. Nothing of an export is seen before all of
    it is written.
    """
    from plastikit.cli import console
    from plastikit.record.dataset import open_run

    place = output or Path(_default(run, to))
    asked: dict[str, Any] = {"groups": group or (), "variables": variable or (), "force": force}
    opened = open_run(run)
    with console.notes.status(f"writing {place}"):
        if to is Format.NETCDF:
            from plastikit.export.netcdf import export_netcdf

            done = export_netcdf(opened, place, **asked)
        else:
            from plastikit.export.tables import export_tables

            done = export_tables(opened, place, to.value, **asked)
    if json:
        console.print_json(_answer(done, to))
    else:
        _tell(done, to)


def _default(run: str, to: Format) -> str:
    name = run.rstrip("/").rpartition("/")[2].removesuffix(".zarr")
    return f"{name}.nc" if to is Format.NETCDF else f"{name}_{to.value}"


def _answer(done: Export, to: Format) -> dict[str, Any]:
    return {
        "output": str(done.path),
        "format": to.value,
        "files": [
            {"path": str(file.path), "rows": file.rows, "columns": list(file.columns), "bytes": file.size}
            for file in done.files
        ],
        "left_out": list(done.left_out),
    }


def _tell(done: Export, to: Format) -> None:
    from plastikit.cli import console

    table = console.plain_table("file", "rows", "columns", "size")
    table.columns[0].justify = "left"
    for file in done.files:
        table.add_row(file.path.name, f"{file.rows:,}", str(len(file.columns)), console.size(file.size))
    console.out.print(table)
    if done.left_out:
        names = ", ".join(done.left_out)
        console.say(
            f"left out, with a value for each unit: {names}; name them with --variable to have them", is_note=True
        )
    first = done.files[0].path
    reads = {
        Format.CSV: f"pandas.read_csv('{first}')",
        Format.PARQUET: f"pandas.read_parquet('{first}')",
        Format.NETCDF: f"xarray.open_datatree('{first}')",
    }
    console.say(f"wrote {done.path}; in Python: {reads[to]}")
