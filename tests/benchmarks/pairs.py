"""Paired timing: variants of the same work take turns, so that a busy machine slows all of them alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping


def paired_ratios(variants: Mapping[str, Callable[[], object]], *, rounds: int = 7) -> dict[str, float]:
    """Median over ``rounds`` of each variant's time over the first variant's time in the same round."""
    for work in variants.values():
        work()
    first, *_ = variants
    ratios: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(rounds):
        seconds = {name: _seconds(work) for name, work in variants.items()}
        for name in variants:
            ratios[name].append(seconds[name] / seconds[first])
    return {name: statistics.median(values) for name, values in ratios.items()}


def table(title: str, ratios: Mapping[str, float]) -> str:
    """The ratios, a line each."""
    return "\n".join([f"\n{title}", *(f"  {name:34} {ratio:8.3f} ×" for name, ratio in ratios.items())])


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
