"""What a checkpoint costs with MT10's networks and a full replay of a million transitions, synthetic."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import numpy as np
import torch

from plastikit.train.checkpoint import Checkpoints, last_checkpoint
from plastikit.train.config import CheckpointConfig, TrainingConfig
from plastikit.train.replay import Replay
from plastikit.train.sac import SoftActorCritic
from plastikit.train.workers import VectorStep

FEATURES, ACTIONS = 39, 4
STEPS_PER_SECOND = 20
"""Vector steps that MT10 makes in a second at width 400, on more cores than two; more of them make it dearer."""


def test_cost_of_a_checkpoint(tmp_path: Path) -> None:
    """At most 5 % of the time between two, and no transition written twice."""
    config = TrainingConfig(tasks="MT10")
    agent = SoftActorCritic(config, observation_size=FEATURES, action_size=ACTIONS)
    replay = _empty(config)
    _live(replay, replay.capacity)
    agent.update(replay.sample(config.sac.batch_size_per_task))
    interval = config.checkpoints.interval_seconds
    between = round(STEPS_PER_SECOND * interval)
    checkpoints = Checkpoints(tmp_path, CheckpointConfig(interval_seconds=0.0))
    print(
        f"\nthe first, with {replay.size * config.task_count:,} transitions: {_write(checkpoints, agent, replay):.2f} s"
    )
    times, sizes = [], []
    for _ in range(5):
        _live(replay, between)
        before = {path.name for path in tmp_path.iterdir()}
        times.append(_write(checkpoints, agent, replay))
        sizes.append(sum(path.stat().st_size for path in tmp_path.iterdir() if path.name not in before))
    median = statistics.median(times)
    print(
        f"one after {between:,} vector steps: {median:.3f} s (longest of 5: {max(times):.3f} s), "
        f"{statistics.median(sizes) / 1e6:.1f} MB written; {median / interval:.3%} of {interval:.0f} s"
    )
    started = time.perf_counter()
    back = _empty(config)
    back.restore(last_checkpoint(tmp_path).stretches())
    on_disk = sum(path.stat().st_size for path in tmp_path.iterdir())
    print(f"read back in {time.perf_counter() - started:.2f} s; {on_disk / 1e6:.0f} MB on disk")
    assert _draws_alike(replay, back)
    assert median <= 0.05 * interval
    assert max(sizes) < 0.25 * replay.nbytes


def _draws_alike(replay: Replay, back: Replay) -> bool:
    back.generator.bit_generator.state = replay.generator.bit_generator.state
    return all(map(torch.equal, replay.sample(128), back.sample(128)))


def _write(checkpoints: Checkpoints, agent: SoftActorCritic, replay: Replay) -> float:
    started = time.perf_counter()
    checkpoints.write(replay.added, {"agent": agent.state_dict()}, replay)
    return time.perf_counter() - started


def _empty(config: TrainingConfig) -> Replay:
    return Replay(
        task_count=config.task_count,
        observation_size=FEATURES,
        action_size=ACTIONS,
        capacity=config.sac.replay_capacity_per_task,
        generator=np.random.default_rng(0),
    )


def _live(replay: Replay, steps: int) -> None:
    draws = np.random.default_rng(replay.added)
    numbers = draws.normal(size=(2, 10, FEATURES)).astype(np.float32)
    action, reward = draws.normal(size=(10, ACTIONS)).astype(np.float32), np.ones(10, dtype=np.float32)
    never = np.zeros(10, dtype=np.bool_)
    for step in range(steps):
        numbers += 0.01
        is_ended = np.full(10, step % 500 == 499)
        replay.add(numbers[0], action, VectorStep(numbers[1], numbers[1], reward, never, is_ended, never))
