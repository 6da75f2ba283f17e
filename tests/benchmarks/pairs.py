"""Paired timing: variants of the same work take turns, so that a busy machine slows all of them alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping


def paired_ratios(variants: Mapping[str, Callable[[], object]], *, rounds: int = 7) -> dict[str, float]:
    """Median over ``rounds`` of each variant's time over the first variant's time in the same round.

    The variants take turns in beginning a round.
    """
    for work in variants.values():
        work()
    names = list(variants)
    ratios: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds):
        turn = number % len(names)
        times = {name: seconds(variants[name]) for name in (*names[turn:], *names[:turn])}
        for name in names:
            ratios[name].append(times[name] / times[names[0]])
    return {name: statistics.median(values) for name, values in ratios.items()}


def table(title: str, ratios: Mapping[str, float]) -> str:
    """The ratios, a line each."""
    return "\n".join([f"\n{title}", *(f"  {name:44} {ratio:8.3f} ×" for name, ratio in ratios.items())])


def seconds(work: Callable[[], object]) -> float:
    """How long ``work`` takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
