"""How a value changes per doubling of width and per doubling of the task count, each on a scale that is named."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from plastikit.analysis.regression import Fit, Observations, Scale, Values, fit, obstacle

Predictor = Literal["width", "tasks", "interaction"]

_PER: Final[dict[str, str]] = {
    "width": "per doubling of width",
    "tasks": "per doubling of the task count",
    "interaction": "on the effect of doubling the one, per doubling of the other",
}


@dataclass(frozen=True, kw_only=True)
class Slope:
    """Change of a metric per doubling, with its interval; NaN, with a sentence why, where it cannot be told."""

    predictor: Predictor
    scale: Scale
    """``log-odds`` and ``log2`` add in logarithms and read as factors; ``difference`` is in the metric's own unit."""
    estimate: float
    low: float
    high: float
    level: float
    method: str
    note: str
    """What is missing and why; empty where nothing is."""
    is_share: bool
    """Whether a difference is one of shares, and reads in percentage points."""

    @property
    def factor(self) -> tuple[float, float, float]:
        """Estimate and interval as factors on the odds or on the value; NaN for a difference."""
        base = {"log-odds": math.e, "log2": 2.0}.get(self.scale, math.nan)
        return base**self.estimate, base**self.low, base**self.high

    @property
    def amount(self) -> str:
        """The estimate as it is read on its scale, such as ``odds × 1.9``; a dash where there is none."""
        if math.isnan(self.estimate):
            return "–"
        if self.scale == "difference":
            size, unit = (100.0, " percentage points") if self.is_share else (1.0, "")
            return _minus(f"{self.estimate * size:+.3g}{unit}")
        return f"{'odds' if self.scale == 'log-odds' else 'value'} × {self.factor[0]:.3g}"

    @property
    def bounds(self) -> str:
        """The interval as it is read on its scale; empty where there is none."""
        if math.isnan(self.low) or math.isnan(self.high):
            return ""
        if self.scale == "difference":
            size = 100.0 if self.is_share else 1.0
            return _minus(f"{self.low * size:+.3g} to {self.high * size:+.3g}")
        _, low, high = self.factor
        return f"{low:.3g} to {high:.3g}"

    @property
    def reading(self) -> str:
        """The slope in words, the scale named."""
        if math.isnan(self.estimate):
            return f"not estimated {_PER[self.predictor]}"
        interval = f" ({self.level:.0%} interval {self.bounds})" if self.bounds else ""
        return f"{self.amount} {_PER[self.predictor]}{interval}"


def fit_slopes(
    observed: Observations,
    *,
    widths: Values,
    task_counts: Values,
    scale: Scale,
    is_share: bool = False,
    level: float = 0.95,
) -> tuple[Slope, Slope, Slope]:
    """Slopes per doubling of width and of tasks, from one additive model, and their interaction, from a crossed one.

    Intervals are cluster-robust and need more clusters (runs of the same tasks and seed) than coefficients; with
    fewer the estimate stands alone.

    NaN: the runs do not vary in the predictor, or only together with the other one, or the scale has no place for
    their values.
    """
    _, cells = np.unique(np.column_stack([widths, task_counts]), axis=0, return_inverse=True)
    blocked = obstacle(observed, cells, scale)
    wide, many = (np.log2(values / values[:1]) for values in (widths, task_counts))
    varies = {"width": bool(np.ptp(wide) > 0.0), "tasks": bool(np.ptp(many) > 0.0)} if len(wide) else {}
    varies["interaction"] = all(varies.values()) and bool(varies)
    columns = {"width": wide, "tasks": many, "interaction": wide * many}

    def slopes(*wanted: Predictor) -> dict[Predictor, Slope]:
        used = [name for name in wanted if varies.get(name)]
        design = np.column_stack([np.ones_like(wide), *(columns[name] for name in used)])
        why = blocked or _unidentified(design, crossed="interaction" in wanted)
        fitted = None if why or not used else fit(observed, cells, design, scale, level=level)
        return {
            name: _slope(
                name,
                fitted if name in used else None,
                1 + used.index(name) if name in used else 0,
                why or f"All runs have the same {'width' if name == 'width' else 'task count'}.",
                scale=scale,
                is_share=is_share,
                level=level,
            )
            for name in wanted
        }

    additive = slopes("width", "tasks")
    crossed = slopes("width", "tasks", "interaction")
    return additive["width"], additive["tasks"], crossed["interaction"]


def _unidentified(design: Values, *, crossed: bool) -> str:
    if crossed and design.shape[1] < 4:
        return "An interaction takes two widths and two task counts."
    if np.linalg.matrix_rank(design) < design.shape[1]:
        return (
            "An interaction takes runs in all four corners of two widths and two task counts."
            if crossed
            else "Width and task count vary only together."
        )
    return ""


def _slope(
    predictor: Predictor,
    fitted: Fit | None,
    position: int,
    why: str,
    *,
    scale: Scale,
    is_share: bool,
    level: float,
) -> Slope:
    return Slope(
        predictor=predictor,
        scale=scale,
        estimate=float(fitted.estimates[position]) if fitted else math.nan,
        low=float(fitted.low[position]) if fitted else math.nan,
        high=float(fitted.high[position]) if fitted else math.nan,
        level=level,
        method=fitted.method if fitted else "none",
        note=fitted.note if fitted else why,
        is_share=is_share,
    )


def _minus(text: str) -> str:
    return text.replace("-", "−")
