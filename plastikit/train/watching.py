"""What a training tells of itself: actor and critics as they learn, tasks apart, and all three on the same states."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from plastikit.train.config import TrainingConfig
from plastikit.train.probe_set import ProbeSet, probe_states

if TYPE_CHECKING:
    from plastikit.train.sac import SoftActorCritic
    from plastikit.watch.look import Probes
    from plastikit.watch.monitor import Monitor
    from plastikit.watch.schedule import Every, Schedule

LEARNERS: Final[Mapping[str, tuple[str, ...]]] = {"actor": ("actor",), "critic": ("critic_0", "critic_1")}
"""What an update calls a loss, and the networks that learn from it."""


class Watch:
    """What a training tells of itself. This one, of a training that keeps no record, listens to nothing."""

    @property
    def is_due(self) -> bool:
        """Whether the next update is looked at, so that its forwards and losses must be there to be seen."""
        return False

    def tell(self, network: str, losses: Float[Tensor, "task sample"]) -> None:
        """Hear the loss of each sample, just before its backward; ``network`` is ``actor`` or ``critic``."""

    def stamp(self, env_step: int) -> None:
        """Hear how many environment steps were taken; all records from now on carry it."""

    def log(self, **scalars: Any) -> None:
        """Record losses, returns and rates: numbers, or mappings of tasks to numbers."""

    def evaluation(self, *, success_rate: Mapping[str, float], episode_return: Mapping[str, float]) -> None:
        """Record how well the policy does in each task."""

    def observe(self) -> None:
        """Score the networks, as they stand, on the probe set."""

    def state_dict(self) -> dict[str, Any]:
        """Give what a training that goes on from a checkpoint hands to ``watched``."""
        return {}


class RecordedWatch(Watch):
    """Hands all that it hears to a monitor."""

    def __init__(self, monitor: Monitor, agent: SoftActorCritic, probe_set: ProbeSet, tasks: tuple[str, ...]) -> None:
        self._monitor = monitor
        device = agent.device
        places = torch.tensor([tasks.index(task) for task in probe_set.tasks], device=device)
        observation, action = (torch.from_numpy(part).to(device) for part in (probe_set.observation, probe_set.action))
        self._groups = places.repeat_interleave(observation.shape[1])
        critics = (torch.cat((action, observation), dim=-1), places)
        self._inputs = {"actor": (observation, places), "critic_0": critics, "critic_1": critics}
        self._env_step: int | None = None
        self._observed_at: int | None = None

    @property
    def is_due(self) -> bool:
        """Whether a record is on its way."""
        return self._monitor.is_due

    def tell(self, network: str, losses: Float[Tensor, "task sample"]) -> None:
        """Have the gradients of each task compared, where that is due."""
        if self._monitor.is_due:
            groups = task_of_each_row(losses)
            for learner in LEARNERS[network]:
                self._monitor.losses(losses.flatten(), groups, network=learner)

    def stamp(self, env_step: int) -> None:
        """Let all records from now on carry the environment steps taken."""
        self._env_step = env_step
        self._monitor.stamp(env_step=env_step)

    def log(self, **scalars: Any) -> None:
        """Record a row in ``/training``."""
        self._monitor.step(**scalars)

    def evaluation(self, *, success_rate: Mapping[str, float], episode_return: Mapping[str, float]) -> None:
        """Record a row in ``/evaluation``."""
        self._monitor.evaluation(success_rate=success_rate, episode_return=episode_return)

    def observe(self) -> None:
        """Score all three networks on the probe set, each state under its own task, the critics with its action."""
        self._observed_at = self._monitor.steps
        self._monitor.observe(self._inputs, groups=self._groups)

    def state_dict(self) -> dict[str, Any]:
        """Give the monitor's state, and whether what was observed last still waits for the rest of its record."""
        is_waiting = self._observed_at == self._monitor.steps and self._monitor.is_due
        return {"monitor": self._monitor.state_dict(), "env_step": self._env_step, "observes_again": is_waiting}

    def go_on(self, state: Mapping[str, Any]) -> None:
        """Stand where the watch stood whose state this is."""
        if state["env_step"] is not None:
            self.stamp(state["env_step"])
        if state["observes_again"]:
            self.observe()


@contextmanager
def watched(
    agent: SoftActorCritic,
    config: TrainingConfig,
    *,
    store: str | PathLike[str] | None,
    probes: Probes = "default",
    schedule: Schedule | None = None,
    resume: Mapping[str, Any] | None = None,
) -> Iterator[Watch]:
    """Watch the actor and both critics while the block runs; without a store nothing is watched.

    Step 0 is recorded whatever the schedule says, with every probe. The probe set lies beside a store on disk, once for
    all runs in that folder that share it.

    Args:
        agent: whose networks and optimizers.
        config: the training's settings, which stand in the record together with what the probe set is.
        store: where the record is written.
        probes: what is measured.
        schedule: at which updates; as ``usual()`` says where none is given.
        resume: what ``Watch.state_dict`` gave for the checkpoint that the training goes on from.

    Raises:
        ConfigurationError: the probe set holds tasks that the run does not train on, or fewer states than tasks.
        PlastikitError: all that ``attach`` raises.
    """
    if store is None:
        yield Watch()
        return
    from plastikit.watch.attach import attach

    schedule = usual() if schedule is None else schedule
    probe_set = probe_states(config)
    with attach(
        {"actor": agent.actor, "critic_0": agent.critics[0], "critic_1": agent.critics[1]},
        optimizer={"actor": agent.actor_optimizer, "critic": agent.critic_optimizer},
        store=store,
        probes=probes,
        schedule=schedule,
        groups=task_of_each_row,
        metadata=run_metadata(config, schedule) | probe_set.metadata,
        resume=resume["monitor"] if resume else None,
    ) as monitor:
        if "://" not in str(store):
            probe_set.keep(Path(store).parent)
        watch = RecordedWatch(monitor, agent, probe_set, config.task_names)
        if resume:
            watch.go_on(resume)
        yield watch


def usual(updates: int = 100) -> Every:
    """Give the cadence of a training: cheap probes every so many updates, costly ones at each tenth record.

    By default that is about 1 % of the time of MT10 at width 400.

    >>> usual()
    Every(steps=100, costly=1000)
    """
    from plastikit.watch.schedule import every

    return every(updates, costly=10 * updates)


def run_metadata(config: TrainingConfig, schedule: Schedule) -> dict[str, Any]:
    """Say what a run's store keeps of its settings: the training's, and when it was looked at."""
    return config.to_dict() | {"schedule": repr(schedule)}


def task_of_each_row(
    features: Float[Tensor, "task sample *feature"], tasks: Int[Tensor, "task"] | None = None
) -> Int[Tensor, "row"]:
    """Number the task of each row that layers see: the tasks' samples one after the other.

    >>> task_of_each_row(torch.zeros(2, 3, 39)), task_of_each_row(torch.zeros(1, 2, 39), torch.tensor([4]))
    (tensor([0, 0, 0, 1, 1, 1]), tensor([4, 4]))
    """
    if tasks is None:
        tasks = torch.arange(features.shape[0], device=features.device)
    return tasks.repeat_interleave(features.shape[1])
