"""The goals of a task: drawn once per seed, as Meta-World draws them, and kept for later runs."""

from __future__ import annotations

import pickle
from functools import lru_cache, partial
from importlib.metadata import version
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from plastikit.train import goal_cache
from plastikit.train.config import GOALS_PER_TASK
from plastikit.train.randomness import numpy_generator
from plastikit.train.simulator import simulator

if TYPE_CHECKING:
    from metaworld.types import Task

FloatArray = NDArray[np.float64]


@lru_cache(maxsize=256)
def goal_vectors(task: str, seed: int) -> Float[FloatArray, "goal number"]:
    """Give the numbers that make up each of the 50 goals of a task: positions of objects and of targets.

    Cost: a file's reading where the user's cache has them, else the time to draw them.
    """
    key = (version("metaworld"), task, seed)
    vectors = goal_cache.read(key)
    if vectors is None:
        vectors = draw(task, seed)
        goal_cache.write(key, vectors)
    return vectors


@lru_cache(maxsize=256)
def goals(task: str, seed: int) -> tuple[Task, ...]:
    """Give the 50 goals of a task, the same for a task and seed whatever else is trained or was drawn before."""
    from metaworld.env_dict import ALL_V3_ENVIRONMENTS
    from metaworld.types import Task

    vectors = goal_vectors(task, seed)
    kind = ALL_V3_ENVIRONMENTS[task]
    # The goal is a part of the observation.
    shared = {"env_cls": kind, "partially_observable": False}
    return tuple(Task(env_name=task, data=pickle.dumps({"rand_vec": vector.copy(), **shared})) for vector in vectors)


def along_widest(
    vectors: Float[FloatArray, "goal number"], box: tuple[Float[FloatArray, "number"], Float[FloatArray, "number"]]
) -> list[int]:
    """Order goals along the coordinate that their box is widest in, the first of equally wide ones.

    The box decides and not the goals that were drawn, so that the coordinate is the same under every seed.

    >>> along_widest(np.array([[0.0, 2.0], [1.0, 0.0], [0.5, 1.0]]), (np.zeros(2), np.array([1.0, 2.0])))
    [1, 2, 0]
    """
    widths = np.round(box[1] - box[0], 6)
    return [int(number) for number in np.argsort(vectors[:, int(widths.argmax())], kind="stable")]


def draw(task: str, seed: int, *, moves_hand: bool = False) -> Float[FloatArray, "goal number"]:
    """Draw the goals of a task.

    A reset of Meta-World first moves the hand to its place, in 50 steps of the simulator. No goal of a task depends on
    where the hand is, so it is moved by one step only unless ``moves_hand``; the goals are the same bit for bit.

    Cost: the building of one simulator and 0.05 s; with ``moves_hand``, 1 s.
    """
    environment = simulator(task)
    environment.np_random = numpy_generator(seed, "goals", task)
    environment.seeded_rand_vec = True  # draw from the environment's own generator, not from NumPy's global one
    # Meta-World's own benchmarks draw their goals through these; there is no public way.
    environment._freeze_rand_vec = False  # noqa: SLF001
    environment._set_task_called = True  # noqa: SLF001
    if not moves_hand:
        environment._reset_hand = partial(environment._reset_hand, steps=1)  # type: ignore[method-assign]  # noqa: SLF001
    drawn = []
    for _ in range(GOALS_PER_TASK):
        environment.reset()
        drawn.append(environment._last_rand_vec)  # noqa: SLF001
    environment.close()
    return np.stack([vector for vector in drawn if vector is not None])
