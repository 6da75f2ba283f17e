"""A training of three networks under two optimizers, watched or copied by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from oracles import replay
from oracles.replay import Moment
from plastikit.watch.attach import attach
from plastikit.watch.monitor import Monitor

NETWORKS = ("actor", "critic_0", "critic_1")


class ActorCritic:
    """Soft actor-critic in small: one optimizer for both critics, which the actor's loss goes through as well."""

    def __init__(self, *, delay: int = 1) -> None:
        torch.manual_seed(3)
        self.networks = {
            "actor": nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2)),
            "critic_0": nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 1)),
            "critic_1": nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 1)),
        }
        self.critics = [self.networks["critic_0"], self.networks["critic_1"]]
        self.of_actor = torch.optim.Adam(self.networks["actor"].parameters(), lr=0.01)
        self.of_critics = torch.optim.Adam([p for critic in self.critics for p in critic.parameters()], lr=0.01)
        self.delay = delay
        self.moments: dict[tuple[str, int], Moment] = {}
        self.initial = {name: replay.parameters(net, f"{name}.") for name, net in self.networks.items()}
        self.generator = torch.Generator().manual_seed(11)

    def attach(self, path: Path, **options: Any) -> Monitor:
        optimizers = {"actor": self.of_actor, "critic": self.of_critics}
        return attach(self.networks, optimizer=optimizers, store=path, **options)

    def round(self, number: int, monitor: Monitor | None = None) -> None:
        """One round; without a monitor everything that a record needs is copied by hand."""
        states = torch.randn(9, 3, generator=self.generator)
        actions = torch.randn(9, 2, generator=self.generator)
        with torch.no_grad():
            # What must not be looked at: targets, evaluation, acting.
            target = torch.minimum(
                *(critic(torch.cat([states + 5, self.networks["actor"](states + 5)], 1)) for critic in self.critics)
            )
        hidden: dict[str, Tensor] = {}
        pair = torch.cat([states, actions], 1)
        loss = torch.stack(
            [(self.forward(f"critic_{k}", pair, hidden) - target).square().mean() for k in range(2)]
        ).sum()
        self.of_critics.zero_grad()
        loss.backward()
        self.update(("critic_0", "critic_1"), self.of_critics, number, hidden)
        if number % self.delay == self.delay - 1:
            hidden = {}
            proposed = self.forward("actor", states, hidden)
            value = torch.minimum(*(critic(torch.cat([states, proposed], 1)) for critic in self.critics))
            self.of_actor.zero_grad()
            (-value.mean()).backward()
            self.update(("actor",), self.of_actor, number, hidden)
        if monitor is not None:
            monitor.step(loss=loss)

    def forward(self, name: str, inputs: Tensor, hidden: dict[str, Tensor]) -> Tensor:
        output: Tensor = self.networks[name](inputs)
        first, activation, _ = self.networks[name].children()
        with torch.no_grad():
            hidden[name] = activation(first(inputs))
        return output

    def update(
        self, names: tuple[str, ...], optimizer: torch.optim.Optimizer, number: int, hidden: dict[str, Tensor]
    ) -> None:
        for name in names:
            net, prefix = self.networks[name], f"{name}."
            self.moments[name, number] = Moment(
                name,
                features={f"{prefix}1": replay.by_unit(hidden[name], 1)},
                initial=self.initial[name],
                before=replay.parameters(net, prefix),
                gradients=replay.gradients(net, prefix),
            )
        optimizer.step()
        for name in names:
            self.moments[name, number].after = replay.parameters(self.networks[name], f"{name}.")
