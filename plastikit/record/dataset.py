"""Reads runs: one as it lies on disk, or many side by side along a ``run`` dimension."""

from __future__ import annotations

import glob
import json
import os
from collections.abc import Hashable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import xarray as xr

from plastikit.errors import DefinitionMismatchError, NotARunError, SchemaVersionError
from plastikit.schema import DIAGNOSTICS, EVALUATION, LAYER, PARAMETER, RUN, SCHEMA_VERSION, TRAINING, UNIT, Definition

Location = str | os.PathLike[str]

_JOINED: Final = (DIAGNOSTICS, TRAINING, EVALUATION)
_OF_LABELS: Final = {"layer_network": LAYER, "parameter_network": PARAMETER, "parameter_kind": PARAMETER}
_OF_THE_RUN: Final = ("task_count", "width", "depth", "seed", "architecture")


def open_run(path: Location) -> xr.DataTree:
    """One run, finished or not, with its variables still on disk.

    Raises:
        NotARunError: ``path`` is not a run.
        SchemaVersionError: the run was written by a newer plastikit.
    """
    attributes = read_attributes(path)
    version = attributes["schema_version"]
    if version > SCHEMA_VERSION:
        raise SchemaVersionError(
            f"{path} has schema version {version}; this plastikit reads versions up to {SCHEMA_VERSION}. "
            "Install a newer plastikit to read it"
        )
    # As Zarr's own strings, labels could be neither plotted nor sorted.
    return xr.open_datatree(os.fspath(path), engine="zarr", chunks=None).map_over_datasets(_with_plain_text)


def read_attributes(path: Location) -> dict[str, Any]:
    """State, configuration and provenance of a run, read without opening its arrays.

    Raises:
        NotARunError: ``path`` is not a run.
    """
    place = Path(path)
    if not place.exists():
        raise NotARunError(f"{path} does not exist; give the path of a run, a folder that ends in .zarr")
    attributes = _read_root(place)
    if attributes is not None:
        return attributes
    inside = find_runs(place) if place.is_dir() else []
    if inside:
        raise NotARunError(
            f"{path} is not one run: it holds {len(inside)} runs, such as {inside[0]}; "
            "give one of them, or the folder to open_runs"
        )
    if place.suffix == ".zarr":
        raise NotARunError(f"{path} is not a readable run: its zarr.json is missing or damaged; move it away")
    raise NotARunError(f"{path} is not a plastikit run; give a folder that ends in .zarr")


def is_run(path: Location) -> bool:
    """Whether a readable run lies at ``path``."""
    return _read_root(Path(path)) is not None


def find_runs(directory: Location) -> list[Path]:
    """The runs right inside ``directory``, in the order of their names."""
    return sorted(path for path in Path(directory).glob("*.zarr") if path.is_dir())


def open_runs(paths: Location | Iterable[Location]) -> xr.DataTree:
    """Many runs as one, with a leading ``run`` dimension in every group.

    ``paths`` is a pattern such as ``"runs/*.zarr"``, a directory that holds runs, or the paths themselves. Steps,
    layers and parameters that a run lacks are NaN in it. The coordinates of ``run`` are its name, ``task_count``,
    ``width``, ``depth``, ``seed``, ``architecture`` and ``state``; what differs by run, such as ``env_step`` and
    ``layer_units``, has ``run`` as its first dimension too. Per-unit variables are padded at the end of the
    ``unit`` dimension, and ``unit_layer`` counts along the joined ``layer`` dimension (-1 where padded).

    Raises:
        NotARunError: nothing was found, or one of the paths is not a run.
        DefinitionMismatchError: a variable is defined differently in two of the runs.
    """
    places = _places(paths)
    runs = [open_run(place) for place in places]
    names = _names(places)
    _check_definitions(dict(zip(names, runs, strict=True)))
    attributes = [{str(name): value for name, value in run.attrs.items()} for run in runs]
    coordinates = _run_coordinates(names, attributes)
    groups = {f"/{group}": _join([run[group].to_dataset() for run in runs], coordinates) for group in _JOINED}
    root = xr.Dataset(
        coords=coordinates,
        attrs={"schema_version": SCHEMA_VERSION, "runs": dict(zip(names, attributes, strict=True))},
    )
    return xr.DataTree.from_dict({"/": root, **groups})


def _read_root(place: Path) -> dict[str, Any] | None:
    try:
        root = json.loads((place / "zarr.json").read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError, UnicodeDecodeError):
        return None
    attributes = root.get("attributes") if isinstance(root, dict) else None
    if not isinstance(attributes, dict) or not isinstance(attributes.get("schema_version"), int):
        return None
    return attributes


def _places(paths: Location | Iterable[Location]) -> list[Path]:
    if not isinstance(paths, str | os.PathLike):
        found = [Path(path) for path in paths]
    elif glob.has_magic(os.fspath(paths)):
        found = sorted(Path(path) for path in glob.glob(os.fspath(paths)))  # noqa: PTH207  a whole path, maybe absolute
    elif Path(paths).is_dir() and not (Path(paths) / "zarr.json").exists():
        found = find_runs(paths)
    else:
        found = [Path(paths)]
    if not found:
        raise NotARunError(
            f"no run found at {paths}; give a folder that holds runs, or a pattern such as 'runs/*.zarr'"
        )
    return found


def _names(places: list[Path]) -> list[str]:
    names = [place.name.removesuffix(".zarr") for place in places]
    return names if len(set(names)) == len(names) else [os.fspath(place) for place in places]


def _run_coordinates(names: list[str], attributes: list[dict[str, Any]]) -> dict[str, Any]:
    def column(key: str) -> tuple[str, np.ndarray[Any, Any]]:
        found = [entry.get("configuration", {}).get(key) for entry in attributes]
        if all(isinstance(value, int) for value in found):
            return RUN, np.array(found, dtype=np.int64)
        if all(value is None or isinstance(value, int | float) for value in found):
            return RUN, np.array([np.nan if value is None else value for value in found], dtype=np.float64)
        return RUN, np.array(["" if value is None else str(value) for value in found], dtype=object)

    states = np.array([entry["state"] for entry in attributes], dtype=object)
    return {RUN: (RUN, np.array(names, dtype=object)), "state": (RUN, states)} | {
        key: column(key) for key in _OF_THE_RUN
    }


def _join(datasets: list[xr.Dataset], coordinates: Mapping[str, Any]) -> xr.Dataset:
    layers = list(dict.fromkeys(name for dataset in datasets for name in _labels(dataset, LAYER)))
    prepared = [_prepare(dataset, layers) for dataset in datasets]
    of_labels = {name: dim for dataset in prepared for name, dim in _OF_LABELS.items() if name in dataset.coords}
    known = {
        name: {
            label: value
            for dataset in prepared
            if name in dataset.coords
            for label, value in zip(_labels(dataset, dim), dataset[name].values, strict=True)
        }
        for name, dim in of_labels.items()
    }
    # As variables: concat refuses a coordinate that one of the runs lacks.
    plain = {name for dataset in prepared for name in dataset.coords if name not in dataset.indexes}
    joined = xr.concat(
        [dataset.drop_vars(of_labels, errors="ignore").reset_coords() for dataset in prepared],
        dim=RUN,
        join="outer",
        data_vars="all",
        coords="all",
        combine_attrs="override",
        fill_value={name: _missing(dataset[name]) for dataset in prepared for name in dataset.variables},
    )
    labels = {
        name: (dim, np.array([known[name][label] for label in _labels(joined, dim)], dtype=object))
        for name, dim in of_labels.items()
    }
    return joined.set_coords(plain - of_labels.keys()).assign_coords(coordinates).assign_coords(labels)


def _prepare(dataset: xr.Dataset, layers: list[str]) -> xr.Dataset:
    """``dataset`` with ``unit_layer`` along the joined layers, and an index on ``unit``."""
    if UNIT in dataset.dims:
        position = np.array([layers.index(name) for name in _labels(dataset, LAYER)])
        units = {UNIT: np.arange(dataset.sizes[UNIT]), "unit_layer": (UNIT, position[dataset["unit_layer"].values])}
        dataset = dataset.assign_coords(units)
    return dataset


def _with_plain_text(dataset: xr.Dataset) -> xr.Dataset:
    text = {name: variable.astype(object) for name, variable in dataset.variables.items() if variable.dtype.kind == "T"}
    return dataset.assign(text)


def _labels(dataset: xr.Dataset, dim: str) -> list[str]:
    return [str(label) for label in dataset[dim].values] if dim in dataset.coords else []


def _missing(variable: xr.DataArray) -> Any:
    return {"f": np.nan, "i": -1, "M": np.datetime64("NaT")}.get(variable.dtype.kind, "")


def _check_definitions(runs: Mapping[str, xr.DataTree]) -> None:
    first: dict[Hashable, tuple[str, Definition]] = {}
    for run, tree in runs.items():
        for name, variable in tree[DIAGNOSTICS].data_vars.items():
            passport = Definition.from_attrs(str(name), tuple(map(str, variable.dims[1:])), variable.attrs)
            where, known = first.setdefault(name, (run, passport))
            differences = known.differences(passport)
            if differences:
                raise DefinitionMismatchError(
                    f"{name} is not the same quantity in all runs: comparing {where} with {run}, "
                    f"{'; '.join(differences)}. Open the runs of each definition apart"
                )
