"""How fast a replay gives batches, beside a ring that keeps both observations of each transition; and what it takes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from benchmarks.pairs import paired_ratios, seconds, table
from torch import Tensor

from plastikit.train.replay import Replay
from plastikit.train.workers import VectorStep

TASKS, FEATURES, ACTIONS, CAPACITY, BATCH = 10, 39, 4, 100_000, 128
REPEATS = 50
SPLIT = (FEATURES, ACTIONS, 1, 1, FEATURES)


class Twofold:
    """The ring that keeps both: a transition is one row, a batch one gather of NumPy's."""

    def __init__(self) -> None:
        self.rows = np.empty((TASKS, CAPACITY, sum(SPLIT)), dtype=np.float32)
        self.rows[:] = 1.0
        self.generator = np.random.default_rng(0)
        self.first_row = np.arange(TASKS)[:, None] * CAPACITY

    def sample(self) -> tuple[Tensor, ...]:
        """A batch."""
        drawn = self.generator.integers(CAPACITY, size=(TASKS, BATCH)) + self.first_row
        rows = torch.from_numpy(self.rows.reshape(TASKS * CAPACITY, -1).take(drawn, axis=0))
        observation, action, reward, terminated, following = rows.split(SPLIT, dim=-1)
        return observation, action, reward.squeeze(-1), terminated.squeeze(-1), following


def filled(tasks: int, capacity: int, *, episode: int = 500) -> Replay:
    """A replay after ``capacity`` vector steps and a few more."""
    replay = Replay(
        task_count=tasks,
        observation_size=FEATURES,
        action_size=ACTIONS,
        capacity=capacity,
        generator=np.random.default_rng(0),
    )
    observation = np.ones((tasks, FEATURES), dtype=np.float32)
    action, reward = np.ones((tasks, ACTIONS), dtype=np.float32), np.ones(tasks, dtype=np.float32)
    never = np.zeros(tasks, dtype=np.bool_)
    for step in range(capacity + 10):
        is_ended = np.full(tasks, step % episode == episode - 1)
        replay.add(observation, action, VectorStep(observation, observation, reward, never, is_ended, never))
    return replay


def test_batches_of_mt10() -> None:
    """1,280 transitions of a million, beside the ring that keeps twice as much; a hundredth of an update at most."""
    replay, twofold = filled(TASKS, CAPACITY), Twofold()
    variants = {"both observations kept": twofold.sample, "each observation once": partial(replay.sample, BATCH)}
    for threads in (1, 2):
        torch.set_num_threads(threads)
        ratios = paired_ratios({name: partial(repeat, sample) for name, sample in variants.items()}, rounds=51)
        batch = seconds(partial(repeat, variants["each observation once"])) / REPEATS
        print(table(f"a batch, {threads} threads: {batch * 1e6:.0f} microseconds", ratios))
        assert batch < 1e-3


def repeat(sample: Callable[[], object]) -> None:
    """Batch after batch, none of which is kept, as in training."""
    for _ in range(REPEATS):
        sample()


_FILL = """
from pathlib import Path
from benchmarks.bench_replay import filled
def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
before = resident()
replay = filled(50, 100_000)
print(replay.size * 50, resident() - before, replay.nbytes)
"""


def test_memory_of_mt50() -> None:
    """Five million transitions take at most 2.0 GiB."""
    answer = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:] = {sys.path!r}\n{_FILL}"],
        capture_output=True,
        text=True,
        check=True,
    )
    transitions, taken, told = map(int, answer.stdout.split())
    print(f"\n{transitions:,} transitions take {taken / 2**30:.3f} GiB; the arrays have {told / 2**30:.3f} GiB")
    assert transitions == 5_000_000
    assert taken < 2 * 2**30
