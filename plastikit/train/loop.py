"""Training from the first step to the last, or on from a checkpoint."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from os import PathLike
from typing import TYPE_CHECKING

import torch

from plastikit.errors import ConfigurationError
from plastikit.train.checkpoint import Checkpoints, last_checkpoint
from plastikit.train.config import TrainingConfig
from plastikit.train.evaluate import Evaluation
from plastikit.train.final_networks import final_networks
from plastikit.train.hold import held
from plastikit.train.memory import keep_freed_memory
from plastikit.train.origin import check_machine, machine_of, origin_of, recorded_settings, resumed_config
from plastikit.train.run import Run
from plastikit.train.sac import SoftActorCritic
from plastikit.train.suites import sizes
from plastikit.train.tasks import require_simulators
from plastikit.train.watching import watched
from plastikit.train.workers import require_sendable

if TYPE_CHECKING:
    from plastikit.watch.look import Probes
    from plastikit.watch.schedule import Schedule


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a run has come."""

    env_steps: int
    """Environment steps taken, over all tasks."""

    total_env_steps: int
    """Environment steps that the run will take, over all tasks."""

    env_steps_per_second: float
    """Speed since the last report, evaluations and checkpoints left out; NaN where nothing was stepped since."""

    success_rate: float | None
    """Mean success rate of the last evaluation, in [0, 1]; None before the first."""

    is_resumed: bool = False
    """Whether this is the first report of a run that was gone on with, made before anything is stepped."""


@dataclass(frozen=True, kw_only=True)
class TrainingSummary:
    """What a finished run came to."""

    env_steps: int
    """Environment steps taken, over all tasks."""

    updates: int
    """Updates made."""

    seconds: float
    """Wall time, start-up and evaluations included; of a run that was resumed, up to its checkpoint and from there."""

    evaluations: tuple[Evaluation, ...]
    """Every evaluation, the last one after the last update."""

    @property
    def success_rate(self) -> float:
        """Mean success rate over the tasks after the last update, in [0, 1]."""
        return self.evaluations[-1].mean_success_rate


def train(
    config: TrainingConfig,
    *,
    store: str | PathLike[str] | None = None,
    probes: Probes = "default",
    schedule: Schedule | None = None,
    checkpoints: str | PathLike[str] | None = None,
    resume: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
) -> TrainingSummary:
    """Train multi-task SAC, watched by plastikit where ``store`` is given.

    The same configuration gives the same run bit for bit, on a CPU with the same number of threads; and so does one
    that was cut off, by SIGKILL or otherwise, and resumed, however often. Compiled updates, which each process compiles
    anew, are the same to rounding. Runs on a GPU have not been compared; on one of another kind random numbers differ.

    When a run is finished its ``checkpoints`` hold the file ``final.pt`` alone: the state dicts of ``actor``,
    ``critic_0``, ``critic_1`` and their targets, ``log_alpha``, ``env_steps`` and ``configuration``, for
    ``torch.load(path, weights_only=True)``, with a GPU or without.

    A step is ordered, the update is made on what the replay holds, and then the step's outcome is added: simulators and
    update work at the same time, and no batch holds the newest transition.

    Args:
        config: every setting of the run.
        store: where the run's record is written; None trains unwatched.
        probes: what the monitor measures on the actor and both critics.
        schedule: at which updates it measures; where none is given every 100, with the costly probes every 1,000.
        checkpoints: the folder for checkpoints, one before the first step and one every
            ``config.checkpoints.interval_seconds``, in at most 5 % of the time; None keeps none.
        resume: whether to go on from the last checkpoint there, with the same settings. ``workers`` and ``checkpoints``
            may be others; ``threads`` may not, and where it is None it is what it was.
        on_progress: called at each log row, the last step's included; where a run is resumed, at once.

    Raises:
        MissingExtraError: what simulates the tasks is not installed.
        ConfigurationError: a setting that cannot be, or a run that is finished, or was of other settings.
        NoCheckpointError: there is no checkpoint to resume from.
        StoreExistsError: another run lies at ``store`` or ``checkpoints``.
        StoreInUseError: another run that is going on writes there.
        SimulatorError: a process that steps environments ended; the error holds its traceback.
        DivergedError: a loss was not finite; the record is kept and marked failed.
    """
    require_simulators(config.task_names)
    keep_freed_memory()
    if resume and checkpoints is None:
        raise ConfigurationError("resume is True, and no folder of checkpoints is given to go on from; give it")
    with held(checkpoints, is_new=not resume):
        after, told = None, config
        if resume and checkpoints is not None:
            after = last_checkpoint(checkpoints)
            config = resumed_config(config, after.state["origin"], is_watched=store is not None)
            told = recorded_settings(config, after.state["origin"])
        with _threads(config.threads):
            observation_size, action_size = sizes(config.task_names)
            require_sendable(config.task_names, config.workers)
            agent = SoftActorCritic(config, observation_size=observation_size, action_size=action_size)
            if after is not None:
                check_machine(after.state["origin"], machine_of(agent.device))
                agent.load_state_dict(after.state["agent"])
            kept = None if checkpoints is None else Checkpoints(checkpoints, config.checkpoints, after=after)
            watching = None if after is None else after.state["watch"]
            with (
                watched(agent, told, store=store, probes=probes, schedule=schedule, resume=watching) as watch,
                closing(Run(config, agent, watch)) as run,
            ):
                report = partial(_report, run, on_progress)
                if after is None:
                    origin = origin_of(config, agent.device, is_watched=store is not None)
                else:
                    origin = after.state["origin"]
                    run.go_on(after)
                    report(math.nan, is_resumed=True)
                run.to_the_end(report=report, checkpoints=kept, origin=origin)
            if kept is not None:
                configuration = origin["configuration"]
                kept.finish(final_networks(agent.state_dict(), env_steps=config.env_steps, configuration=configuration))
            return TrainingSummary(
                env_steps=config.env_steps,
                updates=config.env_steps_per_task - config.sac.warm_up_vector_steps,
                seconds=run.seconds,
                evaluations=tuple(run.evaluations),
            )


def _report(run: Run, on_progress: Callable[[Progress], None] | None, rate: float, *, is_resumed: bool = False) -> None:
    if on_progress is not None:
        progress = Progress(
            env_steps=run.env_step,
            total_env_steps=run.config.env_steps,
            env_steps_per_second=rate,
            success_rate=run.evaluations[-1].mean_success_rate if run.evaluations else None,
            is_resumed=is_resumed,
        )
        on_progress(progress)


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """Let torch compute with ``count`` threads for the length of a run."""
    before = torch.get_num_threads()
    torch.set_num_threads(before if count is None else count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
