"""Training from the first step to the last: act, remember, learn, and now and then report and be judged."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray

from plastikit.errors import DivergedError
from plastikit.train.config import TrainingConfig
from plastikit.train.environment import ACTION_SIZE, OBSERVATION_SIZE
from plastikit.train.evaluate import Evaluation, Evaluator
from plastikit.train.ledger import EpisodeLedger, LossLedger, Stopwatch
from plastikit.train.randomness import numpy_generator
from plastikit.train.replay import Replay
from plastikit.train.sac import SoftActorCritic
from plastikit.train.tasks import require_metaworld
from plastikit.train.workers import Simulators, TaskEnvironments

if TYPE_CHECKING:
    from plastikit.watch.look import Probes
    from plastikit.watch.monitor import Monitor
    from plastikit.watch.schedule import Schedule

FloatArray = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a run has come."""

    env_steps: int
    """Environment steps taken, over all tasks."""

    total_env_steps: int
    """Environment steps that the run will take, over all tasks."""

    env_steps_per_second: float
    """Speed since the last report, evaluations left out."""

    success_rate: float | None
    """Mean success rate of the last evaluation, in [0, 1]; None before the first."""


@dataclass(frozen=True, kw_only=True)
class TrainingSummary:
    """What a finished run came to."""

    env_steps: int
    """Environment steps taken, over all tasks."""

    updates: int
    """Updates made."""

    seconds: float
    """Wall time, start-up and evaluations included."""

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
    on_progress: Callable[[Progress], None] | None = None,
) -> TrainingSummary:
    """Train multi-task SAC on Meta-World, watched by plastikit where ``store`` is given.

    The same configuration gives the same run bit for bit, on a CPU with the same number of threads.

    Args:
        config: every setting of the run.
        store: where the run's record is written; None trains unwatched.
        probes: what the monitor measures on the actor and both critics.
        schedule: at which updates it measures; every 100 where none is given, with the costly probes every 500.
        on_progress: called at each log row, the last step's included.

    Raises:
        MissingExtraError: Meta-World is not installed.
        SimulatorError: a process that steps environments ended; the error holds its traceback.
        DivergedError: a loss was not finite; the record is kept and marked failed.
    """
    require_metaworld()
    with _threads(config.threads):
        agent = SoftActorCritic(config, observation_size=OBSERVATION_SIZE, action_size=ACTION_SIZE)
        with _watched(agent, config, store, probes, schedule) as monitor, closing(_Run(config, agent, monitor)) as run:
            return run.to_the_end(on_progress)


class _Run:
    """Everything that a run holds besides the agent."""

    def __init__(self, config: TrainingConfig, agent: SoftActorCritic, monitor: Monitor | None) -> None:
        self.config = config
        self.agent = agent
        self.monitor = monitor
        self.started = time.perf_counter()
        self.simulators = Simulators(config.task_names, config.seed, config.workers)
        self.environments = TaskEnvironments(self.simulators, config.seed)
        self.evaluator = Evaluator(self.simulators, config.evaluation.episodes_per_task)
        self.replay = Replay(
            task_count=config.task_count,
            observation_size=OBSERVATION_SIZE,
            action_size=ACTION_SIZE,
            capacity=min(config.sac.replay_capacity_per_task, config.env_steps_per_task),
            generator=numpy_generator(config.seed, "batches"),
        )
        self.warm_up = numpy_generator(config.seed, "warm-up")
        self.losses = LossLedger()
        self.episodes = EpisodeLedger(config.task_count)
        self.evaluations: list[Evaluation] = []
        self.stopwatch = Stopwatch()

    def to_the_end(self, on_progress: Callable[[Progress], None] | None) -> TrainingSummary:
        config = self.config
        warm_up, last = config.sac.warm_up_vector_steps, config.env_steps_per_task
        observation = self.environments.reset()
        for vector_step in range(1, last + 1):
            env_step = vector_step * config.task_count
            is_learning = vector_step > warm_up

            action = self._explore(observation) if is_learning else self._wander()
            outcome = self.environments.step(action)
            self.replay.add(observation, action, outcome)
            self.episodes.add(outcome)
            observation = outcome.observation
            if is_learning:
                self._learn(env_step)

            is_log_due = vector_step % config.log_interval_vector_steps == 0 or vector_step == last
            is_evaluation_due = vector_step % config.evaluation.interval_env_steps_per_task == 0 or vector_step == last
            if is_log_due:
                rate = self._log(env_step, is_learning=is_learning)
            if is_evaluation_due and is_learning:
                self._evaluate(env_step)
            if is_log_due and on_progress is not None:
                on_progress(self._progress(env_step, rate))
        return TrainingSummary(
            env_steps=config.env_steps,
            updates=last - warm_up,
            seconds=time.perf_counter() - self.started,
            evaluations=tuple(self.evaluations),
        )

    def close(self) -> None:
        self.simulators.close()

    def _wander(self) -> Float[FloatArray, "task action"]:
        return self.warm_up.uniform(-1.0, 1.0, (self.config.task_count, ACTION_SIZE)).astype(np.float32)

    def _explore(self, observation: Float[FloatArray, "task feature"]) -> Float[FloatArray, "task action"]:
        return self._finite(self.agent.explore(observation))

    def _exploit(self, observation: Float[FloatArray, "task feature"]) -> Float[FloatArray, "task action"]:
        return self._finite(self.agent.exploit(observation))

    def _finite(self, action: Float[FloatArray, "task action"]) -> Float[FloatArray, "task action"]:
        """Stop a run that has diverged before the simulators meet a NaN; losses are otherwise read at log rows only."""
        if not np.isfinite(action).all():
            self.losses.settle()
            raise DivergedError(
                "the policy gave an action that is not finite, though every loss was; finite actions were expected. "
                "Lower learning_rate or gradient_clip_norm and start again; all that was recorded so far is kept."
            )
        return action

    def _learn(self, env_step: int) -> None:
        if self.monitor is not None:
            self.monitor.stamp(env_step=env_step)
        self.losses.add(env_step, self.agent.update(self.replay.sample(self.config.sac.batch_size_per_task)))

    def _log(self, env_step: int, *, is_learning: bool) -> float:
        rate = self.stopwatch.rate(env_step)
        losses, episode_return = self.losses.settle(), self.episodes.settle()
        if self.monitor is not None and is_learning:
            scalars: dict[str, Any] = {**losses, "episode_return": episode_return, "env_steps_per_second": rate}
            scalars["alpha"] = dict(zip(self.config.task_names, self.agent.alpha.tolist(), strict=True))
            self.monitor.step(**scalars)
        return rate

    def _evaluate(self, env_step: int) -> None:
        with self.stopwatch.paused():
            evaluation = self.evaluator.evaluate(self._exploit, env_step=env_step)
        self.evaluations.append(evaluation)
        if self.monitor is not None:
            self.monitor.evaluation(success_rate=evaluation.success_rate, episode_return=evaluation.episode_return)

    def _progress(self, env_step: int, rate: float) -> Progress:
        return Progress(
            env_steps=env_step,
            total_env_steps=self.config.env_steps,
            env_steps_per_second=rate,
            success_rate=self.evaluations[-1].mean_success_rate if self.evaluations else None,
        )


def _watched(
    agent: SoftActorCritic,
    config: TrainingConfig,
    store: str | PathLike[str] | None,
    probes: Probes,
    schedule: Schedule | None,
) -> AbstractContextManager[Monitor | None]:
    """Attach the monitor to the actor and both critics; without a store nothing is watched."""
    if store is None:
        return nullcontext()
    from plastikit.watch.attach import attach
    from plastikit.watch.schedule import DEFAULT

    schedule = DEFAULT if schedule is None else schedule
    return attach(
        {"actor": agent.actor, "critic_0": agent.critics[0], "critic_1": agent.critics[1]},
        optimizer={"actor": agent.actor_optimizer, "critic": agent.critic_optimizer},
        store=store,
        probes=probes,
        schedule=schedule,
        metadata=run_metadata(config, schedule),
    )


def run_metadata(config: TrainingConfig, schedule: Schedule) -> dict[str, Any]:
    """What a run's store says of its settings: the training's, and when it was looked at."""
    return config.to_dict() | {"schedule": repr(schedule)}


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """Let torch compute with ``count`` threads for the length of a run."""
    before = torch.get_num_threads()
    torch.set_num_threads(before if count is None else count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
