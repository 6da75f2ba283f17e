"""Training from the first step to the last."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray

import plastikit.train.loop
from plastikit.errors import DivergedError, SimulatorError, StoreExistsError
from plastikit.train.config import EvaluationConfig, SacConfig, TrainingConfig
from plastikit.train.loop import Progress, train
from plastikit.train.sac import SoftActorCritic
from plastikit.watch.schedule import every

ConfigMaker = Callable[..., TrainingConfig]

PAIR = "reach-v3,drawer-close-v3"
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


def test_a_seed_decides_a_run_bit_for_bit(tiny: ConfigMaker, agents: list[SoftActorCritic]) -> None:
    """The same configuration ends with the same numbers, watched or not, and another seed with others."""
    first, again = train(tiny()), train(tiny())
    train(tiny(seed=1))
    assert_same(agents[0], agents[1])
    assert first.evaluations == again.evaluations
    assert not torch.equal(next(agents[0].actor.parameters()), next(agents[2].actor.parameters()))


def test_watching_a_run_does_not_change_it(tiny: ConfigMaker, agents: list[SoftActorCritic], tmp_path: Path) -> None:
    """With a monitor at every update the run ends bit-identical to one without."""
    unwatched = train(tiny())
    watched = train(tiny(), store=tmp_path / "run.zarr", schedule=every(1))
    assert_same(agents[0], agents[1])
    assert unwatched.evaluations == watched.evaluations


def test_evaluating_more_often_does_not_change_training(tiny: ConfigMaker, agents: list[SoftActorCritic]) -> None:
    """Evaluations have environments of their own and draw nothing."""
    train(tiny())
    often = train(tiny(evaluation=EvaluationConfig(interval_env_steps_per_task=20, episodes_per_task=1)))
    assert_same(agents[0], agents[1])
    assert [evaluation.env_step for evaluation in often.evaluations] == [40, 60]


def test_processes_that_step_change_no_number(tiny: ConfigMaker, agents: list[SoftActorCritic]) -> None:
    """Two processes beside the run's end it with the same numbers as none."""
    alone, apart = train(tiny(tasks=PAIR)), train(tiny(tasks=PAIR, workers=2))
    assert_same(agents[0], agents[1])
    assert alone.evaluations == apart.evaluations


def test_a_run_whose_process_ends_is_marked_failed(tiny: ConfigMaker, tmp_path: Path) -> None:
    """A process that steps environments and is killed ends the run, which says so and keeps its record."""

    def kill(progress: Progress) -> None:
        if progress.env_steps == 80:
            children = [
                int(child) for path in PROCESSES.glob("self/task/*/children") for child in path.read_text().split()
            ]
            stepping = [child for child in children if b"serving" in (PROCESSES / f"{child}/cmdline").read_bytes()]
            os.kill(stepping[0], signal.SIGKILL)

    with pytest.raises(SimulatorError, match="SIGKILL"):
        train(tiny(tasks=PAIR, workers=2), store=tmp_path / "run.zarr", schedule=every(1), on_progress=kill)
    run = xarray.open_datatree(tmp_path / "run.zarr", engine="zarr")
    assert run.attrs["state"] == "failed"
    assert "the process that steps" in run.attrs["error"]
    assert run["diagnostics"].sizes["step"] >= 10


def test_torchs_global_settings_are_left_as_they_were(tiny: ConfigMaker) -> None:
    """Neither the thread count nor the global random state is changed by a run."""
    threads, state_before = torch.get_num_threads(), torch.get_rng_state()
    train(tiny(threads=1 if threads > 1 else 2))
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state_before)


def test_a_run_counts_its_steps_and_reports_on_its_way(tiny: ConfigMaker) -> None:
    """Progress comes at each log row and at the end; updates are the vector steps after the warm-up."""
    reports: list[Progress] = []
    summary = train(tiny(tasks=PAIR, env_steps_per_task=50, architecture="plain"), on_progress=reports.append)
    assert [report.env_steps for report in reports] == [40, 80, 100]
    assert {report.total_env_steps for report in reports} == {100}
    assert [report.success_rate for report in reports] == [None, None, summary.success_rate]
    assert all(report.env_steps_per_second > 0 for report in reports)
    assert (summary.env_steps, summary.updates) == (100, 20)
    assert 0.0 <= summary.success_rate <= 1.0
    assert summary.seconds > 0


def test_warm_up_acts_at_random_and_learns_nothing(tiny: ConfigMaker, agents: list[SoftActorCritic]) -> None:
    """The first update is made at the first vector step after the warm-up."""
    train(tiny(env_steps_per_task=31))
    first_weights = next(agents[0].critics[0].parameters())
    assert agents[0].critic_optimizer.state[first_weights]["step"] == 1
    fresh = SoftActorCritic(tiny(), observation_size=39, action_size=4)
    fresh.explore(np.zeros((1, 39), dtype=np.float32))
    assert torch.equal(agents[0]._exploration.get_state(), fresh._exploration.get_state())


def test_a_watched_run_is_a_readable_record(tiny: ConfigMaker, tmp_path: Path) -> None:
    """The store holds the configuration, the diagnostics of three networks, the losses and the evaluations."""
    config = tiny(tasks=PAIR)
    summary = train(config, store=tmp_path / "run.zarr", schedule=every(10))
    run = xarray.open_datatree(tmp_path / "run.zarr", engine="zarr")
    assert run.attrs["state"] == "finished"
    assert run.attrs["configuration"] == config.to_dict() | {"schedule": "Every(steps=10)"}
    diagnostics = run["diagnostics"].to_dataset()
    assert diagnostics.step.values.tolist() == [0, 10, 20]
    assert diagnostics.env_step.values.tolist() == [62, 82, 102]
    assert set(diagnostics.network.values.tolist()) == {"actor", "critic_0", "critic_1"}
    assert "actor.trunk.hidden_2" in diagnostics.layer.values
    training = run["training"].to_dataset()
    assert training.step.values.tolist() == [10, 30]
    assert np.isfinite(training.critic_loss.values).all()
    assert training.alpha.sel(task="drawer-close-v3").values[-1] < 1.0
    evaluation = run["evaluation"].to_dataset()
    assert evaluation.env_step.values.tolist() == [120]
    assert evaluation.success_rate.sel(task="reach-v3").item() == summary.evaluations[0].success_rate["reach-v3"]


def test_a_diverged_run_is_marked_failed_and_keeps_its_records(tiny: ConfigMaker, tmp_path: Path) -> None:
    """A loss that is not finite ends the run with its name, and the simulators never meet a NaN."""
    config = tiny(sac=SacConfig(warm_up_vector_steps=30, batch_size_per_task=8, learning_rate=1e18))
    with pytest.raises(DivergedError, match=r"the \w+ loss was (-?inf|nan) at environment step \d+"):
        train(config, store=tmp_path / "run.zarr", schedule=every(1))
    run = xarray.open_datatree(tmp_path / "run.zarr", engine="zarr")
    assert run.attrs["state"] == "failed"
    assert "loss was" in run.attrs["error"]
    assert run["diagnostics"].sizes["step"] >= 1


def test_an_interrupted_run_is_closed_and_readable(tiny: ConfigMaker, tmp_path: Path) -> None:
    """Ctrl-C leaves the records made so far."""

    def interrupt(progress: Progress) -> None:
        if progress.env_steps == 40:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(tiny(), store=tmp_path / "run.zarr", schedule=every(1), on_progress=interrupt)
    run = xarray.open_datatree(tmp_path / "run.zarr", engine="zarr")
    assert run.attrs["state"] == "interrupted"
    assert run["diagnostics"].sizes["step"] == 10


def test_a_store_that_exists_is_refused_before_anything_is_trained(tiny: ConfigMaker, tmp_path: Path) -> None:
    """An earlier run is never written over."""
    (tmp_path / "run.zarr").mkdir()
    with pytest.raises(StoreExistsError):
        train(tiny(), store=tmp_path / "run.zarr")
