"""What each task has lived through lately."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

import plastikit.train.rows
from oracles.transitions import Transitions
from plastikit.train.replay import Batch, Replay, Stretch
from plastikit.train.workers import VectorStep

TASKS, FEATURES, ACTIONS = 3, 5, 2
GIBIBYTE = 2**30


class Life:
    """Random episodes of random lengths in every task, told to a replay and to an oracle alike."""

    def __init__(self, *, capacity: int, seed: int = 0, end_rate: float = 0.1) -> None:
        self.draws = np.random.default_rng(seed)
        self.end_rate = end_rate
        self.replay = empty(capacity=capacity, seed=seed)
        self.oracle = Transitions(TASKS, capacity)
        self.observation = self._observe()

    def live(self, steps: int) -> None:
        """Take steps; episodes terminate or are truncated, some after one step."""
        for _ in range(steps):
            action = self.draws.uniform(-1.0, 1.0, (TASKS, ACTIONS)).astype(np.float32)
            reward = self.draws.normal(size=TASKS).astype(np.float32)
            terminated, truncated = (self.draws.random(TASKS) < self.end_rate / 2 for _ in range(2))
            following = self._observe()
            first = np.where((terminated | truncated)[:, None], self._observe(), following)
            outcome = VectorStep(first, following, reward, terminated, truncated, np.zeros(TASKS, dtype=np.bool_))
            self.replay.add(self.observation, action, outcome)
            self.oracle.add(self.observation, action, reward, terminated, following)
            self.observation = first

    def _observe(self) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        return self.draws.normal(size=(TASKS, FEATURES)).astype(np.float32)


def empty(*, capacity: int, seed: int = 0) -> Replay:
    """A replay of three tasks."""
    return Replay(
        task_count=TASKS,
        observation_size=FEATURES,
        action_size=ACTIONS,
        capacity=capacity,
        generator=np.random.default_rng(seed),
    )


def assert_true(batch: Batch, oracle: Transitions) -> set[tuple[int, bytes]]:
    """Every sample is a transition that the oracle holds for its task; gives which."""
    seen = set()
    for task in range(TASKS):
        for sample in range(batch.reward.shape[1]):
            observation, action, reward, terminated, following = (part[task, sample].numpy() for part in batch)
            known = oracle.find(task, observation)
            np.testing.assert_array_equal(action, known[1])
            assert (float(reward), bool(terminated)) == (known[2], known[3])
            np.testing.assert_array_equal(following, known[4])
            seen.add((task, observation.tobytes()))
    return seen


@pytest.mark.parametrize("end_rate", [0.0, 0.1, 0.9, 2.0])
def test_whatever_is_drawn_was_lived_through(end_rate: float) -> None:
    """Over thousands of steps and many rounds of the ring, with no end, some, most and nothing but ends."""
    life = Life(capacity=37, end_rate=end_rate)
    for round_length in (1, 1, 5, 29, 1, 1, 1, 36, 37, 38, 39, 500, 1, 400):
        life.live(round_length)
        assert life.replay.size == len(life.oracle.tasks[0])
        assert_true(life.replay.sample(64), life.oracle)


@pytest.mark.parametrize("steps", [1, 2, 7, 8, 9, 100])
def test_everything_held_can_be_drawn(steps: int) -> None:
    """The newest transition and the oldest are among what is drawn, full or not."""
    life = Life(capacity=8)
    life.live(steps)
    seen = assert_true(life.replay.sample(200), life.oracle)
    assert seen == {(task, each[0].tobytes()) for task in range(TASKS) for each in life.oracle.tasks[task]}


def test_a_replay_of_one_transition_goes_round() -> None:
    """The smallest capacity there is."""
    life = Life(capacity=1, end_rate=0.5)
    for _ in range(20):
        life.live(1)
        assert len(assert_true(life.replay.sample(3), life.oracle)) == TASKS


def test_draws_are_uniform_and_differ_between_tasks() -> None:
    """Each task has draws of its own, spread evenly over what a full ring holds."""
    life = Life(capacity=5)
    life.live(13)
    batch = life.replay.sample(10_000)
    shares = []
    for task in range(TASKS):
        marks = torch.stack([torch.as_tensor(each[0]) for each in life.oracle.tasks[task]])
        shares.append((batch.observation[task, :, None] == marks).all(-1).float())
        assert shares[-1].mean(0).tolist() == pytest.approx([0.2] * 5, abs=0.02)
    assert not torch.equal(shares[0], shares[1])


def test_the_same_generator_gives_the_same_batches() -> None:
    """Batches depend on the generator alone."""
    one, same, other = Life(capacity=9), Life(capacity=9), Life(capacity=9)
    for life in (one, same, other):
        life.live(20)
    other.replay.generator.bit_generator.state = np.random.default_rng(1).bit_generator.state
    first, again, differing = (life.replay.sample(9) for life in (one, same, other))
    assert all(map(torch.equal, first, again))
    assert not torch.equal(first.reward, differing.reward)


@pytest.mark.parametrize("steps", [0, 3, 20, 21, 22, 23, 95])
@pytest.mark.parametrize("longest", [1, 7, 1_000])
@pytest.mark.parametrize("end_rate", [0.2, 2.0])
def test_a_replay_is_written_down_and_read_back(steps: int, longest: int, end_rate: float) -> None:
    """Read back from stretches and lived on with, it gives the batches that the first one gives."""
    life, capacity = Life(capacity=21, end_rate=end_rate), 21
    life.live(steps)
    back = empty(capacity=capacity)
    back.restore(list(life.replay.stretches(0, longest)))
    assert (back.added, back.size) == (life.replay.added if steps else 0, life.replay.size)
    again = Life(capacity=capacity, end_rate=end_rate)
    again.live(steps)
    again.replay = back
    for further in (1, 1, 30, 2):
        life.live(further)
        again.live(further)
        assert all(map(torch.equal, life.replay.sample(50), again.replay.sample(50)))


def test_stretches_join_whoever_reads_them() -> None:
    """Written down piece by piece on the way, more than the ring holds, they give the ring as it stands."""
    life = Life(capacity=21)
    stretches: list[Stretch] = []
    for steps in (4, 30, 1, 17, 50):
        stretches += life.replay.stretches(life.replay.added, 10)
        before = life.replay.added
        life.live(steps)
        stretches += life.replay.stretches(before, 10)
    assert stretches[-1].end == life.replay.added == 102
    wanted = [stretch for stretch in stretches if stretch.end > life.replay.added - 21]
    back = empty(capacity=21)
    back.restore(wanted)
    assert all(map(torch.equal, life.replay.sample(100), back.sample(100)))
    longer = empty(capacity=10)
    longer.restore(stretches[-6:])
    life.oracle.tasks = [type(each)(list(each)[-10:]) for each in life.oracle.tasks]
    assert_true(longer.sample(100), life.oracle)


_FILLING = """
from pathlib import Path
import numpy as np
from plastikit.train.replay import Replay
from plastikit.train.workers import VectorStep

def taken():
    total, of_files = map(int, Path("/proc/self/statm").read_text(encoding="ascii").split()[1:3])
    return (total - of_files) * 4096

def of_metaworld(task_count):
    generator = np.random.default_rng(0)
    return Replay(
        task_count=task_count, observation_size=39, action_size=4, capacity=100_000, generator=generator
    )

numbers, never = np.ones((4, 39), dtype=np.float32), np.zeros(4, dtype=np.bool_)
outcome = VectorStep(numbers, numbers, np.ones(4, dtype=np.float32), never, never, never)

def fill(replay):
    for _ in range(45_000):
        replay.add(numbers, numbers[:, :4], outcome)

warm = of_metaworld(4)
fill(warm)
before = taken()
replay, full = of_metaworld(4), of_metaworld(50)
print(replay.nbytes * 45_000 // replay.capacity, full.nbytes, taken() - before)
for _ in range(2):
    fill(replay)
    print(taken() - before)
"""


def test_memory_grows_as_it_fills() -> None:
    """A ring takes what it holds, to the page; five million transitions of MT50 will take less than 1 GiB.

    In a process of its own, as this one may have memory left that was used before; and after another ring, so that
    what the libraries take at their first use is not counted, nor are the files that they are.
    """
    answer = subprocess.run([sys.executable, "-c", _FILLING], capture_output=True, text=True, check=True)
    part, full, at_start, *taken = map(int, answer.stdout.split())
    assert at_start < 0.5 * part
    assert taken == pytest.approx([part, 2 * part], rel=0.5)
    assert full < 0.9 * GIBIBYTE


def test_a_device_is_given_the_same_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a GPU runs gathers the same rows; here it runs on the CPU."""
    life = Life(capacity=37)
    life.live(90)
    state = life.replay.generator.bit_generator.state
    batch = life.replay.sample(64)
    life.replay.generator.bit_generator.state = state
    monkeypatch.setattr(plastikit.train.rows, "is_host", lambda _: False)
    assert all(map(torch.equal, batch, life.replay.sample(64)))
