"""A run in one line: state, age, length, size and last values, read from its root and a few last chunks alone."""

from __future__ import annotations

import calendar
import glob
import math
import os
import re
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from plastikit.errors import DamagedError, NotARunError, SchemaVersionError
from plastikit.record.address import is_url
from plastikit.record.claim import is_claimed
from plastikit.record.committed import Group, Kinds, read_groups, read_root
from plastikit.record.finding import name_of, places_of
from plastikit.record.place import Folder, Location, Place, place_of
from plastikit.record.root import ROOT
from plastikit.record.stored import StoredArray
from plastikit.schema import DIAGNOSTICS, EVALUATION, OBSERVED, RUNNING, TAU, TRAINING

UNREADABLE: Final = "unreadable"
"""The state of what looks like a run and cannot be read."""
ABANDONED: Final = "abandoned"
"""The state of a run that says it is running, and whose writer is gone."""

_SUFFIX: Final = ".zarr"
_AT_ONCE: Final = 8
_THRESHOLD: Final = 0.025
_TELLING: Final = {
    "dormant_fraction": (DIAGNOSTICS, ("network_dormant_fraction", "dormant_fraction")),
    "rank": (DIAGNOSTICS, ("srank", "effective_rank")),
    "weight_norm": (DIAGNOSTICS, ("network_weight_norm", "weight_norm")),
    "loss": (TRAINING, ("loss", "critic_loss")),
    "success_rate": (EVALUATION, ("success_rate",)),
}
_CONFIGURED: Final = ("task_count", "width", "depth", "seed", "architecture")


@dataclass(frozen=True, kw_only=True)
class LastValue:
    """The last finite value of a telling metric, averaged over what it was measured for."""

    variable: str
    """Group and name: ``diagnostics/srank``."""
    value: float


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """One run of a folder; times are seconds since 1970, None where they are not known."""

    name: str
    location: str
    state: str
    error: str = ""
    """Why it failed, or cannot be read."""
    started: float | None = None
    ended: float | None = None
    last_row: float | None = None
    """When the last row was written."""
    step: int | None = None
    """The last step of a record or a loss."""
    rows: Mapping[str, int] = field(default_factory=dict)
    """By group."""
    size: int = 0
    """Bytes on disk."""
    configured: Mapping[str, Any] = field(default_factory=dict)
    """Task count, width, depth, seed and architecture, where the run says them."""
    values: Mapping[str, LastValue] = field(default_factory=dict)
    """``dormant_fraction`` (at a threshold of 0.025), ``rank``, ``weight_norm``, ``loss`` and ``success_rate``."""

    @property
    def records(self) -> int:
        """Records of the probes."""
        return self.rows.get(DIAGNOSTICS, 0)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def summaries(directory: str) -> list[RunSummary]:
    """Every run inside ``directory`` and its folders, damaged ones and what merely looks like a run included.

    A URL, or a pattern such as ``"runs/*_seed-0.zarr"``, stands for the runs that it names.

    Raises:
        NotARunError: there is no such folder, or no run in it.
    """
    found = list(_runs(directory))
    if not found:
        raise NotARunError(
            f"no run found in {directory}; give a folder that holds runs, which are folders that end in .zarr"
        )
    kinds = Kinds()

    def summarised(run: tuple[str, Place]) -> RunSummary:
        return _summary(*run, kinds)

    # Waiting for a disk or a server is most of it.
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        return list(threads.map(summarised, found))


def summarise(location: Location) -> RunSummary:
    """The run at ``location``; where it cannot be read, that is what the summary says."""
    place = place_of(location)
    return _summary(name_of(place), place, Kinds())


def _runs(directory: str) -> Iterator[tuple[str, Place]]:
    """Names and places of runs; of a folder on this machine, those of its folders too."""
    folder = Path(directory)
    if is_url(directory) or (glob.has_magic(directory) and not folder.exists()):
        places = places_of(directory)
        if len(places) > 1 or places[0].exists():
            yield from ((name_of(place), place) for place in places)
        return
    if not folder.is_dir():
        problem = "is no folder" if folder.exists() else "does not exist"
        raise NotARunError(f"{directory} {problem}; give a folder of runs")
    if folder.suffix == _SUFFIX or (folder / ROOT).exists():
        place = place_of(folder)
        yield name_of(place), place
        return
    for above, names, _ in os.walk(folder):
        for name in sorted(name for name in names if name.endswith(_SUFFIX)):
            run = Path(above, name)
            yield run.relative_to(folder).as_posix().removesuffix(_SUFFIX), place_of(run)
        names[:] = sorted(name for name in names if not name.endswith(_SUFFIX) and not name.startswith("."))


def _summary(name: str, place: Place, kinds: Kinds) -> RunSummary:
    size = 0
    try:
        size = _size(place)
        document = read_root(place)
        attributes = document["attributes"]
        groups = read_groups(place, document, kinds)
    except (DamagedError, NotARunError, SchemaVersionError, OSError) as error:
        return RunSummary(name=name, location=place.location, state=UNREADABLE, error=_briefly(error), size=size)
    told = [str(attributes.get("error") or "")]
    state = str(attributes.get("state", ""))
    provenance, configuration = (_mapping(attributes.get(key)) for key in ("provenance", "configuration"))
    values = _last_values(groups, told)
    times, steps = (_lasts(groups, name, told) for name in ("wall_time", "step"))
    return RunSummary(
        name=name,
        location=place.location,
        state=ABANDONED if state == RUNNING and not is_claimed(place) else state,
        error=next(filter(None, told), ""),
        started=_seconds(provenance.get("started")),
        ended=_seconds(provenance.get("ended")),
        last_row=max(times, default=None),
        step=max(map(int, steps), default=None),
        rows={key: _rows(group) for key, group in groups.items()},
        size=size,
        configured={key: configuration[key] for key in _CONFIGURED if configuration.get(key) is not None},
        values=values,
    )


def _last_values(groups: Mapping[str, Group], told: list[str]) -> dict[str, LastValue]:
    """The telling metrics that can be read; what is wrong with the others is told."""
    found = {}
    for metric, (group, names) in _TELLING.items():
        if group not in groups:
            continue
        arrays = groups[group].arrays
        candidates = [*names, *(f"{OBSERVED}{name}" for name in names)]
        if metric == "loss":
            candidates += sorted(name for name in arrays if "loss" in name)
        for name in candidates:
            try:
                value = _last_value(arrays, name)
            except (DamagedError, OSError) as error:
                told.append(_briefly(error))
                break
            if value is not None:
                found[metric] = LastValue(variable=f"{group}/{name}", value=value)
                break
    return found


def _last_value(arrays: Mapping[str, StoredArray], name: str) -> float | None:
    """The last finite value of a variable, averaged over layers, networks or tasks; None where it has none."""
    array = arrays.get(name)
    if array is None or array.kind.is_text:
        return None
    inner = [np.arange(size) for size in array.shape[1:]]
    if TAU in array.kind.dims:
        thresholds = arrays[TAU].whole()
        inner[array.kind.dims.index(TAU) - 1] = np.flatnonzero(thresholds == _THRESHOLD)
    length = array.kind.chunks[0]
    for first in range((array.shape[0] - 1) // length * length, -1, -length):
        rows = array.take([np.arange(first, min(first + length, array.shape[0])), *inner])
        flat = rows.reshape(len(rows), -1)
        measured = np.flatnonzero(np.isfinite(flat).any(axis=1))
        if measured.size:
            last = flat[measured[-1]]
            return float(last[np.isfinite(last)].mean(dtype=np.float64))
    return None


def _lasts(groups: Mapping[str, Group], coordinate: str, told: list[str]) -> list[float]:
    """The last value of a coordinate in each group that has rows and can be read."""
    found = []
    for group in groups.values():
        array = group.arrays.get(coordinate)
        if array is None or not array.shape[0]:
            continue
        try:
            found.append(float(array.take([np.array([array.shape[0] - 1])])[0]))
        except (DamagedError, OSError) as error:
            told.append(_briefly(error))
    return [value for value in found if math.isfinite(value)]


def _size(place: Place) -> int:
    if not isinstance(place, Folder):
        return sum(place.sizes().values())
    # By name alone: of a thousand runs there are a hundred thousand files.
    size, folders = 0, [os.fspath(place.path)]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                else:
                    size += entry.stat(follow_symlinks=False).st_size
    return size


def _rows(group: Group) -> int:
    return max((array.shape[0] for name, array in group.arrays.items() if name in {"step", "event"}), default=0)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _seconds(text: Any) -> float | None:
    try:
        return float(calendar.timegm(time.strptime(str(text), "%Y-%m-%dT%H:%M:%SZ")))
    except ValueError:
        return None


def _briefly(error: Exception) -> str:
    """The first part of a message: what was found."""
    return re.split("; |, because", str(error), maxsplit=1)[0]
