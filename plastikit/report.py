"""From runs on disk to one HTML page: reading, analysis, figures, and the words between them."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import xarray as xr

from plastikit.analysis.catalogue import Metric, metrics, run_names
from plastikit.analysis.cells import in_words
from plastikit.analysis.selection import DEFAULT_TAU
from plastikit.analysis.summary import Entry, Summary, summary
from plastikit.figures.markup import Cell, Column, Row, Table
from plastikit.figures.report import ReportContent
from plastikit.figures.report import write_report as write_content
from plastikit.panels import choices, curves, has_grid, ordered_runs, widest_run
from plastikit.record.dataset import Location, open_runs
from plastikit.schema import EVALUATION, FINISHED

_ORDER: Final = (
    "dormant_fraction",
    "observed_dormant_fraction",
    "srank",
    "observed_srank",
    "effective_rank",
    "rank_ceiling",
    "weight_norm",
    "weight_rms",
    "distance_from_init",
    "gradient_norm",
    "gradient_zero_fraction",
    "update_to_weight_ratio",
    "success_rate",
)
_TABLE_CAPTION: Final = (
    "Interquartile mean over runs of the last 10% of their records; below it, where there are three runs or "
    "more, the 95% interval."
)
_METHODS: Final = (
    (
        "The unit is the run. Within a run, layers, networks and tasks are averaged first, then the last 10% of its "
        "records."
    ),
    (
        "A cell (one task count, one width) is the interquartile mean of its runs. Its 95% interval is a bootstrap "
        "over runs: BCa with all resamples for 3 to 5 runs, which covers less often than 95%, and percentile above. "
        "One or two runs cannot bound it: every run is shown instead."
    ),
    (
        "Slopes are per doubling. Shares are modelled as log-odds (a binomial model of counts of units where the units "
        "are known), other metrics as log2 of the value, and both also as plain differences: an interaction can hold "
        "on one scale and fail on another. Errors are robust to runs that share tasks and seed."
    ),
    (
        "Runs that did not finish, or that have no value of a metric, are named and left out. They are drawn hollow, "
        "and dashed over training."
    ),
    "A blank in a heatmap was not measured. Heatmaps show evenly spaced records, the first and the last among them.",
)


def write_report(runs: xr.DataTree | Location | Iterable[Location], path: Location, notice: str | None = None) -> Path:
    """Write the report of ``runs`` to ``path`` and return it.

    Args:
        runs: what ``open_runs`` gives, or what it takes: a folder, a pattern, or paths.
        path: of the HTML file.
        notice: a sentence that stands above everything else.

    Raises:
        NotARunError: nothing was found, or one of the paths is not a run.
        DefinitionMismatchError: the runs define a metric differently.
        ConfigurationError: ``path`` cannot be written.
    """
    tree = runs if isinstance(runs, xr.DataTree) else open_runs(runs)
    return write_content(report_content(tree, notice=notice), Path(os.fspath(path)))


def report_content(runs: xr.DataTree, *, notice: str | None = None) -> ReportContent:
    """All that the report of ``runs`` shows."""
    found = sorted(metrics(runs), key=_place)
    offered = choices(runs, found)
    keys = [choice.key for choice in offered]
    default = f"dormant_fraction@{DEFAULT_TAU:g}"
    evaluated = next((metric for metric in found if metric.group == EVALUATION), None)
    overview = summary(runs)
    return ReportContent(
        title=_title(runs),
        lead=_lead(runs),
        table=_table(overview),
        choices=offered,
        first=default if default in keys else next(iter(keys), ""),
        runs=ordered_runs(runs),
        first_run=widest_run(runs),
        scaling_title="Against width" if has_grid(runs) else "Over training",
        curves_title=_sentence_case(evaluated.definition.long_name or evaluated.name) if evaluated else "Success rate",
        curves=curves(runs, evaluated),
        definitions=tuple(definition for metric in found for definition in metric.definitions),
        methods=_METHODS,
        provenance=_provenance(runs),
        details=_configurations(runs),
        notice=notice,
        warnings=_warnings(runs, overview),
    )


def _sentence_case(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}"


def _place(metric: Metric) -> tuple[bool, int, str]:
    known = _ORDER.index(metric.name) if metric.name in _ORDER else len(_ORDER)
    return metric.group == EVALUATION, known, metric.name


def _levels(runs: xr.DataTree, coordinate: str) -> list[int]:
    values = np.asarray(runs[coordinate].values) if coordinate in runs.coords else np.array([])
    numbers = [float(value) for value in values if isinstance(value, int | float | np.number)]
    return sorted({int(value) for value in numbers if math.isfinite(value)})


def _title(runs: xr.DataTree) -> str:
    counts, widths = _levels(runs, "task_count"), _levels(runs, "width")
    if len(counts) > 1 or len(widths) > 1:
        return f"Plasticity at {_count(counts, 'task count')} and {_count(widths, 'width')}"
    names = run_names(runs)
    return f"Plasticity in {names[0]}" if len(names) == 1 else f"Plasticity in {len(names)} runs"


def _lead(runs: xr.DataTree) -> str:
    counts, widths, seeds = (_levels(runs, name) for name in ("task_count", "width", "seed"))
    parts = [_count(run_names(runs), "run")]
    if counts:
        parts.append(f"{_listed(counts)} {'task' if counts == [1] else 'tasks'}")
    if widths:
        parts.append(f"hidden layers {_listed(widths)} units wide")
    if seeds:
        parts.append(_count(seeds, "seed"))
    return f"{parts[0]}: {', '.join(parts[1:])}." if parts[1:] else f"{parts[0]}."


def _count(things: Any, name: str) -> str:
    return f"{len(things)} {name}{'' if len(things) == 1 else 's'}"


def _listed(values: list[int]) -> str:
    texts = [str(value) for value in values]
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}"


def _warnings(runs: xr.DataTree, overview: Summary) -> tuple[str, ...]:
    attributes: Mapping[str, Any] = runs.attrs.get("runs", {})
    states = dict(zip(run_names(runs), map(str, runs.coords["state"].values), strict=True))
    remarks = []
    for name, state in states.items():
        if state != FINISHED:
            error = str(attributes.get(name, {}).get("error", "") or "")
            remarks.append(f"{name} {in_words(state)} and counts in no number{f': {error}' if error else ''}.")
    told = tuple(f"Left out: {name} {in_words(state)}." for name, state in states.items())
    return (*remarks, *(note for note in overview.notes if note not in told))


def _table(overview: Summary) -> Table:
    rows, before = [], None
    largest = [
        max((entry.value for entry in entries if entry.value > 0.0 and len(entries) > 1), default=math.nan)
        for entries in zip(*(row.entries for row in overview.rows), strict=True)
    ]
    for row in overview.rows:
        cells = tuple(
            _cell(entry, most, share=column.is_share)
            for entry, most, column in zip(row.entries, largest, overview.columns, strict=True)
        )
        tasks = "All runs" if row.task_count is None else _count(range(row.task_count), "task")
        width = "" if row.width is None else f"width {row.width}"
        runs = Cell(text=str(row.runs))
        rows.append(
            Row(title=tasks, subtitle=width, cells=(runs, *cells), starts_group=before not in (None, row.task_count))
        )
        before = row.task_count
    return Table(
        caption=_TABLE_CAPTION + (" Bars compare the numbers of one column." if len(rows) > 1 else ""),
        corner="Tasks, width",
        columns=(
            Column(title="runs", subtitle="", metric=""),
            *(
                Column(
                    title=column.definition.long_name or column.metric,
                    subtitle=column.short,
                    metric=column.definition.variable,
                )
                for column in overview.columns
            ),
        ),
        rows=tuple(rows),
        empty="No finished run has a value of the metrics that this table shows.",
    )


def _cell(entry: Entry, largest: float, *, share: bool) -> Cell:
    if math.isnan(entry.value):
        return Cell(text="–")
    ends = (_number(end, share=share) for end in (entry.low, entry.high))
    return Cell(
        text=_number(entry.value, share=share),
        interval="" if math.isnan(entry.low) else " – ".join(ends),
        bar=entry.value / largest,
    )


def _number(value: float, *, share: bool) -> str:
    if share:
        return f"{value:.1%}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:#.3g}".rstrip(".")


def _provenance(runs: xr.DataTree) -> dict[str, str]:
    """What the runs were made with; where they differ, every value that occurs."""
    gathered: dict[str, set[str]] = {}
    for attributes in runs.attrs.get("runs", {}).values():
        facts: Mapping[str, Any] = attributes.get("provenance", {})
        flat = {"commit": facts.get("commit"), **facts.get("versions", {}), **facts.get("machine", {})}
        for name, value in flat.items():
            if value is not None:
                gathered.setdefault(str(name), set()).add(str(value))
    started = sorted(
        str(attributes["provenance"]["started"])
        for attributes in runs.attrs.get("runs", {}).values()
        if attributes.get("provenance", {}).get("started")
    )
    facts = {name: ", ".join(sorted(values)) for name, values in gathered.items()}
    if started:
        facts["recorded"] = started[0] if len(set(started)) == 1 else f"{started[0]} to {started[-1]}"
    return facts


def _configurations(runs: xr.DataTree) -> dict[str, str]:
    """What all configurations share, and in what each run differs from it."""
    found: dict[str, dict[str, Any]] = {
        str(name): attributes.get("configuration", {}) for name, attributes in runs.attrs.get("runs", {}).items()
    }
    if not found:
        return {}
    keys = dict.fromkeys(key for configuration in found.values() for key in configuration)
    first, *others = found.values()
    shared = {key: first[key] for key in keys if key in first and all(other.get(key) == first[key] for other in others)}
    own = {
        name: {key: value for key, value in configuration.items() if key not in shared}
        for name, configuration in found.items()
    }
    texts = {"Configuration that all runs share": json.dumps(shared, indent=2, default=str)} if shared else {}
    if any(own.values()):
        texts["Configuration of each run"] = "\n".join(
            f"{name}  {json.dumps(configuration, default=str)}" for name, configuration in own.items()
        )
    return texts
