"""The published training, a slice on demand: runs in an environment that has mtrl's dependencies.

Started by bench_training.py with the path of a checkout of mtrl, the width, the vector steps of a slice and the
episodes of an evaluation. The training loop is mtrl's own; its environments count the steps. For each line that it
reads it trains for a slice and answers with the seconds; for the line ``evaluate`` with those of an evaluation.
"""

from __future__ import annotations

import sys
import time
from typing import Any, TextIO

WARM_UP = 200
"""Vector steps of random actions."""


class Enough(Exception):  # noqa: N818  it is no error
    """Ends the training."""


class Counted:
    """Vectorised environments that stop the training after every slice, until a line allows the next."""

    def __init__(self, envs: Any, slice_steps: int, answers: TextIO) -> None:
        self._envs = envs
        self._slice_steps = slice_steps
        self._answers = answers
        self._left = WARM_UP + 100
        self._started = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._envs, name)

    def step(self, actions: Any) -> Any:
        if self._left == 0:
            print(time.perf_counter() - self._started, flush=True, file=self._answers)
            if sys.stdin.readline().strip() == "evaluate":
                raise Enough
            self._left, self._started = self._slice_steps, time.perf_counter()
        self._left -= 1
        return self._envs.step(actions)


def main() -> None:
    """Train, and evaluate once at the end."""
    checkout, width, slice_steps, episodes = sys.argv[1], *map(int, sys.argv[2:5])
    sys.path.insert(0, checkout)
    from mtrl.config.networks import ContinuousActionPolicyConfig, QValueFunctionConfig
    from mtrl.config.nn import MultiHeadConfig
    from mtrl.config.optim import OptimizerConfig
    from mtrl.config.rl import OffPolicyTrainingConfig
    from mtrl.envs.metaworld import MetaworldConfig
    from mtrl.rl.algorithms.mtsac import MTSAC, MTSACConfig

    answers, sys.stdout = sys.stdout, sys.stderr
    tasks = 10
    network = MultiHeadConfig(width=width, num_tasks=tasks, optimizer=OptimizerConfig(max_grad_norm=1.0))
    config = MTSACConfig(
        num_tasks=tasks,
        actor_config=ContinuousActionPolicyConfig(network_config=network),
        critic_config=QValueFunctionConfig(network_config=network),
    )
    environment = MetaworldConfig(env_id="MT10", terminate_on_success=False, num_eval_episodes=episodes)
    envs = environment.spawn(seed=1)
    agent = MTSAC.initialize(config, environment)
    settings = OffPolicyTrainingConfig(
        total_steps=10**9,
        buffer_size=tasks * 100_000,
        batch_size=tasks * 128,
        warmstart_steps=WARM_UP,
        evaluation_frequency=0,
    )
    try:
        agent.train(settings, Counted(envs, slice_steps, answers), environment, "", track=False)
    except Enough:
        start = time.perf_counter()
        environment.evaluate(envs, agent)
        print(time.perf_counter() - start, flush=True, file=answers)
    envs.close()


if __name__ == "__main__":
    main()
