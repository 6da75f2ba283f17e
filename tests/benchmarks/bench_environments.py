"""How fast environments are stepped: beside gymnasium's two ways, and beside processes that never wait for each other.

Random actions on MT10. gymnasium steps Meta-World's own simulators; the processes that never wait step those or, as
free as ours, plastikit's. The variants take turns in every round; what is printed are medians of the rounds.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from benchmarks.pairs import seconds
from benchmarks.stepping import GymnasiumTask, free_crew
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv

from plastikit.train.balance import cores
from plastikit.train.tasks import MT10
from plastikit.train.workers import Simulators, TaskEnvironments, VectorStep

STEPS, ROUNDS = 200, 7
ACTIONS = np.random.default_rng(0).uniform(-1.0, 1.0, (STEPS, len(MT10), 4)).astype(np.float32)


@pytest.mark.parametrize("workers", sorted({1, 2, cores()}))
def test_rate_of_random_actions(workers: int) -> None:
    """At least 0.75 of the rates without waiting, and never slower than gymnasium."""
    made = [partial(GymnasiumTask, task, 0) for task in MT10]
    sync = SyncVectorEnv(made, autoreset_mode=AutoresetMode.SAME_STEP)
    apart = AsyncVectorEnv(made, autoreset_mode=AutoresetMode.SAME_STEP)
    simulators = Simulators(MT10, 0, workers)
    ours = TaskEnvironments(simulators, 0)
    free = free_crew(MT10, 0, STEPS, workers, is_faster=False)
    free_as_ours = free_crew(MT10, 0, STEPS, workers, is_faster=True)
    for begin in (sync.reset, apart.reset, ours.reset, free.begin, free_as_ours.begin):
        begin()
    variants: dict[str, Callable[[], object]] = {
        "free": free.step,
        "free as ours": free_as_ours.step,
        "ours": lambda: [stepped(ours, action) for action in ACTIONS],
        "SyncVectorEnv": lambda: [sync.step(action) for action in ACTIONS],
        "AsyncVectorEnv": lambda: [apart.step(action) for action in ACTIONS],
    }
    rates: dict[str, list[float]] = {name: [] for name in variants}
    for number in range(ROUNDS):
        for turn in range(len(variants)):
            name = list(variants)[(number + turn) % len(variants)]
            rates[name].append(STEPS * len(MT10) / seconds(variants[name]))
    print(f"\n{workers} workers, {cores()} cores: environment steps per second, and the share of free ones")
    for name, values in rates.items():
        print(f"  {name:16} {statistics.median(values):8.0f} {ratio(values, rates['free']):8.3f} ×")
    better = max("SyncVectorEnv", "AsyncVectorEnv", key=lambda name: statistics.median(rates[name]))
    print(f"  ours against {better}: {ratio(rates['ours'], rates[better]):.3f} ×")
    print(f"  ours against free as ours: {ratio(rates['ours'], rates['free as ours']):.3f} ×")
    for closing in (sync, apart, simulators, free, free_as_ours):
        closing.close()
    assert ratio(rates["ours"], rates["free"]) >= 0.75
    assert ratio(rates["ours"], rates["free as ours"]) >= 0.75
    assert ratio(rates["ours"], rates[better]) > 1.0


def ratio(rates: list[float], others: list[float]) -> float:
    """The median over the rounds of one variant's rate over another's in the same round."""
    return statistics.median(one / other for one, other in zip(rates, others, strict=True))


def stepped(environments: TaskEnvironments, actions: np.ndarray) -> VectorStep:
    """Take one action in every task, as training does."""
    environments.order(actions)
    return environments.collect()


THEIRS = "import gymnasium, metaworld; gymnasium.make_vec('Meta-World/{tasks}', vector_strategy='sync', seed=1).reset()"
OURS = """
from plastikit.train.tasks import resolve_tasks
from plastikit.train.workers import Simulators, TaskEnvironments
simulators = Simulators(resolve_tasks('{tasks}'), 1, None)
TaskEnvironments(simulators, 1).reset()
simulators.close()
"""


@pytest.mark.parametrize("tasks", ["MT10", "MT50"])
def test_time_to_the_first_observation(tasks: str, tmp_path: Path) -> None:
    """From a new process to all tasks' first observations: at most 12 s warm, and cold half of Meta-World's own."""
    environment = os.environ | {"PLASTIKIT_CACHE": str(tmp_path)}

    def start(code: str) -> None:
        subprocess.run([sys.executable, "-P", "-c", code.format(tasks=tasks)], env=environment, check=True)

    theirs, cold, warm = (seconds(partial(start, code)) for code in (THEIRS, OURS, OURS))
    print(f"\n{tasks}, {cores()} cores: Meta-World {theirs:.1f} s, cold {cold:.1f} s, warm {warm:.1f} s")
    assert cold < theirs
    assert warm < cold
