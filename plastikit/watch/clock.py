"""One network on its way to a record: due, begun, updated by each of its optimizers, finished."""

from __future__ import annotations

import fnmatch
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer

from plastikit.watch.capture import OF_BACKWARD, NetworkWatch
from plastikit.watch.pieces import pieces_of, pieces_of_groups
from plastikit.watch.probe import Capture, Needs, Pieces
from plastikit.watch.sight import Sight, deaf

Losses = Tensor | Mapping[Any, Tensor]
"""The loss of each sample, or of each group."""


@dataclass(eq=False)
class Clock:
    """Where one network stands.

    Each parameter is looked at when its own optimizer steps: its gradient just before, its value just after. What a
    network with several optimizers showed is held back until the last of them steps.
    """

    watch: NetworkWatch
    owned: Mapping[int, frozenset[str]]
    """The optimizers that update the network, by identity, and the parameters that each of them updates."""
    initial: Mapping[str, Tensor] = field(default_factory=dict)
    """Parameters when the monitor was attached."""
    due: int | None = None
    """The step of the record that is on its way; None between records."""
    left: set[int] = field(default_factory=set)
    """Optimizers that have yet to step for that record; empty before the first of them does."""
    is_measured: bool = False
    """Whether what precedes the update was measured for that record."""
    before: dict[str, Tensor] = field(default_factory=dict)
    gradients: dict[str, Tensor | None] = field(default_factory=dict)
    updated: dict[str, Tensor] = field(default_factory=dict)
    optimizer_state: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    settings: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    pieces: Pieces | None = None
    """Gradients of pieces of the batch, where they were told for that record."""
    loss_scale: float = 1.0
    """What the loss was multiplied with, as mixed precision does."""

    @property
    def name(self) -> str:
        """The network's name."""
        return self.watch.name

    @property
    def is_shared(self) -> bool:
        """Whether several optimizers update the network."""
        return len(self.owned) > 1

    def open(self, step: int, needs: Needs) -> None:
        """Begin to look at forwards, for the record at ``step`` and what its probes need."""
        self.due = step
        self.watch.needs = needs
        self.watch.arm()

    def reread(self, optimizers: Sequence[Optimizer]) -> list[str]:
        """Follow parameters that changed hands, or were replaced, added or removed; what is lost by it, in words."""
        changed = self.watch.reread()
        self.owned = owned_by(self.watch, optimizers)
        if not changed:
            return []
        lost = sorted(changed & self.initial.keys())
        self.initial = {name: parameter for name, parameter in self.initial.items() if name not in changed}
        self.before = {name: parameter for name, parameter in self.before.items() if name not in changed}
        problems = [
            f"parameter {name} was {'replaced' if name in self.watch.named else 'removed'}; "
            "its distance from initialisation is not measured any more"
            for name in lost
        ]
        updated = set[str]().union(*self.owned.values())
        named = self.watch.named
        unheard = sorted(name for name in changed & named.keys() - updated if named[name].requires_grad)
        if optimizers and unheard:
            problems.append(
                f"no optimizer that was attached updates the new parameters {', '.join(unheard)}; the steps of an "
                "optimizer that was built since are not heard: attach again, with that one and to a new store"
            )
        return problems

    def start(self, *, copied: bool) -> None:
        """Take the parameters as they stand before the update; copied where they are needed after it."""
        self.left = set(self.owned)
        self.is_measured = False
        self.before = self.watch.snapshot() if copied else self.watch.current()
        # A gradient that no optimizer sees is none.
        self.gradients = (
            dict.fromkeys(self.watch.named.keys() - set().union(*self.owned.values())) if self.owned else {}
        )
        self.updated = {}

    def take_gradients(self, optimizer: Optimizer) -> None:
        """Take the gradients that ``optimizer`` sees, its settings for them; unscaled, where it does that itself."""
        scale = getattr(optimizer, "grad_scale", None)
        if self.watch.needs & OF_BACKWARD:
            # Nobody else needs it, and on a device it is waited for.
            self.loss_scale = loss_scale(optimizer)
        self.settings |= dict(self._groups(optimizer))
        gradients = self.watch.gradients()
        for name in self.owned[id(optimizer)]:
            gradient = gradients[name]
            if gradient is not None and scale is not None:
                gradient = gradient / scale.to(gradient.device)
            elif gradient is not None and self.is_shared:
                gradient = gradient.clone()
            self.gradients[name] = gradient
        is_first = self.left == set(self.owned)
        if self.is_shared and self.watch.has_seen_whole and (is_first or not self.watch.has_kept):
            self.watch.keep()

    def take_update(self, optimizer: Optimizer) -> None:
        """Take the parameters that ``optimizer`` has just updated."""
        self.left.discard(id(optimizer))
        current = self.watch.current()
        for name in self.owned[id(optimizer)]:
            self.updated[name] = current[name].clone() if self.is_shared else current[name]
            self.optimizer_state[name] = optimizer.state.get(self.watch.named[name], {})
        if not self.left:
            # What no optimizer updates stands where it stood.
            self.updated = current | self.updated

    def take_losses(self, losses: Losses, groups: Sequence[int] | Tensor | None, shared: Sequence[str] | None) -> None:
        """Take the gradients of pieces of the batch; losses that do not depend on this network say nothing of it."""
        if shared is not None:
            shared = [pattern for pattern in shared if fnmatch.filter(self.watch.named, pattern)]
            if not shared:
                return
        with deaf():
            pieces = (
                pieces_of_groups(losses, self.watch.named, shared=shared)
                if isinstance(losses, Mapping)
                else pieces_of(losses, groups, self.watch.named, shared=shared)
            )
        if pieces.gradients.shape[1]:
            self.pieces = pieces

    def take_all(self) -> None:
        """Take every gradient and every parameter as they stand, where no optimizer is listened to."""
        self.gradients = self.watch.gradients()
        self.updated = {name: parameter for name, parameter in self.watch.current().items() if name in self.before}

    def capture(self, sight: Sight | None) -> Capture:
        """All that was taken, as a probe is handed it."""
        return Capture(
            network=self.name,
            **(sight.shown(scale=self.loss_scale) if sight else {}),
            parameters=self.before,
            initial=self.initial,
            gradients=self.gradients,
            updated=self.updated,
            weights=self.watch.weights,
            optimizer_state=self.optimizer_state,
            settings=self.settings,
            pieces=self.pieces,
        )

    def _groups(self, optimizer: Optimizer) -> Iterator[tuple[str, dict[str, Any]]]:
        """The settings of each parameter that ``optimizer`` updates."""
        names = {id(parameter): name for name, parameter in self.watch.named.items()}
        for group in optimizer.param_groups:
            settings = {key: value for key, value in group.items() if key != "params"}
            yield from ((names[id(each)], settings) for each in group["params"] if id(each) in names)

    def release(self) -> None:
        """The record is over: let go of all that was taken for it, but not of the hooks."""
        self.due = None
        self.left.clear()
        self.before, self.gradients, self.updated = {}, {}, {}
        self.optimizer_state, self.settings, self.pieces = {}, {}, None
        self.loss_scale = 1.0
        self.watch.release()

    def stop(self) -> None:
        """Let go of everything."""
        self.release()
        self.watch.disarm()


def owned_by(network: NetworkWatch, optimizers: Sequence[Optimizer]) -> dict[int, frozenset[str]]:
    """Which parameters of ``network`` each optimizer updates, found by identity; one that updates none is left out."""
    names = {id(parameter): name for name, parameter in network.named.items()}
    owned = {
        id(optimizer): frozenset(
            names[id(parameter)]
            for group in optimizer.param_groups
            for parameter in group["params"]
            if id(parameter) in names
        )
        for optimizer in optimizers
    }
    return {optimizer: parameters for optimizer, parameters in owned.items() if parameters}


def loss_scale(optimizer: Optimizer) -> float:
    """What the loss was multiplied with: 1 unless a gradient scaler is at work on the optimizer's step.

    The scaler leaves no mark on an optimizer whose gradients it has already divided; it is found among the callers.
    """
    scale = getattr(optimizer, "grad_scale", None)
    if scale is not None:
        return float(scale)
    frame = sys._getframe(1)  # noqa: SLF001  the whole stack would have to be listed otherwise
    while frame is not None:
        if frame.f_code is GradScaler.step.__code__:
            scaler: GradScaler = frame.f_locals["self"]
            return float(scaler.get_scale())
        frame = frame.f_back  # type: ignore[assignment]  # the outermost has none
    return 1.0
