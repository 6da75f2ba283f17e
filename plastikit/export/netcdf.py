"""A run as one netCDF file: groups, dimensions, labels, passports; it comes with the extra ``export``."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import xarray as xr

from plastikit.errors import MissingExtraError
from plastikit.export.frames import LEADING, select
from plastikit.export.tables import Export, Written, replaced

try:
    import h5netcdf
    import h5py
except ImportError:
    raise MissingExtraError.of("writing netCDF", "export") from None

_BLOCK_VALUES: Final = 2**19
_CHUNK_BYTES: Final = 2**20
# Whole numbers: seconds with a fraction would not come back as the same times.
_TIME: Final = {"units": "nanoseconds since 1970-01-01", "calendar": "proleptic_gregorian"}


def export_netcdf(
    run: xr.DataTree,
    output: Path,
    *,
    groups: Sequence[str] = (),
    variables: Sequence[str] = (),
    force: bool = False,
) -> Export:
    """Write ``run`` as netCDF-4, a block of rows at a time; ``xarray.open_datatree`` opens it again, equal to the run.

    Attributes that netCDF has no type for, such as the configuration, are JSON.

    Raises:
        ExportExistsError: something lies at ``output``, and ``force`` is not given or would destroy a folder.
        UnknownNameError: a group or a variable that the run does not have.
    """
    chosen = select(run, groups=groups, variables=variables)
    with replaced(output, force=force) as fresh:
        with _interrupted_between_blocks() as pause, h5netcdf.File(fresh, "w") as file:
            file.attrs.update(_attributes(run.attrs))
            for name, dataset in chosen.items():
                _write_group(file.create_group(name), dataset, pause)
        size = fresh.stat().st_size
    names = tuple(str(name) for dataset in chosen.values() for name in dataset.data_vars)
    rows = max(
        (dataset.sizes[dim] for dataset in chosen.values() for dim in LEADING if dim in dataset.sizes), default=0
    )
    return Export(path=output, files=(Written(path=output, rows=rows, columns=names, size=size),), left_out=())


@contextmanager
def _interrupted_between_blocks() -> Iterator[Callable[[], None]]:
    """Raise a Ctrl-C where what this yields is called: in the calls that HDF5 makes back it would be swallowed."""
    came: list[int] = []

    def pause() -> None:
        if came:
            raise KeyboardInterrupt

    is_main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGINT, lambda number, _: came.append(number)) if is_main else None
    try:
        yield pause
    finally:
        if is_main:
            signal.signal(signal.SIGINT, before)
    pause()


def _write_group(group: Any, dataset: xr.Dataset, pause: Callable[[], None]) -> None:
    group.dimensions = {str(dim): size for dim, size in dataset.sizes.items()}
    others = [str(name) for name in dataset.coords if name not in dataset.dims]
    # How xarray tells a coordinate from a variable.
    group.attrs.update(_attributes(dataset.attrs) | ({"coordinates": " ".join(others)} if others else {}))
    for name, variable in dataset.variables.items():
        _write_variable(group, str(name), variable, pause)


def _write_variable(group: Any, name: str, variable: xr.Variable, pause: Callable[[], None]) -> None:
    kind = variable.dtype.kind
    plain = h5py.string_dtype() if kind in "OUT" else np.dtype("int64" if kind == "M" else variable.dtype)
    row = max(1, int(np.prod(variable.shape[1:])))
    chunk = (max(1, min(variable.shape[0], _CHUNK_BYTES // (row * 8))), *(max(1, size) for size in variable.shape[1:]))
    packing = {} if kind in "OUT" else {"compression": "gzip", "compression_opts": 4, "shuffle": True}
    target = group.create_variable(name, tuple(map(str, variable.dims)), dtype=plain, chunks=chunk, **packing)
    target.attrs.update(_attributes(variable.attrs) | (_TIME if kind == "M" else {}))
    rows = max(1, _BLOCK_VALUES // row // chunk[0]) * chunk[0]
    for start in range(0, variable.shape[0], rows):
        pause()
        block = variable[start : start + rows].values
        target[start : start + len(block)] = block.astype("datetime64[ns]").astype(np.int64) if kind == "M" else block


def _attributes(attrs: Mapping[Any, Any]) -> dict[str, Any]:
    return {str(name): _attribute(value) for name, value in attrs.items()}


def _attribute(value: Any) -> Any:
    if isinstance(value, bool | np.bool_):
        return np.int8(value)
    if isinstance(value, str | int | float | np.generic):
        return value
    return json.dumps(value, ensure_ascii=False, default=str)
