"""One HTML file that shows analysed runs and works offline: what it holds, and how it is written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any, Final

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from plastikit.errors import ConfigurationError
from plastikit.figures import markup
from plastikit.figures.theme import DARK, TEMPLATE
from plastikit.schema import Definition

_UNSAFE: Final = {ord(character): f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"}


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One result in words, beside a figure."""

    title: str
    lines: tuple[tuple[str, str], ...]
    """What was found, and a smaller line about it."""


@dataclass(frozen=True, kw_only=True)
class Panel:
    """A figure, or the sentence that stands in its place."""

    figure: go.Figure | None = None
    sentence: str = "There is nothing to show."
    caption: str = ""
    readings: tuple[Reading, ...] = ()
    remarks: tuple[str, ...] = ()
    """What the readings lack, and why."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One entry of the metric selector, and what it switches."""

    key: str
    label: str
    group: str
    terms: tuple[str, ...]
    """The variables whose definitions belong to it."""
    scaling: Mapping[str, Panel]
    """By network."""
    histories: Mapping[str, Panel]
    """By run; empty for a metric that has no layers."""


@dataclass(frozen=True, kw_only=True)
class ReportContent:
    """All that a report shows."""

    title: str
    lead: str
    table: markup.Table
    choices: tuple[Choice, ...]
    first: str
    """Key of the choice that is shown first."""
    runs: tuple[str, ...]
    first_run: str
    """Whose layers are shown first."""
    scaling_title: str
    curves_title: str
    curves: Mapping[str, Panel]
    definitions: tuple[Definition, ...]
    methods: tuple[str, ...]
    provenance: Mapping[str, str]
    details: Mapping[str, str] = field(default_factory=dict)
    """Longer texts of the footer, folded in, by title."""
    notice: str | None = None
    warnings: tuple[str, ...] = ()


def write_report(content: ReportContent, path: str | Path) -> Path:
    """Write ``content`` as one HTML file, with plotly.js inside, and return its path.

    The file asks the network for nothing, and names in it that look like markup stay text.

    Raises:
        ConfigurationError: the file cannot be written.
    """
    parts = files("plastikit.figures")

    def part(name: str) -> str:
        return (parts / name).read_text(encoding="utf-8")

    page = Template(part("report.html")).substitute(
        title=markup.escape(content.title),
        lead=markup.escape(content.lead),
        css=part("report.css"),
        notices=markup.notices(content.notice, content.warnings),
        table=markup.table(content.table),
        scaling_title=markup.escape(content.scaling_title),
        curves_title=markup.escape(content.curves_title),
        definitions=markup.definitions(content.definitions),
        methods=markup.methods(content.methods),
        provenance=markup.provenance(content.provenance, content.details),
        content=_embedded(content),
        plotly=get_plotlyjs(),
        script=part("report.js"),
    )
    place = Path(path)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(page, encoding="utf-8")
    except OSError as error:
        found = f"{place} is a folder" if place.is_dir() else f"{place} cannot be written ({error.strerror or error})"
        raise ConfigurationError(
            f"{found}; a report is one file in a folder that can be written to. Give another path, such as report.html"
        ) from error
    return place


def _embedded(content: ReportContent) -> str:
    plain = {
        "dark": DARK,
        "template": TEMPLATE.to_plotly_json(),
        "choices": [
            {
                "key": choice.key,
                "label": choice.label,
                "group": choice.group,
                "terms": choice.terms,
                "scaling": {name: _panel(panel) for name, panel in choice.scaling.items()},
                "histories": {name: _panel(panel) for name, panel in choice.histories.items()},
            }
            for choice in content.choices
        ],
        "first": content.first,
        "runs": list(content.runs),
        "first_run": content.first_run,
        "curves": {name: _panel(panel) for name, panel in content.curves.items()},
        "empty": "These runs hold no metric to show.",
        "no_layers": "This metric was not measured layer by layer. Choose another one above.",
        "no_curves": "These runs were never evaluated, so there is no success to show.",
    }
    return json.dumps(plain, separators=(",", ":"), allow_nan=False).translate(_UNSAFE)


def _panel(panel: Panel) -> dict[str, Any]:
    figure: dict[str, Any] | None = None
    if panel.figure is not None:
        figure = json.loads(panel.figure.to_json())
        figure["layout"].pop("template", None)
    return {
        "figure": figure,
        "sentence": panel.sentence,
        "caption": panel.caption,
        "readings": [{"title": reading.title, "lines": reading.lines} for reading in panel.readings],
        "remarks": panel.remarks,
    }
