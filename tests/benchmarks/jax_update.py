"""The published update, timed on demand: runs in an environment that has mtrl's dependencies, beside bench_update.py.

Started with the path of a checkout of mtrl. Each line that it reads, ``WIDTH UPDATES``, it answers with the seconds
that so many updates took, of networks of that width; whatever has to be compiled is compiled before.
"""

from __future__ import annotations

import sys
import time
from types import SimpleNamespace
from typing import Any

import numpy as np

TASKS, SAMPLES, OBSERVATION, ACTION = 10, 128, 39, 4


def agent_of(width: int) -> Any:
    """The baseline that the paper scales: multi-head networks, three hidden layers, gradients clipped at 1."""
    from mtrl.config.networks import ContinuousActionPolicyConfig, QValueFunctionConfig
    from mtrl.config.nn import MultiHeadConfig
    from mtrl.config.optim import OptimizerConfig
    from mtrl.rl.algorithms.mtsac import MTSAC, MTSACConfig

    network = MultiHeadConfig(width=width, num_tasks=TASKS, optimizer=OptimizerConfig(max_grad_norm=1.0))
    config = MTSACConfig(
        num_tasks=TASKS,
        actor_config=ContinuousActionPolicyConfig(network_config=network),
        critic_config=QValueFunctionConfig(network_config=network),
    )
    from gymnasium.spaces import Box

    spaces = SimpleNamespace(
        action_space=Box(-1.0, 1.0, (ACTION,), np.float32),
        observation_space=Box(-1.0, 1.0, (OBSERVATION + TASKS,), np.float32),
    )
    return MTSAC.initialize(config, spaces)


def batch() -> Any:
    """Random transitions, the same number of each task, the task's one-hot last."""
    from mtrl.types import ReplayBufferSamples

    random = np.random.default_rng(0)
    one_hot = np.repeat(np.eye(TASKS, dtype=np.float32), SAMPLES, axis=0)

    def normal(size: int) -> np.ndarray[Any, np.dtype[np.float32]]:
        return random.standard_normal((TASKS * SAMPLES, size)).astype(np.float32)

    return ReplayBufferSamples(
        observations=np.concatenate([normal(OBSERVATION), one_hot], axis=1),
        actions=np.tanh(normal(ACTION)),
        next_observations=np.concatenate([normal(OBSERVATION), one_hot], axis=1),
        dones=(normal(1) > 2.0).astype(np.float32),
        rewards=normal(1),
    )


def main() -> None:
    """Answer until the lines end."""
    sys.path.insert(0, sys.argv[1])
    import jax

    answers, sys.stdout = sys.stdout, sys.stderr
    data = batch()
    agents: dict[int, Any] = {}
    print("ready", flush=True, file=answers)
    for line in sys.stdin:
        width, updates = map(int, line.split())
        if width not in agents:
            agents.clear()
            agents[width] = jax.block_until_ready(agent_of(width).update(data)[0])
        agent = agents[width]
        start = time.perf_counter()
        for _ in range(updates):
            agent, logs = agent.update(data)
        jax.block_until_ready((agent, logs))
        print(time.perf_counter() - start, flush=True, file=answers)
        agents[width] = agent


if __name__ == "__main__":
    main()
