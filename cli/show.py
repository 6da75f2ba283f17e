"""``plastikit show``: one run at a glance, or one of its metrics over the steps."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from plastikit.cli import options

if TYPE_CHECKING:
    from rich.table import Table

    from plastikit.overview.courses import Courses
    from plastikit.overview.run import Overview

_MOST_EVENTS: Final = 10
_MOST_COURSES: Final = 60
_LONGEST_SETTING: Final = 200
_FIRST_NAMED: Final = ("plastikit", "python", "torch")


def show(
    run: options.Run,
    metric: Annotated[
        str | None,
        typer.Argument(help="A variable of the run, such as srank: what it means, and its course.", show_default=False),
    ] = None,
    *,
    json: options.Json = False,
) -> None:
    """Show one run: its state, origin and settings, what it holds, what happened, and the last values with their trend.

    With a metric: its passport, and its course over the steps for each layer, network or task. Of a variable with a
    value for each unit, the mean over the units of each layer is shown.
    """
    from plastikit.cli import console
    from plastikit.record.dataset import open_run

    opened = open_run(run)
    if metric is not None:
        from plastikit.overview.courses import courses

        found = courses(opened, metric)
        if json:
            console.print_json(_course_answer(run, found))
        else:
            _print_courses(found)
        return
    from plastikit.overview.run import overview

    seen = overview(opened, run)
    if json:
        console.print_json(seen.to_dict())
    else:
        _print_overview(seen)


def _course_answer(run: str, found: Courses) -> dict[str, Any]:
    passport = found.passport
    return {
        "run": run,
        "metric": passport.variable,
        "group": found.group,
        "passport": passport.to_attrs(),
        "dims": ["step", *passport.dims],
        "averaged": found.averaged,
        "steps": found.steps.tolist(),
        "series": [{"labels": dict(each.labels), "values": each.values.tolist()} for each in found.courses],
    }


def _print_courses(found: Courses) -> None:
    from plastikit.cli import console
    from plastikit.cli.sparkline import sparkline

    passport = found.passport
    console.say(f"{passport.variable}: {passport.long_name}" if passport.long_name else passport.variable, style="bold")
    facts = {
        "definition": passport.description,
        "id": passport.id,
        "dims": ", ".join(("step", *passport.dims)),
        "units": "a pure number" if passport.units == "1" else passport.units,
        "range": passport.valid_range,
        "pitfalls": passport.pitfalls,
        "constants": ", ".join(f"{name} = {value}" for name, value in passport.parameters.items()),
        "source": passport.source,
        "reference": passport.reference,
        "shown": found.averaged,
    }
    _print_facts({name: text for name, text in facts.items() if text})
    steps = found.measured_steps
    if not len(steps):
        console.say("no value of it has been recorded yet")
        return
    times = f"{len(steps):,} step{'' if len(steps) == 1 else 's'}"
    console.say(f"\nmeasured at {times} from {steps[0]:,} to {steps[-1]:,}")
    dims = list(found.courses[0].labels)
    shown = [course for course in found.courses if course.measured.size]
    table = console.plain_table(*dims, "first", "last", "least", "most", "course")
    for column in (*table.columns[: len(dims)], table.columns[-1]):
        column.justify = "left"
    for course in shown[:_MOST_COURSES]:
        values = course.measured
        numbers = (console.number(float(value)) for value in (values[0], values[-1], values.min(), values.max()))
        table.add_row(*(_label(label) for label in course.labels.values()), *numbers, sparkline(values.tolist(), 24))
    console.out.print(table)
    if len(shown) > _MOST_COURSES:
        console.say(f"and {len(shown) - _MOST_COURSES} more; --json has them all", style="dim")


def _print_overview(seen: Overview) -> None:
    from plastikit.cli import console

    console.say(seen.name, style="bold")
    state = f"{seen.state}: {seen.error}" if seen.error else seen.state
    console.say(state, style="" if seen.state in {"running", "finished"} else "red")
    _print_facts(_origin(seen))
    if seen.configuration:
        console.say("\nconfiguration", style="bold")
        _print_facts({name: _shortened(value) for name, value in _flat(seen.configuration).items()})
    _print_groups(seen)
    for lost in seen.dropped:
        told = f"{lost.get('rows')} rows of {lost.get('group')}, steps {lost.get('first')} to {lost.get('last')}"
        console.say(f"dropped: {told}: {lost.get('reason')}", style="red")
    for title, tables in seen.last.items():
        if any(tables.values()):
            console.say(f"\n{title}", style="bold")
            console.out.print(_last_values(tables))
    for problem in seen.damaged:
        console.say(f"\n{problem}", style="red")
    if seen.events:
        console.say("\nevents", style="bold")
        for event in seen.events[-_MOST_EVENTS:]:
            message = " ".join(event["message"].split())
            console.say(f"step {event['step']:,}  {event['kind']}: {message}")
        if len(seen.events) > _MOST_EVENTS:
            console.say(f"and {len(seen.events) - _MOST_EVENTS} before them; --json has them all", style="dim")


def _print_groups(seen: Overview) -> None:
    from plastikit.cli import console

    console.say("\nwhat it holds", style="bold")
    table = console.plain_table("group", "rows", "steps", "variables", "dimensions")
    for column in (table.columns[0], table.columns[-1]):
        column.justify = "left"
    for name, group in seen.groups.items():
        span = f"{group.first_step:,} – {group.last_step:,}" if group.rows else "–"
        dims = ", ".join(f"{dim} {size:,}" for dim, size in group.dims.items())
        table.add_row(name, f"{group.rows:,}", span, str(len(group.variables)), dims)
    console.out.print(table)


def _origin(seen: Overview) -> dict[str, str]:
    from plastikit.cli import console

    provenance, watching = seen.provenance, seen.watching
    versions = sorted(provenance.get("versions", {}).items(), key=lambda entry: entry[0] not in _FIRST_NAMED)
    machine = provenance.get("machine", {})
    probes = watching.get("probes", {})
    last = "" if seen.last_row is None else f"last row {console.ago(time.time() - seen.last_row)}"
    facts = {
        "written": ", ".join(
            text
            for text in (
                f"from {provenance['started']}" if provenance.get("started") else "",
                f"to {provenance['ended']}" if provenance.get("ended") else "",
                last,
                console.size(seen.size),
            )
            if text
        ),
        "by": ", ".join(f"{name} {version}" for name, version in versions),
        "commit": str(provenance.get("commit") or ""),
        "machine": ", ".join(f"{name} {value}" for name, value in machine.items()),
        "schedule": str(watching.get("schedule") or ""),
        "probes": ", ".join(probes),
    }
    return {name: text for name, text in facts.items() if text}


def _last_values(tables: Mapping[str, Sequence[Any]]) -> Table:
    """A row for each label, and for each metric a column of last values with their trend."""
    from plastikit.cli import console
    from plastikit.cli.sparkline import sparkline

    titles = [metric for metric, found in tables.items() if found]
    by_label: dict[str, dict[str, str]] = {}
    for metric in titles:
        for last in tables[metric]:
            text = f"{console.number(last.value)} {sparkline(last.trend, 8):8}"
            by_label.setdefault(last.label, {})[metric] = text
    table = console.plain_table("", *titles)
    table.columns[0].justify, table.columns[0].overflow = "left", "fold"
    for label, cells in by_label.items():
        table.add_row(label, *(cells.get(metric, "–") for metric in titles))
    return table


def _print_facts(facts: Mapping[str, str]) -> None:
    from rich.text import Text

    from plastikit.cli import console

    table = console.plain_table("", "")
    table.show_header = False
    for column in table.columns:
        column.justify, column.overflow = "left", "fold"
    for name, text in facts.items():
        table.add_row(name, Text(text))
    console.out.print(table)


def _flat(settings: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{above}{name}.")
        else:
            found[f"{above}{name}"] = value
    return found


def _shortened(value: Any) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= _LONGEST_SETTING else f"{text[:_LONGEST_SETTING]}…"


def _label(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
