"""Other ways to train: several backwards or forwards to an update, several optimizers, mixed precision."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from zoo import models_dense as dense
from zoo.reckoning import Reckoning
from zoo.training import Moment, Training, widened


class Accumulating(Training):
    """Three batches to an update; the last forward is the one that counts."""

    def step(self, number: int) -> None:
        """One update."""
        self.optimizers[0].zero_grad()
        for _ in range(3):
            inputs = self.batch(number)
            self.note(inputs)
            (self.loss(self.forward(*inputs)) / 3).backward()
            if self.is_noting and _ < 2:
                self.moments.pop()
        self.optimizers[0].step()
        self.note_update()

    def reckon(self, moment: Moment) -> Reckoning:
        """The gradients of the last batch, of which the loss is a third."""
        reckoning = super().reckon(moment)
        for noted in reckoning.layers.values():
            for tensor in noted.outputs:
                if tensor.grad is not None:
                    tensor.grad = tensor.grad / 3
        return reckoning


class Shared(Training):
    """Each half of the parameters has an optimizer of its own; one has momentum and the other weight decay."""

    def make_optimizers(self) -> list[Optimizer]:
        """Two of them."""
        parameters = list(self.model.parameters())
        return [
            torch.optim.SGD(parameters[: len(parameters) // 2], lr=0.01, momentum=0.9),
            torch.optim.AdamW(parameters[len(parameters) // 2 :], lr=0.01, amsgrad=True),
        ]


class Closure(Training):
    """An optimizer that computes the gradients itself, once."""

    def make_optimizers(self) -> list[Optimizer]:
        """One step of gradient descent to a step."""
        return [torch.optim.SGD(self.model.parameters(), lr=0.05)]

    def step(self, number: int) -> None:
        """One update."""
        inputs = self.batch(number)

        def closure() -> Tensor:
            self.optimizers[0].zero_grad()
            self.note(inputs)
            loss = self.loss(self.forward(*inputs))
            loss.backward()
            return loss

        self.optimizers[0].step(closure)
        self.note_update()


@dataclass
class Twin(Training):
    """Measured on a copy of the model as it stood, with hooks on modules that are named; in the same precision."""

    labels: dict[str, str] = field(default_factory=dict)
    """Each module that is a layer, and its function."""
    context: Callable[[], AbstractContextManager[Any]] = nullcontext
    twins: list[nn.Module] = field(default_factory=list)

    def forward(self, *inputs: Any) -> Tensor:
        """In the precision that is tested."""
        with self.context():
            return super().forward(*inputs)

    def note(self, inputs: tuple[Any, ...]) -> None:
        """Copy the model as well."""
        super().note(inputs)
        if self.is_noting:
            self.moments[-1].twin = copy.deepcopy(self.model)

    def reckon(self, moment: Moment) -> Reckoning:
        """What the twin's modules put out."""
        reckoning = Reckoning()

        def noting(label: str, function: str) -> Callable[..., None]:
            def hook(_module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
                reckoning.note(label, output, args[0], function=function)

            return hook

        for label, function in self.labels.items():
            moment.twin.get_submodule(label).register_forward_hook(noting(label, function))
        with torch.random.fork_rng():
            torch.set_rng_state(moment.random_state)
            with self.context():
                output = moment.twin(*moment.inputs)
        self.loss(output).backward()
        return reckoning


def mixed(dtype: torch.dtype) -> Callable[[], AbstractContextManager[Any]]:
    """Mixed precision on this machine."""
    return lambda: torch.autocast("cpu", dtype)


def autocast(dtype: torch.dtype) -> Training:
    """Mixed precision without a scaler."""
    return Twin(dense.by_modules, dense.rows, dense.of_modules, labels={"1": "relu", "4": "tanh"}, context=mixed(dtype))


@dataclass
class Scaled(Twin):
    """Mixed precision with a scaler of the loss; what is clipped is unscaled by hand first."""

    scale: float = 2.0**12
    is_fused: bool = False
    is_clipped: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self.scaler = torch.amp.GradScaler("cpu", init_scale=self.scale, growth_interval=40)

    def make_optimizers(self) -> list[Optimizer]:
        """One that unscales by itself where it is fused."""
        return [torch.optim.Adam(self.model.parameters(), lr=0.01, fused=self.is_fused)]

    def step(self, number: int) -> None:
        """One update, or none where the scaler finds a gradient that is not finite."""
        self.optimizers[0].zero_grad()
        inputs = self.batch(number)
        self.note(inputs)
        self.scaler.scale(self.loss(self.forward(*inputs))).backward()
        if self.is_clipped:
            self.scaler.unscale_(self.optimizers[0])
            nn.utils.clip_grad_norm_(self.model.parameters(), 0.1)
        self.scaler.step(self.optimizers[0])
        self.scaler.update()
        self.note_update()


def scaled(**options: Any) -> Training:
    """Half precision, a scaler, the model of ``dense.by_modules``."""
    return Scaled(
        dense.by_modules,
        dense.rows,
        dense.of_modules,
        labels={"1": "relu", "4": "tanh"},
        context=mixed(torch.float16),
        **options,
    )


class ActorCritic(Training):
    """Two networks in one loss: the actor's goes through the critic; a third is the critic's target."""

    def __init__(self, order: str = "critic first") -> None:
        self.order = order
        self.batch = dense.rows
        self.__post_init__()
        self.networks: dict[str, list[Moment]] = {"actor": [], "critic": []}

    def build(self) -> Any:
        """Actor and critic; the target is not watched."""
        actor = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 2), nn.Tanh())
        critic = nn.Sequential(nn.Linear(7, 6), nn.ReLU(), nn.Dropout(0.0), nn.Linear(6, 1))
        self.target = copy.deepcopy(critic)
        return {"actor": actor, "critic": critic}

    def make_optimizers(self) -> list[Optimizer]:
        """One for each."""
        return [torch.optim.Adam(model.parameters(), lr=0.01) for model in self.model.values()]

    def step(self, number: int) -> None:
        """One update of each."""
        states, following, actions = torch.randn(12, 5), torch.randn(12, 5), torch.rand(12, 2)
        actor, critic = self.model.values()
        with torch.no_grad():
            target = self.target(torch.cat([following, actor(following)], 1)) * 0.9 + states[:, :1]
        if self.order == "critic first":
            self.update_critic(states, actions, target)
            self.update_actor(states)
        elif self.order == "actor first":
            self.update_actor(states)
            self.update_critic(states, actions, target)
        else:
            self.update_actor(states, is_stepping=False)
            self.update_critic(states, actions, target)
            self.finish("actor", self.optimizers[0])
        with torch.no_grad():
            for kept, parameter in zip(self.target.parameters(), critic.parameters(), strict=True):
                kept.lerp_(parameter, 0.1)

    def update_critic(self, states: Tensor, actions: Tensor, target: Tensor) -> None:
        """The critic's own loss."""
        self.optimizers[1].zero_grad()
        self.remember("critic", (states, actions, target))
        value = self.model["critic"](torch.cat([states, actions], 1))
        (value - target).square().mean().backward()
        self.finish("critic", self.optimizers[1])

    def update_actor(self, states: Tensor, *, is_stepping: bool = True) -> None:
        """The actor's loss, in which the critic is at work."""
        self.optimizers[0].zero_grad()
        self.remember("actor", (states,))
        proposed = self.model["actor"](states)
        (-self.model["critic"](torch.cat([states, proposed], 1)).mean()).backward()
        if is_stepping:
            self.finish("actor", self.optimizers[0])

    def remember(self, name: str, inputs: tuple[Tensor, ...]) -> None:
        """Copy both networks by hand."""
        if self.is_noting:
            before = {
                f"{owner}.{path}": tensor.detach().clone()
                for owner, network in self.model.items()
                for path, tensor in network.named_parameters()
            }
            self.networks[name].append(Moment(before, {}, torch.get_rng_state(), inputs))

    def finish(self, name: str, optimizer: Optimizer) -> None:
        """Update, and copy what the optimizer saw and did."""
        if self.is_noting:
            moment = self.networks[name][-1]
            moment.gradients = {f"{name}.{p}": t.grad.clone() for p, t in self.model[name].named_parameters()}
        optimizer.step()
        if self.is_noting:
            moment.after = {f"{name}.{path}": t.detach().clone() for path, t in self.model[name].named_parameters()}

    def reckon_network(self, name: str, moment: Moment) -> Reckoning:
        """The layers of one network in the loss that it was updated for."""
        values = {path: tensor.double().requires_grad_() for path, tensor in moment.before.items()}
        reckoning, aside = Reckoning(), Reckoning()
        states, *others = map(widened, moment.inputs)
        if name == "critic":
            actions, target = others
            value = self._critic(values, reckoning, torch.cat([states, actions], 1))
            (value - target).square().mean().backward()
        else:
            hidden = reckoning.relu("actor.1", dense.affine(values, "actor.0", states))
            proposed = torch.tanh(dense.affine(values, "actor.2", hidden))
            (-self._critic(values, aside, torch.cat([states, proposed], 1)).mean()).backward()
        return reckoning

    def _critic(self, values: dense.Values, reckoning: Reckoning, given: Tensor) -> Tensor:
        hidden = reckoning.relu("critic.1", dense.affine(values, "critic.0", given))
        return dense.affine(values, "critic.3", hidden)
