"""What a checkpoint costs with MT10's networks and a full replay of a million transitions, synthetic.

Run it with ``python tests/benchmarks/bench_checkpoint.py``.
"""

from __future__ import annotations

import statistics
import tempfile
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


def main() -> None:
    """Fill a replay, train a little, write checkpoints, read the last one back; one line for each."""
    config = TrainingConfig(tasks="MT10")
    agent = SoftActorCritic(config, observation_size=FEATURES, action_size=ACTIONS)
    replay = _empty(config)
    _live(replay, replay.capacity)
    agent.update(replay.sample(config.sac.batch_size_per_task))
    between = round(STEPS_PER_SECOND * config.checkpoints.interval_seconds)
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        place = Path(folder)
        checkpoints = Checkpoints(place, CheckpointConfig(interval_seconds=0.0))
        first = _write(checkpoints, agent, replay)
        print(f"the first, with {replay.size * config.task_count:,} transitions: {first:.2f} s, {_megabytes(place)} MB")
        seconds, written = [], []
        for _ in range(5):
            _live(replay, between)
            before = {path.name for path in place.iterdir()}
            seconds.append(_write(checkpoints, agent, replay))
            written.append(sum(path.stat().st_size for path in place.iterdir() if path.name not in before))
        median, interval = statistics.median(seconds), config.checkpoints.interval_seconds
        print(
            f"one after {between:,} vector steps: {median:.3f} s (median of 5, longest {max(seconds):.3f} s), "
            f"{statistics.median(written) / 1e6:.1f} MB written; {median / interval:.3%} of {interval:.0f} s"
        )
        started = time.perf_counter()
        found = last_checkpoint(place)
        back = _empty(config)
        back.restore(found.stretches())
        print(f"read back in {time.perf_counter() - started:.2f} s; on disk {_megabytes(place)} MB")
        print("the replay draws the same:", _draws_alike(replay, back))


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


def _megabytes(place: Path) -> int:
    return round(sum(path.stat().st_size for path in place.iterdir()) / 1e6)


if __name__ == "__main__":
    main()
