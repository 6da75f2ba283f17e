"""Which process steps which tasks: shares that take about equally long, from what a step of each task costs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Final

from plastikit.train.parts import whole
from plastikit.train.tasks import PENDULUM

STEP_COSTS: Final = {
    "assembly-v3": 229.0,
    "basketball-v3": 170.0,
    "bin-picking-v3": 185.0,
    "box-close-v3": 236.0,
    "button-press-topdown-v3": 135.0,
    "button-press-topdown-wall-v3": 128.0,
    "button-press-v3": 124.0,
    "button-press-wall-v3": 128.0,
    "coffee-button-v3": 153.0,
    "coffee-pull-v3": 263.0,
    "coffee-push-v3": 223.0,
    "dial-turn-v3": 154.0,
    "disassemble-v3": 224.0,
    "door-close-v3": 178.0,
    "door-lock-v3": 143.0,
    "door-open-v3": 193.0,
    "door-unlock-v3": 139.0,
    "hand-insert-v3": 201.0,
    "drawer-close-v3": 148.0,
    "drawer-open-v3": 134.0,
    "faucet-open-v3": 132.0,
    "faucet-close-v3": 127.0,
    "hammer-v3": 233.0,
    "handle-press-side-v3": 133.0,
    "handle-press-v3": 130.0,
    "handle-pull-side-v3": 153.0,
    "handle-pull-v3": 144.0,
    "lever-pull-v3": 190.0,
    "pick-place-wall-v3": 221.0,
    "pick-out-of-hole-v3": 172.0,
    "pick-place-v3": 196.0,
    "plate-slide-v3": 157.0,
    "plate-slide-side-v3": 149.0,
    "plate-slide-back-v3": 148.0,
    "plate-slide-back-side-v3": 147.0,
    "peg-insert-side-v3": 216.0,
    "peg-unplug-side-v3": 205.0,
    "soccer-v3": 202.0,
    "stick-push-v3": 242.0,
    "stick-pull-v3": 238.0,
    "push-v3": 198.0,
    "push-wall-v3": 204.0,
    "push-back-v3": 187.0,
    "reach-v3": 154.0,
    "reach-wall-v3": 150.0,
    "shelf-place-v3": 199.0,
    "sweep-into-v3": 189.0,
    "sweep-v3": 166.0,
    "window-open-v3": 138.0,
    "window-close-v3": 137.0,
}
"""Microseconds of processor time that a step with random actions took, on one machine, all tasks in turn."""

_PENDULUM_COST: Final = 12.5
"""The same of a pendulum."""

_HANDING_OVER: Final = 250.0
"""Microseconds of steps that pay for handing them to other processes."""


def step_costs(tasks: Sequence[str]) -> list[float]:
    """What a step of each task costs, in proportion; a part costs what its whole does, an unknown task the mean."""
    usual = sum(STEP_COSTS.values()) / len(STEP_COSTS)
    known = STEP_COSTS | {PENDULUM: _PENDULUM_COST}
    return [known.get(whole(task), usual) for task in tasks]


def worker_count(costs: Sequence[float]) -> int:
    """Give how many processes step tasks of such costs: one per core, but one alone where handing over costs more."""
    return min(cores(), len(costs)) if sum(costs) > _HANDING_OVER else 1


def shares(costs: Sequence[float], count: int) -> list[list[int]]:
    """Divide the positions of ``costs`` into ``count`` shares with sums as equal as few exchanges make them.

    >>> shares([5.0, 1.0, 1.0, 4.0, 1.0], 2)
    [[0, 2], [1, 3, 4]]
    """
    parts: list[list[int]] = [[] for _ in range(count)]
    for position in sorted(range(len(costs)), key=lambda position: -costs[position]):
        min(parts, key=lambda part: (_sum(costs, part), len(part))).append(position)
    while _exchange(costs, parts):
        pass
    return [sorted(part) for part in parts]


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _exchange(costs: Sequence[float], parts: list[list[int]]) -> bool:
    """Let the largest share and another exchange a position each, where that makes the larger of them smaller."""
    largest = max(parts, key=lambda part: _sum(costs, part))
    for other in parts:
        gap = _sum(costs, largest) - _sum(costs, other)
        moves = [(costs[mine] - costs[theirs], mine, theirs) for mine in largest for theirs in other]
        better = [move for move in moves if 1e-9 * gap < move[0] < gap * (1.0 - 1e-9)]
        if better:
            _, mine, theirs = min(better, key=lambda move: abs(move[0] - gap / 2.0))
            largest[largest.index(mine)], other[other.index(theirs)] = theirs, mine
            return True
    return False


def _sum(costs: Sequence[float], part: Sequence[int]) -> float:
    return sum(costs[position] for position in part)
