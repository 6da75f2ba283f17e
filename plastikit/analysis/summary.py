"""One table of a sweep: what matters most, by task count and width."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import xarray as xr

from plastikit.analysis.catalogue import Metric, metrics, networks
from plastikit.analysis.notes import NONE_FINISHED
from plastikit.analysis.plain import to_plain
from plastikit.analysis.scaling import Scaling, scaling
from plastikit.analysis.selection import default_tau
from plastikit.schema import EVALUATION, Definition

_HEADLINES: Final = ("dormant_fraction", "srank", "weight_norm")
_SUCCESS: Final = "success_rate"
_MOST_NETWORKS: Final = 2


@dataclass(frozen=True, kw_only=True)
class Column:
    """One metric of the table, of one network."""

    metric: str
    network: str | None
    title: str
    """What a reader calls it, with the network where there are several."""
    short: str
    """Network and threshold alone."""
    averaged: str
    """What was reduced within each run, in words."""
    is_share: bool
    definition: Definition
    scaling: Scaling


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One number of the table: the interquartile mean of a cell's runs, with its interval."""

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, kw_only=True)
class Row:
    """One task count and one width."""

    task_count: int | None
    width: int | None
    runs: int
    entries: tuple[Entry, ...]


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Dormant fraction, srank, weight norm and success by task count and width."""

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; NaN becomes None."""
        columns = [
            {"metric": column.metric, "network": column.network, "title": column.title, "averaged": column.averaged}
            for column in self.columns
        ]
        return {"columns": columns, "rows": to_plain(self.rows), "notes": list(self.notes)}


def summary(runs: xr.DataTree, *, level: float = 0.95) -> Summary:
    """The table of ``runs``, with the columns that they hold.

    Dormancy is given for up to two networks (the critics together, and the actor); rank and weight norm for the first
    of them. A cell in which no run has a value is NaN.
    """
    known = {metric.name: metric for metric in metrics(runs)}
    families: list[str | None] = [*networks(runs)] or [None]
    columns = []
    for name in _HEADLINES:
        if name in known:
            count = _MOST_NETWORKS if name == _HEADLINES[0] else 1
            columns += [_column(runs, known[name], family, len(families), level) for family in families[:count]]
    if _SUCCESS in known and known[_SUCCESS].group == EVALUATION:
        columns.append(_column(runs, known[_SUCCESS], None, 1, level))
    places = {(cell.task_count, cell.width) for column in columns for cell in column.scaling.cells}
    rows = []
    for task_count, width in sorted(places, key=lambda place: tuple(-1 if x is None else x for x in place)):
        entries = tuple(_entry(column, task_count, width) for column in columns)
        rows.append(Row(task_count=task_count, width=width, runs=max(e.n for e in entries), entries=entries))
    notes = dict.fromkeys(note for column in columns for note in column.scaling.notes if note != NONE_FINISHED)
    return Summary(columns=tuple(columns), rows=tuple(rows), notes=tuple(notes))


def _column(runs: xr.DataTree, metric: Metric, network: str | None, of: int, level: float) -> Column:
    found = scaling(runs, metric.name, network=network, level=level)
    title = found.definition.long_name or metric.name
    return Column(
        metric=metric.name,
        network=network,
        title=f"{title}, {network}" if network and of > 1 else title,
        short=", ".join(filter(None, (network, f"τ = {default_tau(metric.taus):g}" if metric.taus else ""))),
        averaged=found.averaged,
        is_share=found.is_share,
        definition=found.definition,
        scaling=found,
    )


def _entry(column: Column, task_count: int | None, width: int | None) -> Entry:
    for cell in column.scaling.cells:
        if (cell.task_count, cell.width) == (task_count, width):
            return Entry(value=cell.interquartile_mean, low=cell.low, high=cell.high, n=cell.n)
    return Entry(value=math.nan, low=math.nan, high=math.nan, n=0)
