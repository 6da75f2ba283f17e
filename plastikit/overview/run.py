"""One run at a glance: state, origin, settings, what it holds, what happened, last values with their trend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import xarray as xr

from plastikit.errors import DamagedError
from plastikit.overview.courses import Courses, courses
from plastikit.overview.summary import summarise
from plastikit.schema import DIAGNOSTICS, EVALUATION, EVENT, EVENTS, STEP, TASK, TAU, TRAINING

_THRESHOLD: Final = 0.025
_BY_LAYER: Final = ("dormant_fraction", "srank", "dead_fraction")
_BY_NETWORK: Final = ("network_weight_norm", "network_gradient_norm", "network_update_to_weight_ratio")
_TREND: Final = 32


@dataclass(frozen=True, kw_only=True)
class Last:
    """The last finite value of a metric for one layer, network or task."""

    label: str
    step: int
    value: float
    trend: tuple[float, ...]
    """Up to 32 finite values, evenly spaced from the first to the last."""


@dataclass(frozen=True, kw_only=True)
class Contents:
    """A group of a run."""

    rows: int
    first_step: int | None
    last_step: int | None
    dims: Mapping[str, int]
    """Sizes of the dimensions after the leading one."""
    variables: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Overview:
    """What there is to know of a run before its values are looked at one by one."""

    name: str
    location: str
    state: str
    error: str
    last_row: float | None
    size: int
    provenance: Mapping[str, Any]
    configuration: Mapping[str, Any]
    watching: Mapping[str, Any]
    dropped: Sequence[Mapping[str, Any]]
    groups: Mapping[str, Contents]
    events: Sequence[Mapping[str, Any]]
    last: Mapping[str, Mapping[str, Sequence[Last]]]
    """Title of a table -> metric -> its last values."""
    damaged: Sequence[str]
    """What could not be read of that."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def overview(run: xr.DataTree, location: str) -> Overview:
    """Look through the open ``run``, which lies at ``location``."""
    brief = summarise(location)
    groups = {name: _contents(run[name].to_dataset()) for name in run.children}
    damaged: list[str] = []
    return Overview(
        name=brief.name,
        location=location,
        state=brief.state,
        error=brief.error,
        last_row=brief.last_row,
        size=brief.size,
        provenance=run.attrs.get("provenance", {}),
        configuration=run.attrs.get("configuration", {}),
        watching=run.attrs.get("watching", {}),
        dropped=run.attrs.get("dropped", []),
        groups=groups,
        events=_events(run, damaged),
        last=_last(run, groups, damaged),
        damaged=damaged,
    )


def _contents(dataset: xr.Dataset) -> Contents:
    leading = next((dim for dim in (STEP, EVENT) if dim in dataset.sizes), None)
    rows = 0 if leading is None else dataset.sizes[leading]
    steps = dataset[STEP].values if leading == STEP else dataset.get("event_step", xr.DataArray([])).values
    return Contents(
        rows=rows,
        first_step=int(steps[0]) if len(steps) else None,
        last_step=int(steps[-1]) if len(steps) else None,
        dims={str(dim): size for dim, size in dataset.sizes.items() if dim != leading},
        variables=tuple(map(str, dataset.data_vars)),
    )


def _events(run: xr.DataTree, damaged: list[str]) -> list[dict[str, Any]]:
    if EVENTS not in run.children or "kind" not in run[EVENTS]:
        return []
    events = run[EVENTS].to_dataset()
    try:
        columns = [events[name].values.tolist() for name in ("event_step", "kind", "message")]
    except DamagedError as error:
        damaged.append(str(error))
        return []
    return [
        {"step": int(step), "kind": str(kind), "message": str(message)}
        for step, kind, message in zip(*columns, strict=True)
    ]


def _last(run: xr.DataTree, groups: Mapping[str, Contents], damaged: list[str]) -> dict[str, dict[str, list[Last]]]:
    """The tables of last values: by layer, by network, of training and by task."""

    def lasts(group: str, name: str) -> list[Last]:
        try:
            return _lasts(run, group, name)
        except DamagedError as error:
            damaged.append(str(error))
            return []

    held = {name: contents.variables if contents.rows else () for name, contents in groups.items()}
    measured = held.get(DIAGNOSTICS, ())
    scalars = [name for name in held.get(TRAINING, ()) if run[TRAINING][name].dims == (STEP,)]
    by_task = [name for name in held.get(EVALUATION, ()) if run[EVALUATION][name].dims == (STEP, TASK)]
    return {
        f"last values by layer (dormant_fraction at tau = {_THRESHOLD})": {
            name: lasts(DIAGNOSTICS, name) for name in _BY_LAYER if name in measured
        },
        "last values by network": {
            name.removeprefix("network_"): lasts(DIAGNOSTICS, name) for name in _BY_NETWORK if name in measured
        },
        "last values of training": {"value": [last for name in scalars for last in lasts(TRAINING, name)]},
        "last evaluation": {name: lasts(EVALUATION, name) for name in by_task},
    }


def _lasts(run: xr.DataTree, group: str, name: str) -> list[Last]:
    found = courses(run, f"{group}/{name}")
    kept = [course for course in found.courses if course.labels.get(TAU, _THRESHOLD) == _THRESHOLD]
    return [
        _last_of(
            found, course.values, " ".join(str(label) for dim, label in course.labels.items() if dim != TAU) or name
        )
        for course in kept
        if course.measured.size
    ]


def _last_of(found: Courses, values: Any, label: str) -> Last:
    finite = np.flatnonzero(np.isfinite(values))
    spaced = finite[np.unique(np.linspace(0, len(finite) - 1, _TREND).round().astype(int))]
    last = finite[-1]
    return Last(
        label=label,
        step=int(found.steps[last]),
        value=float(values[last]),
        trend=tuple(values[spaced].tolist()),
    )
