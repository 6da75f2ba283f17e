"""Pieces of the report's HTML; all text that comes from data is escaped here."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from plastikit.schema import Definition

_ARXIV = re.compile(r"arXiv:(\d{4}\.\d{4,5})")
_DOI = re.compile(r"doi:(10\.\S+[^\s.,;)])")


@dataclass(frozen=True, kw_only=True)
class Column:
    """A heading of the table, and the metric whose definition explains it, if there is one."""

    title: str
    subtitle: str
    metric: str


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A number as it is shown."""

    text: str
    interval: str = ""
    bar: float = math.nan
    """Length of the bar below the number, from 0 to 1; none where it is NaN."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A line of the table."""

    title: str
    subtitle: str
    cells: tuple[Cell, ...]
    starts_group: bool = False


@dataclass(frozen=True, kw_only=True)
class Table:
    """Numbers under headings that explain themselves."""

    caption: str
    corner: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    empty: str = "There is nothing to show."


def escape(text: str) -> str:
    """``text`` as HTML."""
    return html.escape(text, quote=True)


def notices(notice: str | None, warnings: tuple[str, ...]) -> str:
    """What a reader must know first."""
    parts = [f'<p class="notice" role="note">{escape(notice)}</p>'] if notice else []
    if warnings:
        shown = "".join(f"<li>{escape(warning)}</li>" for warning in warnings)
        if len(warnings) > 4:
            shown = f"<details><summary>{len(warnings)} remarks on the runs</summary><ul>{shown}</ul></details>"
            parts.append(f'<div class="alerts">{shown}</div>')
        else:
            parts.append(f'<ul class="alerts">{shown}</ul>')
    return "\n".join(parts)


def table(content: Table) -> str:
    """The table in a container of its own that scrolls where the screen is narrow."""
    if not content.rows:
        return f'<p class="lead">{escape(content.empty)}</p>'
    head = "".join(map(_heading, content.columns))
    body = "\n".join(
        f'<tr{" class=first" if row.starts_group else ""}><th scope="row"><b>{escape(row.title)}</b> '
        f"<span>{escape(row.subtitle)}</span></th>{''.join(map(_cell, row.cells))}</tr>"
        for row in content.rows
    )
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="Results by task count and width"><table>'
        f'<thead><tr><th scope="col">{escape(content.corner)}</th>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
        f'<p class="under">{escape(content.caption)}</p>'
    )


def definitions(entries: Iterable[Definition]) -> str:
    """Every metric's passport, folded in."""
    return "\n".join(
        f'<details class="definition" id="definition-{escape(entry.variable)}">'
        f"<summary>{escape(entry.long_name or entry.variable)}</summary><dl>{_passport(entry)}</dl></details>"
        for entry in entries
    )


def methods(sentences: Iterable[str]) -> str:
    """How the numbers were made."""
    return f'<ul class="methods">{"".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)}</ul>'


def provenance(facts: Mapping[str, str], details: Mapping[str, str]) -> str:
    """Versions and circumstances as a table, longer texts folded in."""
    rows = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{escape(text)}</td></tr>' for name, text in facts.items()
    )
    folded = "".join(
        f"<details><summary>{escape(name)}</summary><pre>{escape(text)}</pre></details>"
        for name, text in details.items()
    )
    return f"<table><tbody>{rows}</tbody></table>{folded}"


def _heading(column: Column) -> str:
    title = escape(column.title)
    if column.metric:
        attributes = f'type="button" class="term" data-metric="{escape(column.metric)}" aria-expanded="false"'
        title = f"<button {attributes}>{title}</button>"
    return f'<th scope="col">{title}<small>{escape(column.subtitle)}</small></th>'


def _cell(cell: Cell) -> str:
    interval = f"<small>{escape(cell.interval)}</small>" if cell.interval else ""
    bar = ""
    if math.isfinite(cell.bar):
        bar = f'<span class="bar"><i style="--bar:{min(max(cell.bar, 0.0), 1.0):.4f}"></i></span>'
    return f"<td>{escape(cell.text)}{interval}{bar}</td>"


def _passport(entry: Definition) -> str:
    parameters = ", ".join(f"{name} = {value}" for name, value in entry.parameters.items())
    facts = {
        "Means": entry.description or "This metric was recorded without a definition.",
        "Range": entry.valid_range,
        "Unit": "" if entry.units in ("", "1") else entry.units,
        "With": parameters,
        "Beware": entry.pitfalls,
        "Measured on": entry.source,
        "Definition": entry.id,
    }
    rows = [f"<dt>{name}</dt><dd>{escape(text)}</dd>" for name, text in facts.items() if text]
    if entry.reference:
        rows.append(f"<dt>Reference</dt><dd>{_linked(entry.reference)}</dd>")
    return "".join(rows)


def _linked(reference: str) -> str:
    text = _ARXIV.sub(r'<a href="https://arxiv.org/abs/\1">arXiv:\1</a>', escape(reference))
    return _DOI.sub(r'<a href="https://doi.org/\1">doi:\1</a>', text)
