"""How many runs of a sweep go on at the same time, and how many cores each of them has."""

from __future__ import annotations

from typing import Final, NamedTuple

RUNS_OF_A_GPU: Final = 2
"""By default, at the same time: one learns while the other steps. It has not been measured: no GPU was at hand."""


class Concurrency(NamedTuple):
    """How the machine is shared out among runs."""

    runs: int
    """At the same time."""
    cores: int
    """Of each: threads that compute, and processes that step environments."""


def concurrency(asked: int | None, *, left: int, cores: int, is_on_gpu: bool) -> Concurrency:
    """Share the cores out evenly among as many runs as are asked for, or as a core or a GPU can each take.

    Args:
        asked: runs at the same time; None leaves it open.
        left: runs that are to be done.
        cores: those that there are.
        is_on_gpu: whether the runs share a GPU, of whose memory each takes a part for itself.

    >>> concurrency(None, left=9, cores=16, is_on_gpu=False)
    Concurrency(runs=9, cores=1)
    """
    usual = min(RUNS_OF_A_GPU, cores) if is_on_gpu else cores
    runs = max(1, min(asked or usual, left))
    return Concurrency(runs, max(1, cores // runs))
