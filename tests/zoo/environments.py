"""Environments that cost nothing, and some that come to a bad end."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import time
from functools import partial

import numpy as np

from plastikit.train.crew import Crew
from plastikit.train.environment import TaskStep

SIZE = 3


class Counting:
    """Counts its steps and ends after ``length`` of them; the reward is the number of the process."""

    def __init__(self, length: int = 4) -> None:
        self.length = length
        self.goal = self.steps = -1

    def reset(self, goal: int) -> np.ndarray:
        """Begin to count."""
        self.goal, self.steps = goal, 0
        return self._observation(0.0)

    def step(self, action: np.ndarray) -> TaskStep:
        """Count."""
        self.steps += 1
        is_truncated = self.steps >= self.length
        return TaskStep(
            self._observation(action[0]),
            float(os.getpid()),
            is_terminated=False,
            is_truncated=is_truncated,
            is_success=self.steps == 2,
        )

    def close(self) -> None:
        """Nothing is held."""

    def _observation(self, action: float) -> np.ndarray:
        return np.array([self.goal, self.steps, action], dtype=np.float64)


class Raising(Counting):
    """Raises at its second step."""

    def step(self, action: np.ndarray) -> TaskStep:
        """Count to one."""
        if self.steps == 1:
            raise ZeroDivisionError("the hand went through the table")
        return super().step(action)


class Killed(Counting):
    """Its process is ended by SIGKILL, as a machine out of memory does."""

    def step(self, action: np.ndarray) -> TaskStep:
        """End the process."""
        os.kill(os.getpid(), signal.SIGKILL)
        return super().step(action)


class Crashing(Counting):
    """Reads where there is no memory, as a simulator written in C may."""

    def step(self, action: np.ndarray) -> TaskStep:
        """Crash."""
        ctypes.string_at(0)
        return super().step(action)


class Unmakeable(Counting):
    """Cannot be made."""

    def __init__(self) -> None:
        raise FileNotFoundError("no model of the arm")


class Slow(Counting):
    """Takes half a second for a step, without work."""

    def step(self, action: np.ndarray) -> TaskStep:
        """Sleep."""
        time.sleep(0.5)
        return super().step(action)


class Loaded(Counting):
    """The reward says whether torch is loaded."""

    def step(self, action: np.ndarray) -> TaskStep:
        """Look."""
        return super().step(action)._replace(reward=float("torch" in sys.modules))


def crew(*kinds: type[Counting], workers: int = 2, length: int = 4) -> Crew:
    """A crew over the kinds, dealt out in turn; all are asked."""
    rows = range(len(kinds))
    made = Crew(
        [partial(kind, length) if kind is Counting else kind for kind in kinds],
        [kind.__name__ for kind in kinds],
        [[row for row in rows if row % workers == worker] for worker in range(workers)],
        ends_at_success=frozenset(),
        observation_size=SIZE,
        action_size=1,
    )
    made.board.is_asked[:] = True
    return made


def step_and_tell(answers: multiprocessing.SimpleQueue[list[float]]) -> None:
    """Step a crew of two and send which processes stepped."""
    made = crew(Counting, Counting)
    made.begin()
    made.step()
    answers.put(made.board.reward.tolist())
    made.close()


def step_until_ended(*, forks: bool = False) -> None:
    """Print which processes step, then step until this one is ended; SIGINT closes the crew.

    With ``forks``, a forked process goes on for a minute with all that this one had open; its number is printed too.
    """
    made = crew(Counting, Counting)
    try:
        made.begin()
        made.step()
        forked = os.fork() if forks else None
        if forked == 0:
            time.sleep(60.0)
            os._exit(0)
        print(*map(int, made.board.reward), *([forked] if forked else []), flush=True)
        while True:
            made.step()
    finally:
        made.close()
