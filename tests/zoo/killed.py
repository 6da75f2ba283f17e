"""Trainings in processes of their own, which a SIGKILL ends at any instant."""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from plastikit.train.checkpoint import FINAL, checkpoints_of, has_checkpoint
from plastikit.train.config import TrainingConfig
from plastikit.train.loop import Progress, train
from plastikit.watch.schedule import Schedule


@dataclass(frozen=True, kw_only=True)
class Training:
    """A run with its record and its checkpoints, and how often it is looked at."""

    config: TrainingConfig
    store: Path
    schedule: Schedule

    def carry_on(
        self,
        *,
        at_file: tuple[str, int] | None = None,
        at_env_step: int | None = None,
        after_seconds: float | None = None,
    ) -> bool:
        """Begin it, or go on with it where there is a checkpoint, until it is killed; says whether it ended by itself.

        Args:
            at_file: It kills itself before it opens, renames or removes for the so manieth time a file of its
                checkpoints whose name holds this.
            at_env_step: It kills itself when it reports that many environment steps.
            after_seconds: It is killed from without.
        """
        context = get_context("forkserver")
        context.set_forkserver_preload(["zoo.killed", "plastikit.watch.attach", "plastikit.train.probe_set"])
        resume = has_checkpoint(checkpoints_of(self.store))
        process = context.Process(target=_train, args=(self, resume, at_file, at_env_step))
        process.start()
        process.join(after_seconds)
        process.kill()
        process.join()
        assert process.exitcode in {0, -signal.SIGKILL}
        # It may have ended in the instant in which it was killed.
        return process.exitcode == 0 or (checkpoints_of(self.store) / FINAL).exists()


def _train(training: Training, resume: bool, at_file: tuple[str, int] | None, at_env_step: int | None) -> None:
    folder = checkpoints_of(training.store)
    name, left = at_file or ("", -1)

    def count(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal left
        if event in {"open", "os.rename", "os.remove"} and _is_in(folder, name, str(arguments[0])):
            left -= 1
            if left == 0:
                _die()

    def tell(progress: Progress) -> None:
        if at_env_step is not None and progress.env_steps >= at_env_step:
            _die()

    sys.addaudithook(count)
    train(
        training.config,
        store=training.store,
        schedule=training.schedule,
        checkpoints=folder,
        resume=resume,
        on_progress=tell,
    )


def _is_in(folder: Path, name: str, path: str) -> bool:
    return path.startswith(str(folder)) and name in path.removeprefix(str(folder))


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
