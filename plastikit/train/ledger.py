"""What happened between two log rows: losses kept as tensors until they are read, and finished episodes."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from plastikit.errors import DivergedError
from plastikit.train.sac import Losses
from plastikit.train.workers import VectorStep


class LossLedger:
    """Losses since the last row."""

    def __init__(self) -> None:
        self._env_steps: list[int] = []
        self._losses: list[Tensor] = []
        self._earlier = torch.empty((0, len(Losses._fields)))
        """Those that a checkpoint kept; the first of ``_env_steps`` are theirs."""

    def add(self, env_step: int, losses: Losses) -> None:
        """Keep the losses of one update, unread."""
        self._env_steps.append(env_step)
        self._losses.append(torch.stack(losses))

    def settle(self) -> dict[str, float]:
        """Read all that was kept and give each loss's mean; NaN where no update was made.

        Raises:
            DivergedError: one of them is not finite; it names the first.
        """
        losses, env_steps = self._all().numpy(), self._env_steps
        self._env_steps, self._losses, self._earlier = [], [], self._earlier[:0]
        if not len(losses):
            return {f"{name}_loss": math.nan for name in Losses._fields}
        bad = np.argwhere(~np.isfinite(losses))
        if bad.size:
            row, column = bad[0]
            raise DivergedError(
                f"the {Losses._fields[column]} loss was {losses[row, column]} at environment step {env_steps[row]:,}; "
                "a finite number was expected. Lower learning_rate or gradient_clip_norm and start again; "
                "all that was recorded so far is kept."
            )
        return {f"{name}_loss": float(mean) for name, mean in zip(Losses._fields, losses.mean(axis=0), strict=True)}

    def state_dict(self) -> dict[str, Any]:
        """Give what was kept since the last row."""
        return {"env_steps": list(self._env_steps), "losses": self._all()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what ``state_dict`` gave."""
        self._env_steps, self._losses, self._earlier = list(state["env_steps"]), [], state["losses"]

    def _all(self) -> Float[Tensor, "update loss"]:
        return torch.cat((self._earlier, torch.stack(self._losses).cpu())) if self._losses else self._earlier


class EpisodeLedger:
    """Returns of the training episodes that ended since the last row."""

    def __init__(self, task_count: int) -> None:
        self._running = np.zeros(task_count)
        self._finished: list[float] = []

    def add(self, outcome: VectorStep) -> None:
        """Count one vector step's rewards."""
        self._running += outcome.reward
        ended = outcome.is_ended
        if ended.any():
            self._finished.extend(self._running[ended].tolist())
            self._running[ended] = 0.0

    def settle(self) -> float:
        """Give the mean return over all tasks' finished episodes; NaN where none finished."""
        finished, self._finished = self._finished, []
        return float(np.mean(finished)) if finished else math.nan

    def state_dict(self) -> dict[str, Any]:
        """Give the returns of the episodes in progress, and of those that ended since the last row."""
        return {"running": self._running.tolist(), "finished": list(self._finished)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what ``state_dict`` gave."""
        self._running, self._finished = np.array(state["running"]), list(state["finished"])


class Stopwatch:
    """Seconds of training since the last row, evaluations and checkpoints left out."""

    def __init__(self, env_step: int = 0) -> None:
        self._started = time.perf_counter()
        self._env_step = env_step

    def rate(self, env_step: int) -> float:
        """Give the environment steps per second since the last row, and begin the next."""
        now = time.perf_counter()
        rate = (env_step - self._env_step) / max(now - self._started, 1e-9)
        self._started, self._env_step = now, env_step
        return rate

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave what happens inside out of the row."""
        paused = time.perf_counter()
        yield
        self._started += time.perf_counter() - paused
