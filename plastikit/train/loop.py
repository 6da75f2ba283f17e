"""Training from the first step to the last: act, remember, learn, and now and then report and be judged."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray

from plastikit.errors import ConfigurationError, DivergedError
from plastikit.train.checkpoint import Checkpoint, Checkpoints, last_checkpoint
from plastikit.train.config import TrainingConfig
from plastikit.train.evaluate import Evaluation, Evaluator
from plastikit.train.ledger import EpisodeLedger, LossLedger, Stopwatch
from plastikit.train.memory import keep_freed_memory
from plastikit.train.origin import check_machine, origin_of, recorded_settings, resumed_config
from plastikit.train.randomness import numpy_generator
from plastikit.train.replay import Replay
from plastikit.train.sac import SoftActorCritic
from plastikit.train.suites import sizes
from plastikit.train.tasks import require_simulators
from plastikit.train.watching import Watch, watched
from plastikit.train.workers import Simulators, TaskEnvironments

if TYPE_CHECKING:
    from plastikit.watch.look import Probes
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
    that was cut off, by SIGKILL or otherwise, and resumed, however often. When a run is finished its ``checkpoints``
    hold the file ``final.pt`` alone: the state dicts of ``actor``, ``critic_0``, ``critic_1`` and their targets,
    ``log_alpha``, ``env_steps`` and ``configuration``, for ``torch.load(path, weights_only=True)``.

    A step is ordered, the update is made on what the replay holds, and then the step's outcome is added: simulators and
    update work at the same time, and no batch holds the newest transition.

    Args:
        config: every setting of the run.
        store: where the run's record is written; None trains unwatched.
        probes: what the monitor measures on the actor and both critics.
        schedule: at which updates it measures; every 100 where none is given, with the costly probes every 500.
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
        SimulatorError: a process that steps environments ended; the error holds its traceback.
        DivergedError: a loss was not finite; the record is kept and marked failed.
    """
    require_simulators(config.task_names)
    keep_freed_memory()
    after, told = None, config
    if resume:
        if checkpoints is None:
            raise ConfigurationError("resume is True, and no folder of checkpoints is given to go on from; give it")
        after = last_checkpoint(checkpoints)
        config = resumed_config(config, after.state["origin"], is_watched=store is not None)
        told = recorded_settings(config, after.state["origin"])
    with _threads(config.threads):
        observation_size, action_size = sizes(config.task_names)
        agent = SoftActorCritic(config, observation_size=observation_size, action_size=action_size)
        if after is not None:
            check_machine(after.state["origin"], agent.device)
            agent.load_state_dict(after.state["agent"])
        kept = None if checkpoints is None else Checkpoints(checkpoints, config.checkpoints, after=after)
        watching = None if after is None else after.state["watch"]
        with (
            watched(agent, told, store=store, probes=probes, schedule=schedule, resume=watching) as watch,
            closing(_Run(config, agent, watch)) as run,
        ):
            if after is None:
                origin = origin_of(config, agent.device, is_watched=store is not None)
            else:
                origin = after.state["origin"]
                run.go_on(after)
            summary = run.to_the_end(on_progress, kept, origin)
        if kept is not None:
            kept.finish(_networks(agent, config, origin))
        return summary


class _Run:
    """Everything that a run holds besides the agent."""

    def __init__(self, config: TrainingConfig, agent: SoftActorCritic, watch: Watch) -> None:
        self.config = config
        self.agent = agent
        self.watch = watch
        self.started = time.perf_counter()
        self.simulators = Simulators(config.task_names, config.seed, config.workers)
        self.environments = TaskEnvironments(self.simulators, config.seed)
        self.evaluator = Evaluator(self.simulators, config.evaluation.episodes_per_task)
        self.replay = Replay(
            task_count=config.task_count,
            observation_size=self.simulators.sizes.observation,
            action_size=self.simulators.sizes.action,
            capacity=min(config.sac.replay_capacity_per_task, config.env_steps_per_task),
            generator=numpy_generator(config.seed, "batches"),
            device=agent.device,
        )
        self.warm_up = numpy_generator(config.seed, "warm-up")
        self.losses = LossLedger()
        self.episodes = EpisodeLedger(config.task_count)
        self.evaluations: list[Evaluation] = []
        self.stopwatch = Stopwatch()
        self.done = 0
        """Vector steps taken."""
        self.observation: Float[FloatArray, "task feature"] | None = None
        """What the next action is chosen from; None before the first."""

    def to_the_end(
        self,
        on_progress: Callable[[Progress], None] | None,
        checkpoints: Checkpoints | None,
        origin: dict[str, Any],
    ) -> TrainingSummary:
        config, last = self.config, self.config.env_steps_per_task
        if self.observation is None:
            self.observation = self.environments.reset()
            if checkpoints is not None:
                self._keep(checkpoints, origin)
        elif on_progress is not None:
            on_progress(self._progress(math.nan, is_resumed=True))
        while self.done < last:
            is_learning = self._step(self.observation)
            is_log_due = self.done % config.log_interval_vector_steps == 0 or self.done == last
            is_evaluation_due = self.done % config.evaluation.interval_env_steps_per_task == 0 or self.done == last
            if is_log_due:
                rate = self._log(is_learning=is_learning)
            if is_evaluation_due and is_learning:
                self._evaluate()
            if is_log_due and on_progress is not None:
                on_progress(self._progress(rate))
            if checkpoints is not None and self.done < last and checkpoints.is_due:
                self._keep(checkpoints, origin)
        return TrainingSummary(
            env_steps=config.env_steps,
            updates=last - config.sac.warm_up_vector_steps,
            seconds=time.perf_counter() - self.started,
            evaluations=tuple(self.evaluations),
        )

    def go_on(self, checkpoint: Checkpoint) -> None:
        """Stand where the run stood when the checkpoint was written; the agent does already."""
        state = checkpoint.state["run"]
        self.done = checkpoint.step
        self.started -= state["seconds"]
        self.warm_up.bit_generator.state = state["warm_up"]
        self.replay.generator.bit_generator.state = state["batches"]
        self.replay.restore(checkpoint.stretches())
        self.losses.load_state_dict(state["losses"])
        self.episodes.load_state_dict(state["episodes"])
        self.evaluations = [Evaluation(**told) for told in state["evaluations"]]
        self.observation = self.environments.load_state_dict(state["environments"])
        self.stopwatch = Stopwatch(self._env_step)

    def close(self) -> None:
        self.simulators.close()

    @property
    def _env_step(self) -> int:
        return self.done * self.config.task_count

    def _keep(self, checkpoints: Checkpoints, origin: dict[str, Any]) -> None:
        """Write a checkpoint."""
        with self.stopwatch.paused():
            run = {
                "seconds": time.perf_counter() - self.started,
                "warm_up": self.warm_up.bit_generator.state,
                "batches": self.replay.generator.bit_generator.state,
                "losses": self.losses.state_dict(),
                "episodes": self.episodes.state_dict(),
                "evaluations": [dataclasses.asdict(evaluation) for evaluation in self.evaluations],
                "environments": self.environments.state_dict(),
            }
            state = {"origin": origin, "run": run, "agent": self.agent.state_dict(), "watch": self.watch.state_dict()}
            checkpoints.write(self.done, state, self.replay)

    def _step(self, observation: Float[FloatArray, "task feature"]) -> bool:
        """Take a vector step, and learn where the warm-up is over; says whether it is."""
        is_learning = self.done >= self.config.sac.warm_up_vector_steps
        action = self._explore(observation) if is_learning else self._wander()
        self.environments.order(action)
        self.done += 1
        if is_learning:
            self._learn()
        outcome = self.environments.collect()
        self.replay.add(observation, action, outcome)
        self.episodes.add(outcome)
        self.observation = outcome.observation
        return is_learning

    def _wander(self) -> Float[FloatArray, "task action"]:
        shape = (self.config.task_count, self.simulators.sizes.action)
        return self.warm_up.uniform(-1.0, 1.0, shape).astype(np.float32)

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

    def _learn(self) -> None:
        self.watch.stamp(env_step=self._env_step)
        if self.done == self.config.sac.warm_up_vector_steps + 1:
            self.watch.observe()
        batch = self.replay.sample(self.config.sac.batch_size_per_task)
        tell = self.watch.tell if self.watch.is_due else None
        self.losses.add(self._env_step, self.agent.update(batch, tell))

    def _log(self, *, is_learning: bool) -> float:
        rate = self.stopwatch.rate(self._env_step)
        losses, episode_return = self.losses.settle(), self.episodes.settle()
        if is_learning:
            alpha = dict(zip(self.config.task_names, self.agent.alpha.tolist(), strict=True))
            self.watch.log(**losses, episode_return=episode_return, env_steps_per_second=rate, alpha=alpha)
        return rate

    def _evaluate(self) -> None:
        with self.stopwatch.paused():
            evaluation = self.evaluator.evaluate(self._exploit, env_step=self._env_step)
            self.watch.observe()
        self.evaluations.append(evaluation)
        self.watch.evaluation(success_rate=evaluation.success_rate, episode_return=evaluation.episode_return)

    def _progress(self, rate: float, *, is_resumed: bool = False) -> Progress:
        return Progress(
            env_steps=self._env_step,
            total_env_steps=self.config.env_steps,
            env_steps_per_second=rate,
            success_rate=self.evaluations[-1].mean_success_rate if self.evaluations else None,
            is_resumed=is_resumed,
        )


def _networks(agent: SoftActorCritic, config: TrainingConfig, origin: dict[str, Any]) -> dict[str, Any]:
    """What is kept of a finished run."""
    names = ("actor", "critic_0", "critic_1", "target_0", "target_1", "log_alpha")
    state = agent.state_dict()
    told = {"env_steps": config.env_steps, "configuration": origin["configuration"]}
    return {name: state[name] for name in names} | told


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """Let torch compute with ``count`` threads for the length of a run."""
    before = torch.get_num_threads()
    torch.set_num_threads(before if count is None else count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
