"""Several networks at several paces: each record belongs to the update that it says."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from oracles.actor_critic import NETWORKS, ActorCritic
from oracles.replay import assert_record
from oracles.runs import group
from plastikit.watch.attach import attach
from plastikit.watch.schedule import Every, at, every


@pytest.mark.parametrize("interval", [1, 3])
def test_three_networks_two_optimizers(interval: int, tmp_path: Path) -> None:
    """Each network is seen on the batch of its own update, although the critics are used in the actor's loss later."""
    watched, by_hand = ActorCritic(), ActorCritic()
    with watched.attach(tmp_path / "run.zarr", schedule=every(interval)) as monitor:
        for number in range(7):
            watched.round(number, monitor)
    for number in range(7):
        by_hand.round(number)
    run = group(tmp_path / "run.zarr", "diagnostics")
    assert run["step"].values.tolist() == list(range(0, 7, interval))
    assert list(run["network"].values) == list(NETWORKS)
    for step in run["step"].values.tolist():
        assert_record(run, step, {name: by_hand.moments[name, step] for name in NETWORKS})
    training = group(tmp_path / "run.zarr", "training")
    assert training["step"].values.tolist() == list(range(1, 8))


@pytest.mark.parametrize("interval", [1, 2, 4])
def test_delayed_actor(interval: int, tmp_path: Path) -> None:
    """An actor that updates every second round is measured at its own updates; where it had none, it is NaN."""
    watched, by_hand = ActorCritic(delay=2), ActorCritic(delay=2)
    with watched.attach(tmp_path / "run.zarr", schedule=every(interval)):
        for number in range(8):
            watched.round(number)
    for number in range(8):
        by_hand.round(number)
    run = group(tmp_path / "run.zarr", "diagnostics")
    assert run["step"].values.tolist() == list(range(0, 8, interval))
    for step in run["step"].values.tolist():
        moments = {name: by_hand.moments[name, step] for name in ("critic_0", "critic_1")}
        # It updates in the rounds 1, 3, 5 and 7: a record due at an even step waits for the next round, if it may.
        own = step if step % 2 else step + 1
        if own < step + interval:
            moments["actor"] = by_hand.moments["actor", own]
        assert_record(run, step, moments)


def test_scalars_of_a_delayed_actor_keep_their_rounds(tmp_path: Path) -> None:
    """Scalars given after each round stand in a row each, whether the actor took part in it or not."""
    watched = ActorCritic(delay=2)
    with watched.attach(tmp_path / "run.zarr") as monitor:
        for number in range(6):
            watched.round(number)
            monitor.step(number=number)
            assert monitor.steps == number + 1
    training = group(tmp_path / "run.zarr", "training")
    assert training["step"].values.tolist() == [1, 2, 3, 4, 5, 6]
    assert training["number"].values.tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.filterwarnings("ignore:no forward")
def test_an_actor_that_never_updates_holds_nothing_up(tmp_path: Path) -> None:
    """Records reach the disk although one network never takes part."""
    watched = ActorCritic(delay=1000)
    with watched.attach(tmp_path / "run.zarr", schedule=every(2)) as monitor:
        for number in range(7):
            watched.round(number)
        monitor._store.commit()
        assert group(tmp_path / "run.zarr", "diagnostics")["step"].values.tolist() == [0, 2, 4]
    run = group(tmp_path / "run.zarr", "diagnostics")
    assert run["step"].values.tolist() == [0, 2, 4, 6]
    assert np.isnan(run["network_weight_norm"].sel(network="actor")).all()
    assert not np.isnan(run["network_weight_norm"].sel(network="critic_1")).any()


def test_observing_between_the_rounds_of_a_delayed_actor(tmp_path: Path) -> None:
    """A probe batch measured while an earlier record still waits is stored after it, not before."""
    watched = ActorCritic(delay=3)
    states = torch.randn(4, 3)
    with watched.attach(tmp_path / "run.zarr", schedule=every(3)) as monitor:
        for number in range(6):
            watched.round(number)
            monitor.observe({"actor": states})
    run = group(tmp_path / "run.zarr", "diagnostics")
    assert run["step"].values.tolist() == [0, 1, 2, 3, 4, 5, 6]
    seen = ~np.isnan(run["observed_srank"].sel(layer="actor.1").values)
    assert seen.tolist() == [False, True, True, True, True, True, True]
    assert (~np.isnan(run["srank"].sel(layer="actor.1").values)).tolist() == [True, False, False, True, *[False] * 3]


@pytest.mark.filterwarnings("ignore:no forward")
def test_a_network_without_an_optimizer_is_measured_with_the_round(tmp_path: Path) -> None:
    """A target network is recorded as it stands at the end of the round: weights, but no gradient and no update."""
    model, target = (nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1)) for _ in range(2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with attach({"model": model, "target": target}, optimizer=optimizer, store=tmp_path / "run.zarr"):
        with torch.no_grad():
            target(torch.ones(4, 2))
        model(torch.ones(4, 2)).sum().backward()
        optimizer.step()
    run = group(tmp_path / "run.zarr", "diagnostics").isel(step=0)
    norm = run["weight_norm"].sel(parameter="target.0.weight").item()
    assert norm == pytest.approx(target.get_parameter("0.weight").norm().item())
    assert np.isnan(run["gradient_norm"].sel(parameter="target.0.weight"))
    assert np.isnan(run["update_to_weight_ratio"].sel(parameter="target.0.weight"))
    assert list(run["layer"].values) == ["model.1"]


def test_an_encoder_that_two_networks_share(tmp_path: Path) -> None:
    """The actor is seen in its own forward, although its encoder belongs to the critic's optimizer and forwards."""
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Linear(3, 5), nn.ReLU())
    actor = nn.Sequential(encoder, nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 1))
    critic = nn.Sequential(encoder, nn.Linear(5, 1))
    of_critic = torch.optim.SGD(critic.parameters(), lr=0.1)
    of_actor = torch.optim.SGD([*actor[1].parameters(), *actor[3].parameters()], lr=0.1)
    with attach({"actor": actor, "critic": critic}, optimizer=[of_critic, of_actor], store=tmp_path / "run.zarr"):
        of_critics = torch.randn(7, 3)
        critic(of_critics).square().mean().backward()
        critic_saw = encoder(of_critics)
        of_critic.step()
        of_actors = torch.randn(7, 3)
        actor_saw = encoder(of_actors)
        actor(of_actors).sum().backward()
        critic(torch.randn(7, 3))
        of_actor.step()
    run = group(tmp_path / "run.zarr", "diagnostics").isel(step=0)
    units = run["unit_activation"]
    layers = list(run["layer"].values)
    for layer, saw in (("actor.0.1", actor_saw), ("critic.0.1", critic_saw)):
        found = units.values[run["unit_layer"].values == layers.index(layer)]
        np.testing.assert_allclose(found, saw.detach().abs().mean(0).numpy(), rtol=1e-5)


def test_the_order_of_the_optimizers_may_change(tmp_path: Path) -> None:
    """Rounds are counted right whichever optimizer steps first."""
    one, two = nn.Sequential(nn.Linear(2, 2), nn.ReLU()), nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    optimizers = {"one": torch.optim.SGD(one.parameters(), lr=0.1), "two": torch.optim.SGD(two.parameters(), lr=0.1)}
    with attach(
        {"one": one, "two": two}, optimizer=optimizers, store=tmp_path / "run.zarr", schedule=every(1)
    ) as monitor:
        for first, second in itertools.islice(itertools.cycle([("one", "two"), ("two", "one")]), 5):
            for network in (one, two):
                network(torch.randn(3, 2)).sum().backward()
            optimizers[first].step()
            optimizers[second].step()
        assert monitor.steps == 5
    run = group(tmp_path / "run.zarr", "diagnostics")
    assert run["step"].values.tolist() == [0, 1, 2, 3, 4]
    assert not np.isnan(run["srank"]).any()
    assert not np.isnan(run["update_to_weight_ratio"].sel(parameter=["one.0.weight", "two.0.weight"])).any()


def test_a_forward_before_the_round_is_known_to_be_over(tmp_path: Path) -> None:
    """With a due step right after an idle one, forwards that come before any optimizer steps are not missed."""
    one, two = nn.Sequential(nn.Linear(2, 2), nn.ReLU()), nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    of_one, of_two = torch.optim.SGD(one.parameters(), lr=0.1), torch.optim.SGD(two.parameters(), lr=0.1)
    with attach({"one": one, "two": two}, optimizer=[of_one, of_two], store=tmp_path / "run.zarr", schedule=at([3])):
        for number in range(5):
            for network in (one, two):
                network(torch.randn(3, 2)).sum().backward()
            of_one.step()
            if number != 2:
                of_two.step()
    run = group(tmp_path / "run.zarr", "diagnostics")
    assert run["step"].values.tolist() == [0, 3]
    assert not np.isnan(run["srank"]).any()


def test_the_schedule_is_asked_once_for_each_step(tmp_path: Path) -> None:
    """A schedule that keeps a state of its own is asked for every step once, in order."""
    asked: list[int] = []
    watched = ActorCritic()
    with watched.attach(tmp_path / "run.zarr", schedule=lambda step: asked.append(step) or step == 2):  # type: ignore[func-returns-value]
        for number in range(4):
            watched.round(number)
    assert asked == [1, 2, 3, 4]
    assert group(tmp_path / "run.zarr", "diagnostics")["step"].values.tolist() == [0, 2]


@pytest.mark.filterwarnings("ignore:two was updated")
def test_a_forward_of_the_round_before_does_not_count(tmp_path: Path) -> None:
    """What was seen early and belonged to an update already made is not taken for the next one's."""
    one, two = nn.Sequential(nn.Linear(2, 2), nn.ReLU()), nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    of_one, of_two = torch.optim.SGD(one.parameters(), lr=0.1), torch.optim.SGD(two.parameters(), lr=0.1)
    with attach({"one": one, "two": two}, optimizer=[of_one, of_two], store=tmp_path / "run.zarr", schedule=at([2])):
        for number in range(3):
            one(torch.randn(3, 2)).sum().backward()
            of_one.step()
            if number < 2:
                two(torch.randn(3, 2)).sum().backward()
            of_two.step()
    run = group(tmp_path / "run.zarr", "diagnostics")
    assert np.isnan(run["srank"].sel(step=2, layer="two.1"))
    assert not np.isnan(run["srank"].sel(step=2, layer="one.1"))
    (message,) = group(tmp_path / "run.zarr", "events")["message"].values
    assert "two was updated without a forward" in message


def test_between_records_nobody_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every so many steps: the schedule is asked just after a record, and when the next one is due."""
    asked: list[int] = []
    schedule = type(every(1)).__call__

    def note(self: Every, step: int) -> bool:
        asked.append(step)
        return schedule(self, step)

    monkeypatch.setattr(Every, "__call__", note)
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    monitor = attach(model, optimizer=optimizer, store=tmp_path / "run.zarr", schedule=every(10), probes=["parameters"])
    for _ in range(25):
        optimizer.zero_grad()
        model(torch.ones(2, 3)).sum().backward()
        optimizer.step()
    monitor.close()
    assert asked == [1, 2, 10, 11, 12, 20, 21, 22]
    assert group(tmp_path / "run.zarr", "diagnostics")["step"].values.tolist() == [0, 10, 20]


def test_losses_of_the_update_before_a_records_are_not_looked_at(tmp_path: Path) -> None:
    """A record is opened when the first of two networks has stepped; the second's update of that round is not its."""
    networks = {"first": nn.Linear(3, 1), "second": nn.Linear(3, 1)}
    optimizers = {name: torch.optim.SGD(network.parameters()) for name, network in networks.items()}
    looked_at: list[tuple[int, str]] = []
    with attach(
        networks,
        optimizer=optimizers,
        store=tmp_path / "run.zarr",
        schedule=every(2),
        probes=["conflict"],
        layers={"*": 1},
    ) as monitor:
        for number in range(5):
            for name, network in networks.items():
                losses = network(torch.randn(8, 3)).square()
                passes: list[torch.Tensor] = []
                losses.register_hook(passes.append)
                monitor.losses(losses, groups=[0, 1] * 4, network=name)
                if passes:
                    looked_at.append((number, name))
                losses.mean().backward()
                optimizers[name].step()
    assert looked_at == [(number, name) for number in (0, 2, 4) for name in ("first", "second")]
