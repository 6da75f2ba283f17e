"""Every setting of a training run, with the values of McLean et al. 2025 (arXiv:2503.05126) as defaults.

Two clocks tick in a run. A *vector step* is one step in every task at once; an *environment step* is one step in
one task's environment, so that a vector step on 10 tasks is 10 environment steps. Budgets that should mean the same
at any task count are given per task, and their names say so.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from plastikit.errors import ConfigurationError, UnknownNameError
from plastikit.train.limits import at_least, finite, fraction, positive
from plastikit.train.overlap import warn_of_overlaps
from plastikit.train.published import ARCHITECTURES, EMBEDDING, PARTED, published_sizes
from plastikit.train.tasks import resolve_tasks

REWARD_VERSION: Final = "v2"
HORIZON: Final = 500
GOALS_PER_TASK: Final = 50
PRECISIONS: Final = ("float32", "tf32", "bfloat16")


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """The shape of the actor or of each critic."""

    architecture: str = "multi_head"
    """``multi_head``: a shared trunk and one linear head per task; ``plain``: a shared trunk and one shared head;
    ``soft_modules``, ``paco``, ``moore``: the published ones."""

    width: int = 400
    """Units in each hidden layer: of each module (Soft Modules), of each expert (MOORE)."""

    depth: int = 3
    """Hidden layers, the experts' last and linear one counted (MOORE); layers of modules (Soft Modules)."""

    part_count: int | None = None
    """Modules in each layer (Soft Modules), parameter sets (PaCo), experts (MOORE); None: as published."""

    embedding_width: int | None = None
    """Units of the embedding of observation and task (Soft Modules); None: as published."""

    def __post_init__(self) -> None:
        if self.architecture not in ARCHITECTURES:
            raise UnknownNameError.of("architecture", self.architecture, ARCHITECTURES)
        at_least("width", self.width, 1, "units in each hidden layer")
        at_least("depth", self.depth, 1, "hidden layers")
        for name, architectures, unit in (
            ("part_count", PARTED, "modules, parameter sets or experts"),
            ("embedding_width", EMBEDDING, "units"),
        ):
            found = getattr(self, name)
            if found is None:
                continue
            at_least(name, found, 1, unit)
            if self.architecture not in architectures:
                raise ConfigurationError(
                    f"{name} is {found}, and {self.architecture} has none; it is a setting of "
                    f"{', '.join(architectures)}. Leave it out."
                )

    @classmethod
    def published(
        cls, architecture: str, task_count: int, *, width: int | None = None, depth: int | None = None
    ) -> NetworkConfig:
        """Give an architecture in the width and depth published for a number of tasks, but for what is given.

        >>> NetworkConfig.published("soft_modules", 50)
        NetworkConfig(architecture='soft_modules', width=256, depth=4, part_count=None, embedding_width=None)
        """
        if architecture not in ARCHITECTURES:
            raise UnknownNameError.of("architecture", architecture, ARCHITECTURES)
        sizes = published_sizes(architecture, task_count)
        return cls(
            architecture=architecture,
            width=sizes.width if width is None else width,
            depth=sizes.depth if depth is None else depth,
        )

    def completed(self, task_count: int) -> NetworkConfig:
        """Give the same with nothing left open: what is None becomes as published for a number of tasks."""
        sizes = published_sizes(self.architecture, task_count)
        return dataclasses.replace(
            self,
            part_count=sizes.part_count if self.part_count is None else self.part_count,
            embedding_width=sizes.embedding_width if self.embedding_width is None else self.embedding_width,
        )


@dataclass(frozen=True, kw_only=True)
class SacConfig:
    """The constants of multi-task soft actor-critic."""

    learning_rate: float = 3e-4
    """Adam's step size for the actor and the critics."""

    adam_epsilon: float = 1e-5
    """Adam's epsilon for every optimizer."""

    gradient_clip_norm: float = 1.0
    """Largest global gradient norm: of the actor, and of both critics taken together; alpha is never clipped."""

    initial_alpha: float = 1.0
    """Entropy temperature of every task at the start."""

    alpha_learning_rate: float = 3e-4
    """Adam's step size for the logarithm of each task's temperature."""

    target_entropy: float | None = None
    """Policy entropy that each temperature steers to, in nats; None: minus the number of actions."""

    discount: float = 0.99
    """Weight of the next state's value, per step."""

    target_update_rate: float = 0.005
    """Share of the critics that moves into their targets after each update."""

    batch_size_per_task: int = 128
    """Transitions of each task in an update's batch."""

    replay_capacity_per_task: int = 100_000
    """Transitions kept for each task; the oldest make room."""

    warm_up_vector_steps: int = 4_000
    """Vector steps of uniformly random actions before the first update."""

    log_std_min: float = -20.0
    """Lowest logarithm of the policy's standard deviation, before the tanh."""

    log_std_max: float = 2.0
    """Highest logarithm of the policy's standard deviation, before the tanh."""

    actor_output_range: float = 1e-3
    """Weights and biases of the actor's head start uniform within plus and minus this."""

    critic_output_range: float = 3e-3
    """Weights and biases of each critic's head start uniform within plus and minus this."""

    has_task_weights: bool = False
    """Whether each task's loss is weighted by softmax(-log alpha) times the task count."""

    def __post_init__(self) -> None:
        for name in ("learning_rate", "adam_epsilon", "gradient_clip_norm", "initial_alpha", "alpha_learning_rate"):
            positive(name, getattr(self, name))
        for name in ("discount", "target_update_rate"):
            fraction(name, getattr(self, name))
        for name in ("actor_output_range", "critic_output_range"):
            positive(name, getattr(self, name))
        if self.target_entropy is not None:
            finite("target_entropy", self.target_entropy)
        at_least("batch_size_per_task", self.batch_size_per_task, 1, "transitions")
        at_least("replay_capacity_per_task", self.replay_capacity_per_task, 1, "transitions")
        at_least("warm_up_vector_steps", self.warm_up_vector_steps, 1, "vector steps, to put something in the replay")
        if not self.log_std_min < self.log_std_max:
            raise ConfigurationError(
                f"log_std_min is {self.log_std_min} and log_std_max {self.log_std_max}; "
                "the first must be below the second. Widen the range."
            )


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """When and how long the policy is judged, on environments of its own."""

    interval_env_steps_per_task: int = 20_000
    """Environment steps of each task between two evaluations (on MT10 that is 200,000 in all)."""

    episodes_per_task: int = 50
    """Episodes of each task in one evaluation; an episode ends at success or after 500 steps."""

    def __post_init__(self) -> None:
        at_least("interval_env_steps_per_task", self.interval_env_steps_per_task, 1, "environment steps of each task")
        at_least("episodes_per_task", self.episodes_per_task, 1, "episodes")


@dataclass(frozen=True, kw_only=True)
class CheckpointConfig:
    """When a run that keeps checkpoints writes one; no number of the run depends on it."""

    interval_seconds: float = 300.0
    """Seconds between two checkpoints: what a killed run loses at most."""

    kept: int = 2
    """The last so many are kept."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.interval_seconds) and self.interval_seconds >= 0.0):
            raise ConfigurationError(
                f"interval_seconds is {self.interval_seconds!r}; it must be a number from 0 on. Set it to one."
            )
        at_least("kept", self.kept, 1, "checkpoints")


@dataclass(frozen=True, kw_only=True)
class ProbeSetConfig:
    """The fixed states on which networks are scored alike, whatever they were trained on."""

    tasks: str | None = None
    """The tasks that the states come from, named as the training's are; None: the training's own."""

    samples: int = 1_000
    """States in all, in equal shares of the tasks."""

    seed: int = 0
    """Seed of goals, noise and choice; one seed gives the same states in every run."""

    def __post_init__(self) -> None:
        at_least("samples", self.samples, 1, "states")
        at_least("seed", self.seed, 0, "a seed")


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """One training run."""

    tasks: str = "MT10"
    """``MT10``, ``MT25``, ``MT50``, a count of tasks drawn from MT50, or names with commas between them: of tasks, of
    divided ones (``reach-v3/4``, ``pendulum/3``), of gymnasium's environments."""

    task_seed: int = 0
    """Which draw a count of tasks means; draws of one seed are nested."""

    seed: int = 0
    """Seed of the weights, the environments' goals, the exploration and the batches."""

    env_steps_per_task: int = 2_000_000
    """Environment steps in each task; the run takes this times the task count in all."""

    actor: NetworkConfig = field(default_factory=NetworkConfig)
    """Shape of the policy."""

    critic: NetworkConfig = field(default_factory=NetworkConfig)
    """Shape of each of the two critics."""

    sac: SacConfig = field(default_factory=SacConfig)
    """The learning algorithm's constants."""

    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    """The evaluations' cadence and length."""

    checkpoints: CheckpointConfig = field(default_factory=CheckpointConfig)
    """When checkpoints are written, where a run keeps any."""

    probe_set: ProbeSetConfig = field(default_factory=ProbeSetConfig)
    """The states that the networks are scored on beside their training batches."""

    log_interval_vector_steps: int = 500
    """Vector steps between two rows of losses and returns, and between two reports of progress."""

    threads: int | None = None
    """Threads that torch computes with; None leaves its setting as it is."""

    workers: int | None = None
    """Processes that step the environments, never more than tasks; None is one per core, 1 steps in the run's own."""

    device: str = "auto"
    """Where the networks are trained: ``cpu``, ``cuda``, ``cuda:1``; ``auto`` takes a GPU where there is one."""

    precision: str = "float32"
    """How matrix products are computed: ``float32``; on a GPU also ``tf32`` and ``bfloat16``, which are faster."""

    is_compiled: bool = False
    """Whether updates are compiled, and on a GPU captured in CUDA graphs; recorded updates run as they are written."""

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise UnknownNameError.of("precision", self.precision, PRECISIONS)
        at_least("task_seed", self.task_seed, 0, "a seed")
        at_least("seed", self.seed, 0, "a seed")
        at_least("log_interval_vector_steps", self.log_interval_vector_steps, 1, "vector steps")
        if self.threads is not None:
            at_least("threads", self.threads, 1, "threads")
        if self.workers is not None:
            at_least("workers", self.workers, 1, "processes")
        at_least("env_steps_per_task", self.env_steps_per_task, 1, "environment steps in each task")
        if self.env_steps_per_task <= self.sac.warm_up_vector_steps:
            raise ConfigurationError(
                f"env_steps_per_task is {self.env_steps_per_task}, and the first {self.sac.warm_up_vector_steps} steps "
                "in each task are warm-up, in which nothing is learned. Train for longer or shorten the warm-up."
            )
        warn_of_overlaps(self.task_names)

    @cached_property
    def task_names(self) -> tuple[str, ...]:
        """The tasks by name, in the order of their heads and one-hot entries."""
        return resolve_tasks(self.tasks, self.task_seed)

    @property
    def task_count(self) -> int:
        """How many tasks are trained at once."""
        return len(self.task_names)

    @property
    def env_steps(self) -> int:
        """Environment steps of the whole run, over all tasks."""
        return self.env_steps_per_task * self.task_count

    def to_dict(self) -> dict[str, Any]:
        """Give the configuration as a JSON mapping, with what runs are compared by at the top level.

        ``width``, ``depth`` and ``architecture`` are the critics', which the actor's equal unless set apart; both
        stand in full under ``actor`` and ``critic``.
        """
        from plastikit.train.suites import attributes

        nested = dataclasses.asdict(self)
        for name, network in (("actor", self.actor), ("critic", self.critic)):
            shape = dataclasses.asdict(network.completed(self.task_count))
            nested[name] = {key: value for key, value in shape.items() if value is not None}
        return {
            "task_count": self.task_count,
            "tasks": list(self.task_names),
            "width": self.critic.width,
            "depth": self.critic.depth,
            "seed": self.seed,
            "architecture": self.critic.architecture,
            "task_selection": nested.pop("tasks"),
            **{name: value for name, value in nested.items() if name != "seed"},
            "environment": attributes(self.task_names),
        }
