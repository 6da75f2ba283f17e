"""Training from the first step to the last."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
import xarray
from gymnasium.envs.registration import EnvSpec

import plastikit.train.loop
from plastikit.errors import ConfigurationError, DivergedError, NoCheckpointError, SimulatorError, StoreExistsError
from plastikit.train.checkpoint import FINAL
from plastikit.train.config import CheckpointConfig, EvaluationConfig, SacConfig, TrainingConfig
from plastikit.train.loop import Progress, train
from plastikit.train.sac import SoftActorCritic
from plastikit.train.workers import TaskEnvironments
from plastikit.watch.schedule import every
from zoo.pendulums import Falling

ConfigMaker = Callable[..., TrainingConfig]

PROCESSES = Path("/proc")


@pytest.fixture
def agents(monkeypatch: pytest.MonkeyPatch) -> list[SoftActorCritic]:
    """Collect the agents that are trained, so that a test can look at how they ended."""
    made: list[SoftActorCritic] = []

    class Collected(SoftActorCritic):
        def __init__(self, config: TrainingConfig, *, observation_size: int, action_size: int) -> None:
            super().__init__(config, observation_size=observation_size, action_size=action_size)
            made.append(self)

    monkeypatch.setattr(plastikit.train.loop, "SoftActorCritic", Collected)
    return made


def state(agent: SoftActorCritic) -> list[torch.Tensor]:
    """Every number that training changes in an agent: weights, targets, temperatures, optimizer moments."""
    networks = (agent.actor, *agent.critics, *agent.targets)
    tensors = [tensor for network in networks for tensor in network.parameters()]
    for optimizer in (agent.actor_optimizer, agent.critic_optimizer, agent.alpha_optimizer):
        tensors += [value for entry in optimizer.state.values() for value in entry.values()]
    return [*tensors, agent.log_alpha, agent._update_noise.get_state(), agent._exploration.get_state()]


def assert_same(first: SoftActorCritic, second: SoftActorCritic) -> None:
    """Bit for bit."""
    for one, other in zip(state(first), state(second), strict=True):
        assert torch.equal(one, other)


def test_a_seed_decides_a_run_bit_for_bit(light: ConfigMaker, agents: list[SoftActorCritic]) -> None:
    """The same configuration ends with the same numbers, watched or not, and another seed with others."""
    first, again = train(light()), train(light())
    train(light(seed=1))
    assert_same(agents[0], agents[1])
    assert first.evaluations == again.evaluations
    assert not torch.equal(next(agents[0].actor.parameters()), next(agents[2].actor.parameters()))


def test_watching_a_run_does_not_change_it(light: ConfigMaker, agents: list[SoftActorCritic], tmp_path: Path) -> None:
    """With a monitor at every update the run ends bit-identical to one without."""
    unwatched = train(light())
    watched = train(light(), store=tmp_path / "run.zarr", schedule=every(1))
    assert_same(agents[0], agents[1])
    assert unwatched.evaluations == watched.evaluations


def test_evaluating_more_often_does_not_change_training(light: ConfigMaker, agents: list[SoftActorCritic]) -> None:
    """Evaluations have environments of their own and draw nothing."""
    train(light())
    often = train(light(evaluation=EvaluationConfig(interval_env_steps_per_task=20, episodes_per_task=2)))
    rarely = train(light(evaluation=EvaluationConfig(interval_env_steps_per_task=45, episodes_per_task=1)))
    assert_same(agents[0], agents[1])
    assert_same(agents[0], agents[2])
    assert [evaluation.env_step for evaluation in often.evaluations] == [80, 120]
    assert [evaluation.env_step for evaluation in rarely.evaluations] == [90, 120]


def test_processes_that_step_change_no_number(light: ConfigMaker, agents: list[SoftActorCritic]) -> None:
    """Two processes beside the run's end it with the same numbers as none."""
    alone, apart = train(light()), train(light(workers=2))
    assert_same(agents[0], agents[1])
    assert alone.evaluations == apart.evaluations


def test_a_run_whose_process_ends_is_marked_failed(light: ConfigMaker, tmp_path: Path) -> None:
    """A process that steps environments and is killed ends the run, which says so and keeps its record."""

    def kill(progress: Progress) -> None:
        if progress.env_steps == 80:
            children = [
                int(child) for path in PROCESSES.glob("self/task/*/children") for child in path.read_text().split()
            ]
            stepping = [child for child in children if b"serving" in (PROCESSES / f"{child}/cmdline").read_bytes()]
            os.kill(stepping[0], signal.SIGKILL)

    with pytest.raises(SimulatorError, match="SIGKILL"):
        train(light(workers=2), store=tmp_path / "run.zarr", schedule=every(1), on_progress=kill)
    run = xarray.open_datatree(tmp_path / "run.zarr", engine="zarr")
    assert run.attrs["state"] == "failed"
    assert "the process that steps" in run.attrs["error"]
    assert run["diagnostics"].sizes["step"] >= 10


def test_torchs_global_settings_are_left_as_they_were(light: ConfigMaker) -> None:
    """Neither the thread count nor the global random state is changed by a run."""
    threads, state_before = torch.get_num_threads(), torch.get_rng_state()
    train(light(threads=1 if threads > 1 else 2))
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state_before)


def test_a_run_counts_its_steps_and_reports_on_its_way(light: ConfigMaker) -> None:
    """Progress comes at each log row and at the end; updates are the vector steps after the warm-up."""
    reports: list[Progress] = []
    summary = train(light(env_steps_per_task=50, architecture="plain"), on_progress=reports.append)
    assert [report.env_steps for report in reports] == [40, 80, 100]
    assert {report.total_env_steps for report in reports} == {100}
    assert [report.success_rate for report in reports] == [None, None, summary.success_rate]
    assert all(report.env_steps_per_second > 0 for report in reports)
    assert (summary.env_steps, summary.updates) == (100, 20)
    assert 0.0 <= summary.success_rate <= 1.0
    assert summary.seconds > 0


def test_warm_up_acts_at_random_and_learns_nothing(light: ConfigMaker, agents: list[SoftActorCritic]) -> None:
    """The first update is made at the first vector step after the warm-up."""
    config = light(env_steps_per_task=31)
    train(config)
    first_weights = next(agents[0].critics[0].parameters())
    assert agents[0].critic_optimizer.state[first_weights]["step"] == 1
    fresh = SoftActorCritic(config, observation_size=3, action_size=1)
    fresh.explore(np.zeros((2, 3), dtype=np.float32))
    assert torch.equal(agents[0]._exploration.get_state(), fresh._exploration.get_state())


def test_a_watched_run_is_a_readable_record(light: ConfigMaker, tmp_path: Path) -> None:
    """The store holds the configuration, the diagnostics of three networks, the losses and the evaluations."""
    config = light()
    summary = train(config, store=tmp_path / "run.zarr", schedule=every(10))
    run = xarray.open_datatree(tmp_path / "run.zarr", engine="zarr")
    assert run.attrs["state"] == "finished"
    assert run.attrs["configuration"].items() >= (config.to_dict() | {"schedule": "Every(steps=10)"}).items()
    diagnostics = run["diagnostics"].to_dataset()
    assert diagnostics.step.values.tolist() == [0, 10, 20, 30]
    assert diagnostics.env_step.values.tolist() == [62, 82, 102, 120]
    assert set(diagnostics.network.values.tolist()) == {"actor", "critic_0", "critic_1"}
    assert "actor.trunk.hidden_2" in diagnostics.layer.values
    training = run["training"].to_dataset()
    assert training.step.values.tolist() == [10, 30]
    assert np.isfinite(training.critic_loss.values).all()
    assert training.alpha.sel(task="pendulum-2of2").values[-1] < 1.0
    evaluation = run["evaluation"].to_dataset()
    assert evaluation.env_step.values.tolist() == [120]
    assert (
        evaluation.success_rate.sel(task="pendulum-1of2").item() == summary.evaluations[0].success_rate["pendulum-1of2"]
    )


def test_a_diverged_run_is_marked_failed_and_keeps_its_records(light: ConfigMaker, tmp_path: Path) -> None:
    """A loss that is not finite ends the run with its name, and the simulators never meet a NaN."""
    config = light(sac=SacConfig(warm_up_vector_steps=30, batch_size_per_task=8, learning_rate=1e18))
    with pytest.raises(DivergedError, match=r"the \w+ loss was (-?inf|nan) at environment step \d+"):
        train(config, store=tmp_path / "run.zarr", schedule=every(1))
    run = xarray.open_datatree(tmp_path / "run.zarr", engine="zarr")
    assert run.attrs["state"] == "failed"
    assert "loss was" in run.attrs["error"]
    assert run["diagnostics"].sizes["step"] >= 1


def test_an_interrupted_run_is_closed_and_readable(light: ConfigMaker, tmp_path: Path) -> None:
    """Ctrl-C leaves the records made so far."""

    def interrupt(progress: Progress) -> None:
        if progress.env_steps == 80:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(light(), store=tmp_path / "run.zarr", schedule=every(1), on_progress=interrupt)
    run = xarray.open_datatree(tmp_path / "run.zarr", engine="zarr")
    assert run.attrs["state"] == "interrupted"
    assert run["diagnostics"].sizes["step"] == 10


def test_a_store_that_exists_is_refused_before_anything_is_trained(light: ConfigMaker, tmp_path: Path) -> None:
    """An earlier run is never written over."""
    (tmp_path / "run.zarr").mkdir()
    with pytest.raises(StoreExistsError):
        train(light(), store=tmp_path / "run.zarr")


def test_what_other_processes_cannot_be_sent_is_told_before_the_store_is_made(
    light: ConfigMaker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nothing is left that the corrected run would meet."""
    monkeypatch.setitem(gymnasium.registry, "Own-v0", EnvSpec("Own-v0", lambda: Falling()))  # noqa: PLW0108
    with pytest.raises(ConfigurationError, match=r"what makes Own-v0 cannot be sent .* workers=1"):
        train(light(tasks="Own-v0,Falling-v0", workers=2), store=tmp_path / "run.zarr")
    assert not list(tmp_path.iterdir())


def test_steps_are_taken_while_it_learns(light: ConfigMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step is ordered, then learned from what was before it, then collected."""
    done: list[str] = []
    for owner, name in ((TaskEnvironments, "order"), (TaskEnvironments, "collect"), (SoftActorCritic, "update")):
        monkeypatch.setattr(owner, name, noted(done, name, getattr(owner, name)))
    train(light(env_steps_per_task=32))
    assert done == ["order", "collect"] * 30 + ["order", "update", "collect"] * 2


def noted(done: list[str], name: str, method: Callable[..., object]) -> Callable[..., object]:
    """A method that says when it is called."""

    def call(*arguments: object) -> object:
        done.append(name)
        return method(*arguments)

    return call


def test_checkpoints_change_no_number(light: ConfigMaker, agents: list[SoftActorCritic], tmp_path: Path) -> None:
    """With a checkpoint as often as can be a run ends as without; its networks are kept."""
    train(light())
    train(light(checkpoints=CheckpointConfig(interval_seconds=0.0)), checkpoints=tmp_path / "run.checkpoints")
    assert_same(agents[0], agents[1])
    final = torch.load(tmp_path / "run.checkpoints" / FINAL, weights_only=True)
    agents[0].actor.load_state_dict(final["actor"])
    assert final["env_steps"] == 120


def test_a_run_that_was_interrupted_is_resumed(
    light: ConfigMaker, agents: list[SoftActorCritic], tmp_path: Path
) -> None:
    """It reports at once where it stands, and goes on from there with other machine settings."""

    def interrupt(progress: Progress) -> None:
        if progress.env_steps == 80:
            raise KeyboardInterrupt

    summary = train(light())
    reports: list[Progress] = []
    places = {"store": tmp_path / "run.zarr", "checkpoints": tmp_path / "run.checkpoints"}
    eager = CheckpointConfig(interval_seconds=0.0)
    with pytest.raises(KeyboardInterrupt):
        train(light(checkpoints=eager), **places, schedule=every(2), on_progress=interrupt)
    resumed = train(
        light(workers=2, threads=None), **places, schedule=every(2), resume=True, on_progress=reports.append
    )
    assert_same(agents[0], agents[2])
    assert resumed.evaluations == summary.evaluations
    assert [report.is_resumed for report in reports[:2]] == [True, False]
    assert 0 <= reports[0].env_steps < 80
    run = xarray.open_datatree(tmp_path / "run.zarr", engine="zarr")
    assert run.attrs["state"] == "finished"
    assert run["diagnostics"].step.values.tolist() == list(range(0, 31, 2))
    with pytest.raises(ConfigurationError, match="finished run"):
        train(light(), **places, resume=True)


def test_what_cannot_be_resumed(light: ConfigMaker, tmp_path: Path) -> None:
    """Other settings, other threads, no folder, no checkpoint: one error, and nothing is lost."""

    def interrupt(_: Progress) -> None:
        raise KeyboardInterrupt

    folder = tmp_path / "run.checkpoints"
    with pytest.raises(KeyboardInterrupt):
        train(light(), checkpoints=folder, on_progress=interrupt)
    for changes, message in (
        (
            {"sac": SacConfig(warm_up_vector_steps=30, batch_size_per_task=8, discount=0.9)},
            r"sac.discount was 0.99 .* 0.9;",
        ),
        ({"seed": 3}, r"seed was 0 and is now 3; go on with the same"),
        ({"threads": 2}, r"threads is 2, and the run computed with 1"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            train(light(**changes), checkpoints=folder, resume=True)
    with pytest.raises(ConfigurationError, match=r"was not recorded, and a store is given"):
        train(light(), checkpoints=folder, store=tmp_path / "run.zarr", resume=True)
    with pytest.raises(ConfigurationError, match=r"no folder of checkpoints is given"):
        train(light(), resume=True)
    with pytest.raises(NoCheckpointError, match=r"holds no checkpoint"):
        train(light(), checkpoints=tmp_path / "other.checkpoints", resume=True)
    with pytest.raises(StoreExistsError, match=r"checkpoints of another run"):
        train(light(), checkpoints=folder)
    assert train(light(), checkpoints=folder, resume=True).updates == 30
