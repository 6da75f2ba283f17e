"""A run on its way: it acts, remembers, learns, and now and then reports, is judged and is written down."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from plastikit.errors import DivergedError
from plastikit.train.checkpoint import Checkpoint, Checkpoints
from plastikit.train.config import TrainingConfig
from plastikit.train.evaluate import Evaluation, Evaluator
from plastikit.train.ledger import EpisodeLedger, LossLedger, Stopwatch
from plastikit.train.randomness import numpy_generator
from plastikit.train.replay import Replay
from plastikit.train.sac import SoftActorCritic
from plastikit.train.watching import Watch
from plastikit.train.workers import Simulators, TaskEnvironments

FloatArray = NDArray[np.float32]


class Run:
    """Everything that a run holds besides the agent, and its way from step to step."""

    def __init__(self, config: TrainingConfig, agent: SoftActorCritic, watch: Watch) -> None:
        self.config = config
        self.agent = agent
        self.watch = watch
        self._started = time.perf_counter()
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
        self, *, report: Callable[[float], None], checkpoints: Checkpoints | None, origin: Mapping[str, Any]
    ) -> None:
        """Take all steps that are left.

        Args:
            report: told at each log row, after what else is due there, how many environment steps were taken a second.
            checkpoints: where checkpoints are written, one at once where the run begins; None writes none.
            origin: what they say of the run.
        """
        config, last = self.config, self.config.env_steps_per_task
        if self.observation is None:
            self.observation = self.environments.reset()
            if checkpoints is not None:
                self._keep(checkpoints, origin)
        while self.done < last:
            is_learning = self._step(self.observation)
            is_log_due = self.done % config.log_interval_vector_steps == 0 or self.done == last
            is_evaluation_due = self.done % config.evaluation.interval_env_steps_per_task == 0 or self.done == last
            if is_log_due:
                rate = self._log(is_learning=is_learning)
            if is_evaluation_due and is_learning:
                self._evaluate()
            if is_log_due:
                report(rate)
            if checkpoints is not None and self.done < last and checkpoints.is_due:
                self._keep(checkpoints, origin)

    def go_on(self, checkpoint: Checkpoint) -> None:
        """Stand where the run stood when the checkpoint was written; the agent does already."""
        state = checkpoint.state["run"]
        self.done = checkpoint.step
        self._started -= state["seconds"]
        self.warm_up.bit_generator.state = state["warm_up"]
        self.replay.generator.bit_generator.state = state["batches"]
        self.replay.restore(checkpoint.stretches())
        self.losses.load_state_dict(state["losses"])
        self.episodes.load_state_dict(state["episodes"])
        self.evaluations = [Evaluation(**told) for told in state["evaluations"]]
        self.observation = self.environments.load_state_dict(state["environments"])
        self.stopwatch = Stopwatch(self.env_step)

    def close(self) -> None:
        """End the processes that step."""
        self.simulators.close()

    @property
    def seconds(self) -> float:
        """Wall time, of earlier processes too."""
        return time.perf_counter() - self._started

    @property
    def env_step(self) -> int:
        """Environment steps taken, over all tasks."""
        return self.done * self.config.task_count

    def _keep(self, checkpoints: Checkpoints, origin: Mapping[str, Any]) -> None:
        """Write a checkpoint."""
        with self.stopwatch.paused():
            run = {
                "seconds": self.seconds,
                "warm_up": self.warm_up.bit_generator.state,
                "batches": self.replay.generator.bit_generator.state,
                "losses": self.losses.state_dict(),
                "episodes": self.episodes.state_dict(),
                "evaluations": [dataclasses.asdict(evaluation) for evaluation in self.evaluations],
                "environments": self.environments.state_dict(),
            }
            state = {
                "origin": dict(origin),
                "run": run,
                "agent": self.agent.state_dict(),
                "watch": self.watch.state_dict(),
            }
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
        self.watch.stamp(env_step=self.env_step)
        if self.done == self.config.sac.warm_up_vector_steps + 1:
            self.watch.observe()
        batch = self.replay.sample(self.config.sac.batch_size_per_task)
        tell = self.watch.tell if self.watch.is_due else None
        self.losses.add(self.env_step, self.agent.update(batch, tell))

    def _log(self, *, is_learning: bool) -> float:
        rate = self.stopwatch.rate(self.env_step)
        losses, episode_return = self.losses.settle(), self.episodes.settle()
        if is_learning:
            alpha = dict(zip(self.config.task_names, self.agent.alpha.tolist(), strict=True))
            self.watch.log(**losses, episode_return=episode_return, env_steps_per_second=rate, alpha=alpha)
        return rate

    def _evaluate(self) -> None:
        with self.stopwatch.paused():
            evaluation = self.evaluator.evaluate(self._exploit, env_step=self.env_step)
            self.watch.observe()
        self.evaluations.append(evaluation)
        self.watch.evaluation(success_rate=evaluation.success_rate, episode_return=evaluation.episode_return)
