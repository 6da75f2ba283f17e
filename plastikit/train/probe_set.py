"""The probe set: states that do not depend on any training, on which all networks are scored alike."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from plastikit.errors import ConfigurationError
from plastikit.train import probe_set_cache
from plastikit.train.config import REWARD_VERSION, TrainingConfig
from plastikit.train.randomness import numpy_generator, seed_sequence
from plastikit.train.scripted import NOISE, acting
from plastikit.train.suites import goal_count, maker, metaworld_task, sizes
from plastikit.train.tasks import resolve_tasks

FloatArray = NDArray[np.float32]

EPISODES: Final = 10
"""Episodes of a task that states are taken from, each with a goal of its own; more where many states are wanted."""

EPISODE_STEPS: Final = 250
"""Steps after which an episode of the probe set ends, by when most scripts have succeeded."""

_WAY_OF_MAKING: Final = 1
"""Goes up with each change to how states are made, so that older ones are made anew."""


@dataclass(frozen=True, eq=False)
class ProbeSet:
    """States and what the scripts did in them, an equal share of each task."""

    tasks: tuple[str, ...]
    seed: int
    observation: Float[FloatArray, "task sample feature"]
    action: Float[FloatArray, "task sample action"]

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the numbers, their shapes and the tasks that they belong to, in hexadecimal."""
        meaning = [list(self.tasks), list(self.observation.shape), list(self.action.shape)]
        digest = hashlib.sha256(json.dumps(meaning).encode())
        for part in (self.observation, self.action):
            digest.update(np.ascontiguousarray(part, dtype="<f4").tobytes())
        return digest.hexdigest()

    def keep(self, folder: Path) -> Path:
        """Leave the states in ``folder``, where they can be looked at; a file of theirs that lies there stays.

        A NumPy archive of ``observation``, ``action`` and ``tasks``, named after the hash.
        """
        path = folder / f"probe-set-{self.hash[:12]}.npz"
        if not path.exists():
            # Several runs of a sweep may begin at once; each brings the whole file.
            partial = path.with_suffix(f".{os.getpid()}.partial")
            with partial.open("wb") as file:
                np.savez(file, observation=self.observation, action=self.action, tasks=np.array(self.tasks))
            partial.replace(path)
        return path

    @property
    def metadata(self) -> dict[str, Any]:
        """Say what a run's store keeps of it: runs of one ``hash`` were scored on the same states."""
        return {
            "probe_states": {
                "hash": self.hash,
                "tasks": list(self.tasks),
                "samples_per_task": self.observation.shape[1],
                "seed": self.seed,
                "noise": NOISE,
                "way_of_making": _WAY_OF_MAKING,
            }
        }


def probe_states(config: TrainingConfig) -> ProbeSet:
    """Give the probe set of a training: made once, then read from the user's cache.

    States are those that Meta-World's scripted policies, with noise on their actions, meet in episodes with several
    goals; where a task has no script, chance acts. A task's states depend on the task, their number and the probe
    set's seed, on nothing of the training and on no other task.

    Cost: about a second a task when they are made.

    Raises:
        ConfigurationError: tasks that are not trained on, or fewer states than tasks.
    """
    settings, tasks = config.probe_set, probe_tasks(config)
    rows = np.stack([task_states(task, settings.seed, settings.samples // len(tasks)) for task in tasks])
    features = rows.shape[-1] - sizes(tasks).action
    return ProbeSet(tasks, settings.seed, rows[..., :features], rows[..., features:])


def probe_tasks(config: TrainingConfig) -> tuple[str, ...]:
    """Name the tasks of a training's probe set.

    Raises:
        UnknownNameError: a name that stands for no task.
        ConfigurationError: tasks that are not trained on, or fewer states than tasks.
    """
    settings = config.probe_set
    tasks = config.task_names if settings.tasks is None else resolve_tasks(settings.tasks, config.task_seed)
    strange = [task for task in tasks if task not in config.task_names]
    if strange:
        raise ConfigurationError(
            f"the probe set has states of {', '.join(strange)}, and the run trains on {', '.join(config.task_names)} "
            "alone, so that its networks have no place for them. Choose probe tasks that every run trains on."
        )
    if settings.samples < len(tasks):
        raise ConfigurationError(
            f"the probe set has {settings.samples} states for {len(tasks)} tasks; each task needs one at least. "
            "Ask for more states, or for states of fewer tasks."
        )
    return tasks


def task_states(task: str, seed: int, count: int) -> Float[FloatArray, "sample number"]:
    """Give the states of one task, each with the action taken in it behind; kept where the task is Meta-World's."""
    if metaworld_task(task) is None:
        # What an environment of the user's does may change from one day to the next.
        return make_states(task, seed, count)
    key = json.dumps(
        {
            "task": task,
            "seed": seed,
            "count": count,
            "way of making": [_WAY_OF_MAKING, EPISODES, EPISODE_STEPS, NOISE, REWARD_VERSION],
            "versions": {name: version(name) for name in ("metaworld", "mujoco", "numpy")},
        }
    )
    states = probe_set_cache.read(key, count)
    if states is None:
        states = make_states(task, seed, count)
        probe_set_cache.write(key, states)
    return states


def make_states(task: str, seed: int, count: int) -> Float[FloatArray, "sample number"]:
    """Play episodes and take states from all of them, spread evenly over their steps with a little chance."""
    generator = numpy_generator(seed, "probe set", task)
    episodes = max(min(count, EPISODES), math.ceil(2 * count / EPISODE_STEPS))
    lived = list(_lived(task, seed, episodes, count, generator))
    # One from each of so many equal stretches of all that was lived, one episode after the other.
    places = (np.arange(count) + generator.random(count)) * len(lived) / count
    return np.stack([lived[place] for place in places.astype(np.int64)])


def _lived(
    task: str, seed: int, episodes: int, least: int, generator: np.random.Generator
) -> Iterator[Float[FloatArray, "number"]]:
    """Observation and action of every step of so many episodes, and of more until there are ``least`` steps."""
    act = acting(task, sizes((task,)).action)
    # Goals of the probe set's own: with those of a run's seed, that run alone would be scored on what it trains with.
    goals_seed = int(seed_sequence(seed, "probe set").generate_state(1)[0])
    steps = episode = 0
    with closing(maker(task, goals_seed)()) as environment:
        while episode < episodes or steps < least:
            observation = environment.reset(episode % goal_count(task))
            for _ in range(EPISODE_STEPS):
                action = act(observation, generator)
                yield np.concatenate((observation, action)).astype(np.float32)
                steps += 1
                outcome = environment.step(action)
                observation = outcome.observation
                if outcome.is_terminated or outcome.is_truncated:
                    break
            episode += 1
