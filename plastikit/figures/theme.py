"""How every figure looks: ink on paper by day, chalk on slate by night, in colours that most eyes tell apart."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Final

import plotly.graph_objects as go

PAPER: Final = "#fbfaf7"
INK: Final = "#1c1d20"
MUTED: Final = "#5c6068"
HAIRLINE: Final = "#dedad1"

CATEGORIES: Final = ("#3577cc", "#96462f", "#103e19", "#a4823d", "#500859")
"""For task counts: at least 3 : 1 against paper, and told apart with any of the colour-vision deficiencies."""
SYMBOLS: Final = ("circle", "square", "diamond", "triangle-up", "cross")
"""Beside the colours, so that neither carries a meaning alone."""
RAMP: Final = ("#7fb2c2", "#5f9bb0", "#43839d", "#2d6a88", "#1d5270", "#113b56", "#07253c")
"""For widths: the wider, the stronger."""
HEAT: Final = ("#f3f0e8", "#c6dbd6", "#86b6bb", "#4389a0", "#1f5b80", "#10335a", "#0a1733")
"""For heatmaps: nothing is paper, much is ink."""

DARK: Final = {
    PAPER: "#15171b",
    INK: "#e9e6df",
    MUTED: "#a2a7af",
    HAIRLINE: "#31353c",
    **dict(zip(CATEGORIES, ("#74acfb", "#f4a07b", "#98edd6", "#e7e075", "#c77fc3"), strict=True)),
    **dict(
        zip(RAMP, ("#5b7f90", "#688f9f", "#769fb0", "#7cadc0", "#97c7d6", "#b7dfe8", "#dbf3f6"), strict=True),
    ),
    **dict(zip(HEAT, ("#1d2127", "#233f4f", "#285f72", "#3a8791", "#6cb0a4", "#aed6b0", "#eef6c6"), strict=True)),
}
"""What stands for each colour on a dark ground."""

FONT: Final = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', 'Liberation Sans', Arial, sans-serif"

_AXIS: Final = {
    "showgrid": True,
    "gridcolor": HAIRLINE,
    "gridwidth": 1,
    "zeroline": False,
    "showline": False,
    "ticks": "",
    "tickfont": {"color": MUTED, "size": 12},
    "title": {"font": {"color": MUTED, "size": 12}, "standoff": 8},
    "automargin": True,
}
TEMPLATE: Final = go.layout.Template(
    layout={
        "font": {"family": FONT, "size": 13, "color": INK},
        "paper_bgcolor": PAPER,
        "plot_bgcolor": PAPER,
        "colorway": list(CATEGORIES),
        "margin": {"l": 8, "r": 12, "t": 34, "b": 8, "pad": 2},
        "title": {
            "font": {"size": 13, "color": MUTED},
            "x": 0.0,
            "xanchor": "left",
            "xref": "paper",
            "y": 1.0,
            "yanchor": "bottom",
            "yref": "paper",
            "pad": {"b": 12},
        },
        "xaxis": _AXIS | {"showgrid": False, "showline": True, "linecolor": HAIRLINE},
        "yaxis": _AXIS,
        "legend": {
            "orientation": "h",
            "x": 0.0,
            "xanchor": "left",
            "y": -0.2,
            "yanchor": "top",
            "font": {"color": INK},
            "itemsizing": "constant",
        },
        "hoverlabel": {
            "font": {"family": FONT, "size": 12, "color": INK},
            "bgcolor": PAPER,
            "bordercolor": MUTED,
            "align": "left",
        },
        "hovermode": "closest",
    },
)


def categories(count: int) -> list[tuple[str, str]]:
    """A colour and a symbol for each of ``count`` kinds; no two of the first 25 are alike in both."""
    return [
        (CATEGORIES[index % len(CATEGORIES)], SYMBOLS[(index + index // len(CATEGORIES)) % len(SYMBOLS)])
        for index in range(count)
    ]


def ramp(count: int) -> list[str]:
    """``count`` colours in rising strength, spread over the whole ramp."""
    if count == 1:
        return [RAMP[len(RAMP) // 2 + 1]]
    return [RAMP[round(index * (len(RAMP) - 1) / (count - 1))] for index in range(count)]


def heat() -> list[list[float | str]]:
    """The colour scale of heatmaps."""
    return [[index / (len(HEAT) - 1), colour] for index, colour in enumerate(HEAT)]


def literal(text: str) -> str:
    """``text`` as Plotly shows it character for character, where it would read tags and entities."""
    return html.escape(text, quote=False)


def short_names(names: Sequence[str]) -> list[str]:
    """Dotted names without the parts that all of them share, where they stay different without them.

    >>> short_names(["actor.trunk.hidden_1", "critic_0.trunk.hidden_2"])
    ['actor · hidden_1', 'critic_0 · hidden_2']
    """
    split = [name.split(".") for name in names]
    shared = set.intersection(*map(set, split)) if len(names) > 1 else set()
    short = [" · ".join(part for part in parts if part not in shared) for parts in split]
    return short if len(set(short)) == len(names) and all(short) else [" · ".join(parts) for parts in split]


def figure(**layout: object) -> go.Figure:
    """An empty figure that looks like the others."""
    return go.Figure(layout={"template": TEMPLATE, **layout})
