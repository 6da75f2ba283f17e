"""What each task has lived through lately."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from plastikit.train.replay import Replay
from plastikit.train.workers import VectorStep


def filled(steps: int, *, capacity: int = 5, seed: int = 0) -> Replay:
    """Two tasks; step i of task k carries the number 100 k + i in every field."""
    replay = Replay(
        task_count=2, observation_size=3, action_size=2, capacity=capacity, generator=np.random.default_rng(seed)
    )
    for step in range(steps):
        mark = np.array([step, 100 + step], dtype=np.float32)
        outcome = VectorStep(
            observation=np.full((2, 3), -1.0, dtype=np.float32),
            next_observation=np.repeat(mark[:, None] + 0.5, 3, axis=1),
            reward=mark + 0.25,
            is_terminated=mark % 2 == 1,
            is_truncated=np.ones(2, dtype=np.bool_),
            is_success=np.zeros(2, dtype=np.bool_),
        )
        replay.add(np.repeat(mark[:, None], 3, axis=1), np.repeat(mark[:, None] + 0.75, 2, axis=1), outcome)
    return replay


def test_a_batch_holds_whole_transitions_of_each_task() -> None:
    """Fields of one sample come from one step of one task, and the tasks stay apart."""
    batch = filled(4).sample(50)
    mark = batch.observation[:, :, 0]
    assert set(mark[0].tolist()) == {0.0, 1.0, 2.0, 3.0}
    assert set(mark[1].tolist()) == {100.0, 101.0, 102.0, 103.0}
    assert torch.equal(batch.action, (mark + 0.75).unsqueeze(-1).expand(2, 50, 2))
    assert torch.equal(batch.reward, mark + 0.25)
    assert torch.equal(batch.next_observation, (mark + 0.5).unsqueeze(-1).expand(2, 50, 3))


def test_only_termination_ends_a_value() -> None:
    """Truncation, which every step here carries, is not stored as an end."""
    batch = filled(4).sample(50)
    assert torch.equal(batch.terminated, batch.observation[:, :, 0] % 2)


def test_the_oldest_make_room() -> None:
    """A full ring holds the last transitions."""
    replay = filled(8)
    assert replay.size == 5
    assert set(replay.sample(200).observation[0, :, 0].tolist()) == {3.0, 4.0, 5.0, 6.0, 7.0}


def test_draws_are_uniform_and_differ_between_tasks() -> None:
    """Each task has draws of its own, spread evenly."""
    mark = filled(5).sample(10_000).observation[:, :, 0]
    counts = torch.stack([(mark[0] == value).sum() for value in range(5)])
    assert counts.float().div(10_000).tolist() == pytest.approx([0.2] * 5, abs=0.02)
    assert not torch.equal(mark[0], mark[1] - 100)


def test_the_same_generator_gives_the_same_batches() -> None:
    """Batches depend on the generator alone."""
    assert torch.equal(filled(5, seed=3).sample(9).reward, filled(5, seed=3).sample(9).reward)
    assert not torch.equal(filled(5, seed=3).sample(9).reward, filled(5, seed=4).sample(9).reward)
