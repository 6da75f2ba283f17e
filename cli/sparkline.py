"""Numbers in a line of text, as high as they are large."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

_LEVELS: Final = "▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[float], width: int) -> str:
    """The course of ``values``, each character the mean of those it stands for; a blank where there is none.

    >>> sparkline([0.0, 1.0, float("nan"), 7.0], width=4)
    '▁▂ █'
    >>> sparkline([2.0, 2.0], width=8)
    '▄▄'
    """
    finite = [value if math.isfinite(value) else None for value in values]
    count = min(width, len(finite))
    edges = [len(finite) * place // count for place in range(count + 1)] if count else []
    means = [_mean(finite[first:end]) for first, end in pairwise(edges)]
    known = [mean for mean in means if mean is not None]
    if not known:
        return ""
    low, high = min(known), max(known)
    scale = (len(_LEVELS) - 1) / (high - low) if high > low else 0.0
    middle = 0.0 if high > low else 3.0
    return "".join(" " if mean is None else _LEVELS[round(middle + (mean - low) * scale)] for mean in means)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
