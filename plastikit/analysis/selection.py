"""One curve per run: a metric reduced over layers, parameters, networks and tasks within the run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

import numpy as np
import xarray as xr

from plastikit.analysis.catalogue import Metric, axis_labels, find_metric, networks
from plastikit.errors import UnknownNameError
from plastikit.schema import DIAGNOSTICS, LAYER, NETWORK, PARAMETER, RUN, STEP, TAU, Definition

DEFAULT_TAU: Final = 0.025
"""The dormancy threshold of most published comparisons."""


@dataclass(frozen=True, kw_only=True)
class Selection:
    """A metric of every run as one curve, and what was averaged to get it."""

    metric: Metric
    definition: Definition
    """The passport of the variable that was read: the pooled one's where that was taken."""
    curve: xr.DataArray
    """``[run, step]``, NaN where the run has no record."""
    units: xr.DataArray | None
    """``[run]``: of how many units the curve is a share; None where it is no share of units."""
    label: str
    """What was averaged, in words."""


def select(
    runs: xr.DataTree,
    metric: str,
    *,
    network: str | None = None,
    layer: str | None = None,
    parameter: str | None = None,
    tau: float | None = None,
) -> Selection:
    """Reduce ``metric`` to one curve per run.

    Layers (weighted by their units, for shares of units) and parameters are averaged within each network, then
    networks with each other, and tasks with each other. Where the run holds a value for the whole network and neither
    layer nor parameter is asked for, that one is taken.

    Args:
        runs: joined runs, as ``open_runs`` gives them.
        metric: name of a variable in diagnostics or evaluation.
        network: one network, or ``critic`` for ``critic_0``, ``critic_1``, ...; all of them by default.
        layer: name of a layer, or a pattern such as ``critic_*.hidden_1``.
        parameter: name of a parameter, or a pattern.
        tau: dormancy threshold, ignored by metrics that have none; 0.025 by default, or the largest recorded one.

    Raises:
        UnknownNameError: there is no such metric, network, layer, parameter or threshold.
    """
    chosen = find_metric(runs, metric)
    dataset = runs[chosen.group].to_dataset()
    pooled = chosen.pooled is not None and layer is None and parameter is None
    definition = chosen.pooled_definition if pooled and chosen.pooled_definition else chosen.definition
    values = dataset[definition.variable]
    parts = []
    if TAU in values.dims:
        values, threshold = at_threshold(values, tau)
        parts.append(f"τ = {threshold:g}")

    members = _members(runs, network) if chosen.group == DIAGNOSTICS else ()
    units = None
    for axis, pattern in ((LAYER, layer), (PARAMETER, parameter)):
        if axis in values.dims:
            values, weights = _within_networks(dataset, values, axis, pattern, members, weighted=chosen.counts_units)
            units = weights.sum([NETWORK, axis]) if weights is not None else None
            parts.append(f"mean over {pattern or f'all {axis}s'}")
        elif pattern is not None:
            raise UnknownNameError.of(f"{axis} of {chosen.name}", pattern, ())
    if NETWORK in values.dims:
        values = values.sel({NETWORK: [name for name in values[NETWORK].values if str(name) in members]})
        if pooled and chosen.counts_units and "layer_units" in dataset.coords:
            units = _layer_units(dataset, members).sum(LAYER)
        names = [str(name) for name in values[NETWORK].values]
        parts.append(names[0] if len(names) == 1 else f"mean of {', '.join(names)}")
    others = [str(dim) for dim in values.dims if dim not in (RUN, STEP, NETWORK)]
    parts += [f"mean over {dim}s" for dim in others]
    for dim in (*others, NETWORK):
        values = _mean(values, dim) if dim in values.dims else values
    if units is not None:
        units = units.broadcast_like(values.isel({STEP: 0}, drop=True)) if RUN not in units.dims else units
    curve = values.transpose(RUN, STEP)
    return Selection(metric=chosen, definition=definition, curve=curve, units=units, label=", ".join(parts))


def default_tau(recorded: Sequence[float]) -> float:
    """The threshold that is meant where none is named: 0.025, or the largest recorded one where 0.025 was not.

    >>> default_tau([0.0, 0.1])
    0.1
    """
    return DEFAULT_TAU if not recorded or any(np.isclose(tau, DEFAULT_TAU) for tau in recorded) else max(recorded)


def at_threshold(values: xr.DataArray, tau: float | None) -> tuple[xr.DataArray, float]:
    """The values at one dormancy threshold, and that threshold as it was recorded.

    Without ``tau`` it is 0.025, or the largest recorded one where 0.025 was not.

    Raises:
        UnknownNameError: nothing was recorded at ``tau``.
    """
    known = np.asarray(values[TAU].values, dtype=np.float64)
    tau = default_tau(known.tolist()) if tau is None else tau
    near = int(np.argmin(np.abs(known - tau))) if known.size else -1
    if near < 0 or not np.isclose(known[near], tau, rtol=1e-6, atol=1e-12):
        raise UnknownNameError.of("tau", f"{tau:g}", [f"{value:g}" for value in known])
    return values.isel({TAU: near}, drop=True), float(known[near])


def _members(runs: xr.DataTree, network: str | None) -> tuple[str, ...]:
    families = networks(runs)
    everything = tuple(name for members in families.values() for name in members)
    if network is None:
        return everything
    if network in families:
        return families[network]
    if network in everything:
        return (network,)
    raise UnknownNameError.of("network", network, {*families, *everything})


def _within_networks(
    dataset: xr.Dataset,
    values: xr.DataArray,
    axis: str,
    pattern: str | None,
    members: Iterable[str],
    *,
    weighted: bool,
) -> tuple[xr.DataArray, xr.DataArray | None]:
    """Average along ``axis`` within each network; also the units behind each, ``[..., network, layer]``."""
    names = [str(name) for name in dataset[axis].values]
    owners = axis_labels(dataset[f"{axis}_network"]) if f"{axis}_network" in dataset.coords else np.full(len(names), "")
    wanted = set(members)
    of_networks = np.array([not wanted or owner in wanted or not owner for owner in owners])
    matching = np.array([pattern is None or name == pattern or fnmatchcase(name, pattern) for name in names])
    if pattern is not None and not (of_networks & matching).any():
        raise UnknownNameError.of(axis, pattern, [name for name, own in zip(names, of_networks, strict=True) if own])
    weights = _layer_units(dataset, None) if weighted and "layer_units" in dataset.coords else None
    means, units = [], []
    present = dict.fromkeys(owners[of_networks & matching])
    for owner in present:
        picked = {axis: np.flatnonzero(of_networks & matching & (owners == owner))}
        part = weights.isel(picked) if weights is not None else None
        means.append(_mean(values.isel(picked), axis, part))
        units += [part] if part is not None else []
    index = xr.DataArray(list(present), dims=NETWORK, name=NETWORK)
    joined = xr.concat(means, dim=index, coords="minimal", compat="override")
    return joined, xr.concat(units, dim=index, join="outer", fill_value=0.0) if units else None


def _layer_units(dataset: xr.Dataset, members: Iterable[str] | None) -> xr.DataArray:
    units = dataset["layer_units"].reset_coords(drop=True).astype(float)
    units = units.where(units > 0, 0.0)
    if members is None:
        return units
    owned = np.isin(axis_labels(dataset["layer_network"]), list(members))
    return units.isel({LAYER: np.flatnonzero(owned)})


def _mean(values: xr.DataArray, dim: str, weights: xr.DataArray | None = None) -> xr.DataArray:
    """Mean along ``dim`` over what the run has; NaN where something that the run has was not measured.

    A label that is NaN at every step of a run belongs to other runs and is left out of this one's mean.
    """
    has = values.notnull().any(STEP)
    measured = values.weighted(weights).mean(dim) if weights is not None else values.mean(dim)
    some_missing = (values.isnull() & has).any(dim)
    return measured.where(~some_missing)
