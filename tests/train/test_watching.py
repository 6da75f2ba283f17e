"""What a training tells of itself."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from torch import Tensor, nn

import plastikit
from plastikit.errors import ConfigurationError
from plastikit.train.config import NetworkConfig, ProbeSetConfig, SacConfig, TrainingConfig
from plastikit.train.probe_set import ProbeSet, probe_states
from plastikit.train.replay import Batch
from plastikit.train.sac import SoftActorCritic
from plastikit.train.suites import sizes
from plastikit.train.watching import Watch, watched
from plastikit.watch.schedule import at, every

CONFLICT = ("gradient_cosine", "gradient_conflict_fraction", "gradient_norm_ratio", "gradient_cosine_floor")


def config(tasks: str = "pendulum/3", *, probe_tasks: str | None = None, **changes: Any) -> TrainingConfig:
    """Small networks of the tasks, scored on a few states."""
    network = NetworkConfig(width=8, depth=2)
    return TrainingConfig(
        **{
            "tasks": tasks,
            "actor": network,
            "critic": network,
            "sac": SacConfig(has_task_weights=True),
            "probe_set": ProbeSetConfig(tasks=probe_tasks, samples=6),
            "device": "cpu",
        }
        | changes
    )


def agent_of(settings: TrainingConfig) -> SoftActorCritic:
    """Build the agent."""
    observation, action = sizes(settings.task_names)
    return SoftActorCritic(settings, observation_size=observation, action_size=action)


def batch_of(settings: TrainingConfig, seed: int = 0, samples: int = 6) -> Batch:
    """Draw transitions that mean nothing."""
    observation, action = sizes(settings.task_names)
    generator = torch.Generator().manual_seed(seed)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(settings.task_count, samples, *shape, generator=generator)

    return Batch(drawn(observation), drawn(action).tanh(), drawn(), torch.zeros_like(drawn()), drawn(observation))


def diagnostics(store: Path) -> xr.Dataset:
    """Read what the probes measured."""
    return plastikit.open_run(store)["diagnostics"].to_dataset()


def update(agent: SoftActorCritic, settings: TrainingConfig, watch: Watch, number: int) -> None:
    """Learn from one batch, as the training loop does."""
    watch.stamp(10 * number)
    agent.update(batch_of(settings, number), watch.tell if watch.is_due else None)


def test_conflict_is_that_between_the_tasks_gradients(tmp_path: Path) -> None:
    """Each network's conflict equals cosines computed by hand from each task's loss, on weights that tasks share."""
    settings = config()
    agent = agent_of(settings)
    networks: dict[str, nn.Module] = {
        "actor": agent.actor,
        **{f"critic_{i}": each for i, each in enumerate(agent.critics)},
    }
    of_loss = {"actor": ["actor"], "critic": ["critic_0", "critic_1"]}
    expected: dict[str, list[Tensor]] = {}

    with watched(agent, settings, store=tmp_path / "run.zarr", probes=["conflict"], schedule=at([0])) as watch:

        def tell(name: str, losses: Tensor) -> None:
            for network in of_loss[name]:
                shared = list(networks[network].get_submodule("trunk").parameters())
                expected[network] = [
                    torch.cat([each.flatten() for each in torch.autograd.grad(loss.mean(), shared, retain_graph=True)])
                    for loss in losses
                ]
            watch.tell(name, losses)

        agent.update(batch_of(settings), tell)

    told = diagnostics(tmp_path / "run.zarr").sel(step=0)
    for network, gradients in expected.items():
        pairs = list(itertools.combinations(gradients, 2))
        cosines = [(torch.dot(a, b) / (a.norm() * b.norm())).item() for a, b in pairs]
        ratios = [(min(a.norm(), b.norm()) / max(a.norm(), b.norm())).item() for a, b in pairs]
        values = {name: told[name].sel(network=network).item() for name in CONFLICT}
        assert values["gradient_cosine"] == pytest.approx(np.mean(cosines), abs=1e-5)
        assert values["gradient_conflict_fraction"] == pytest.approx(np.mean(np.array(cosines) < 0), abs=1e-6)
        assert values["gradient_norm_ratio"] == pytest.approx(np.mean(ratios), abs=1e-5)
        assert -1.0 <= values["gradient_cosine_floor"] <= 1.0


def test_step_zero_is_recorded_whole_whatever_the_schedule(tmp_path: Path) -> None:
    """Before the first update everything is measured of all three networks, conflict and the probe set included."""
    settings = config()
    agent = agent_of(settings)
    with watched(agent, settings, store=tmp_path / "run.zarr", schedule=every(4, costly=8)) as watch:
        watch.stamp(40)
        watch.observe()
        assert watch.is_due
        for number in range(6):
            update(agent, settings, watch, 4 + number)
        assert not watch.is_due
    told = diagnostics(tmp_path / "run.zarr")
    assert told["step"].values.tolist() == [0, 4]
    assert told["env_step"].values.tolist() == [40, 80]
    assert told["network"].values.tolist() == ["actor", "critic_0", "critic_1"]
    for name in (*CONFLICT, "network_dormant_fraction", "gradient_noise_scale"):
        assert told[name].sizes["network"] == 3
    for name in CONFLICT:
        assert told[name].sel(step=0).notnull().all()
        assert told[name].sel(step=4).isnull().all()
    for name in ("feature_rank", "observed_feature_rank", "group_dormant_fraction", "observed_group_dormant_fraction"):
        assert told[name].sel(step=0).notnull().all(), name
    assert told.sizes["group"] == 3


def test_only_updates_that_are_recorded_pay_for_conflict(tmp_path: Path) -> None:
    """Beside the training's own backward, losses are differentiated at costly records, and once for each."""
    settings = config()
    agent = agent_of(settings)
    passes: dict[tuple[int, str], int] = {}

    with watched(agent, settings, store=tmp_path / "run.zarr", schedule=every(2, costly=4)) as watch:
        for number in range(6):

            def tell(name: str, losses: Tensor, number: int = number) -> None:
                def count(_: Tensor) -> None:
                    passes[number, name] = passes.get((number, name), 0) + 1

                losses.register_hook(count)
                watch.tell(name, losses)

            agent.update(batch_of(settings, number), tell)
    assert {number for (number, _), count in passes.items() if count > 1} == {0, 4}
    assert all(passes[number, name] > 2 for number in (0, 4) for name in ("actor", "critic"))
    assert passes[0, "critic"] == passes[4, "critic"]
    assert passes[0, "actor"] == passes[4, "actor"]


def test_without_a_store_nothing_happens() -> None:
    """The same calls, and the same updates, bit for bit, as of a training that is watched."""
    settings = config()
    agent = agent_of(settings)
    with watched(agent, settings, store=None) as watch:
        update(agent, settings, watch, 0)
        watch.observe()
        watch.log(actor_loss=1.0)
        watch.evaluation(success_rate={}, episode_return={})
        assert not watch.is_due
        assert watch.state_dict() == {}


def test_watching_changes_no_update(tmp_path: Path) -> None:
    """Weights are the same bit for bit with and without a store."""
    settings = config()
    agents = []
    for store in (None, tmp_path / "run.zarr"):
        agent = agent_of(settings)
        with watched(agent, settings, store=store, schedule=every(2)) as watch:
            watch.observe()
            for number in range(3):
                update(agent, settings, watch, number)
            watch.observe()
        agents.append(agent)
    plain, seen = ({**agent.actor.state_dict(), **agent.critics[1].state_dict()} for agent in agents)
    assert all(torch.equal(plain[name], seen[name]) for name in plain)


def test_networks_of_different_task_counts_are_scored_on_the_same_states(tmp_path: Path) -> None:
    """Runs of 1 and of 3 tasks of one draw carry one hash, and each is scored on its own place for the common task."""
    hashes = []
    for count in (1, 3):
        settings = config(str(count), probe_tasks="1")
        agent = agent_of(settings)
        store = tmp_path / f"{count}.zarr"
        with watched(agent, settings, store=store, probes=["dormancy"], schedule=at([0])) as watch:
            watch.observe()
            update(agent, settings, watch, 0)
        told = diagnostics(store).sel(step=0)
        hashes.append(plastikit.open_run(store).attrs["configuration"]["probe_states"]["hash"])
        states = probe_states(settings)
        task = settings.task_names.index(states.tasks[0])
        observation = torch.from_numpy(states.observation)
        full = torch.zeros(count, *observation.shape[1:])
        full[task] = observation[0]
        fresh = agent_of(settings)
        seen: list[Tensor] = []
        fresh.actor.get_submodule("trunk.hidden_1").register_forward_hook(
            lambda _module, _inputs, output, seen=seen: seen.append(output)
        )
        fresh.actor(full)
        activation = seen[0].view(count, -1, 8)[task].abs().mean(dim=0)
        expected = (activation <= 0.1 * activation.mean()).float().mean().item()
        observed = told["observed_dormant_fraction"].sel(layer="actor.trunk.hidden_1", tau=0.1)
        assert observed.item() == pytest.approx(expected)
        by_group = told["observed_group_dormant_fraction"].sel(layer="actor.trunk.hidden_1", tau=0.1, group=task)
        assert by_group.item() == pytest.approx(expected)
        assert told["observed_dormant_fraction"].sel(tau=0.1).notnull().all()
    assert hashes[0] == hashes[1]
    (kept,) = tmp_path.glob("*.npz")
    assert hashes[0].startswith(kept.stem.removeprefix("probe-set-"))
    with np.load(kept) as archive:
        again = ProbeSet(tuple(archive["tasks"].tolist()), 0, archive["observation"], archive["action"])
    assert again.hash == hashes[0]


def test_a_probe_set_that_does_not_fit_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    """No store is begun for a run that could not be scored."""
    settings = config("pendulum/2", probe_tasks="reach-v3")
    store = tmp_path / "run.zarr"
    with (
        pytest.raises(ConfigurationError, match="Choose probe tasks that every run trains on"),
        watched(agent_of(settings), settings, store=store),
    ):
        pass
    assert not store.exists()


@pytest.mark.parametrize("cut_at", [2, 3])
def test_a_watch_goes_on_where_it_stood(cut_at: int, tmp_path: Path) -> None:
    """Cut off after an evaluation, at a step that is recorded or not, the record ends as one that was never cut off."""
    settings = config()

    def learn(watch: Watch, agent: SoftActorCritic, numbers: range) -> None:
        for number in numbers:
            update(agent, settings, watch, number)
            watch.log(loss=float(number))
            if number + 1 == cut_at:
                watch.evaluation(success_rate={"a": 0.5}, episode_return={"a": 1.0})
                watch.observe()

    def run(store: Path, body: Callable[[Watch, SoftActorCritic], None], **resume: Any) -> None:
        agent = agent_of(settings)
        if resume:
            agent.load_state_dict(resume.pop("agent"))
        with watched(agent, settings, store=store, schedule=every(2), **resume) as watch:
            body(watch, agent)

    def whole(watch: Watch, agent: SoftActorCritic) -> None:
        watch.observe()
        learn(watch, agent, range(6))

    state: dict[str, Any] = {}

    def first(watch: Watch, agent: SoftActorCritic) -> None:
        watch.observe()
        learn(watch, agent, range(cut_at))
        torch.save({"agent": agent.state_dict(), "resume": watch.state_dict()}, tmp_path / "state.pt")
        state.update(torch.load(tmp_path / "state.pt", weights_only=True))
        learn(watch, agent, range(cut_at, 5))
        raise KeyboardInterrupt

    run(tmp_path / "whole.zarr", whole)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut.zarr", first)
    run(tmp_path / "cut.zarr", lambda watch, agent: learn(watch, agent, range(cut_at, 6)), **state)

    for group in ("diagnostics", "training", "evaluation"):
        expected, found = (
            plastikit.open_run(tmp_path / f"{name}.zarr")[group].to_dataset() for name in ("whole", "cut")
        )
        timed: Mapping[Any, Any] = {"wall_time": None, "probe_seconds": None}
        drop = [name for name in timed if name in expected.variables]
        xr.testing.assert_identical(expected.drop_vars(drop), found.drop_vars(drop))
