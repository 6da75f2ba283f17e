"""Sees one network: hooks that exist on due steps alone, and what they saw as a capture."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from plastikit.watch.layers import Layer, produced_axis, unit_axis
from plastikit.watch.probe import Capture, Needs

Groups = Callable[..., Tensor]
"""From a forward's inputs to one integer per sample: the group, such as the task, that it belongs to."""


@dataclass
class _Seen:
    """A layer's output as it was, and the mark that tells whether somebody wrote into it since."""

    output: Tensor
    version: int
    axis: int


class NetworkWatch:
    """One network under watch: which layers and parameters it has, and what they showed last.

    ``arm`` sets the hooks, ``disarm`` removes every one of them. The forward that counts is the last one with
    gradients enabled; forwards without them (targets, evaluation) are not looked at unless ``sees_all``.
    """

    def __init__(
        self,
        name: str,
        model: nn.Module,
        layers: list[Layer],
        *,
        prefix: str = "",
        groups: Groups | None = None,
        sees_all: bool = False,
    ) -> None:
        self.name = name
        self.layers = layers
        self.model = model
        self.units: dict[str, int] = {}
        self.is_paused = False
        self._sees_all = sees_all
        self.prefix = prefix
        self._groups_of = groups
        self._handles: list[RemovableHandle] = []
        self._axes: dict[str, int] = {}
        self._produced: dict[int, tuple[Tensor, int]] = {}
        self._seen: dict[str, _Seen] = {}
        self._calls: dict[str, int] = {}
        self._groups: Tensor | None = None
        self._is_inside = False
        self.named = {f"{prefix}{path}": parameter for path, parameter in model.named_parameters()}
        self.weights = frozenset(name for name, tensor in self.named.items() if parameter_kind(name, tensor) == "weight")

    @property
    def is_armed(self) -> bool:
        """Whether hooks are on the network."""
        return bool(self._handles)

    @property
    def _is_looking(self) -> bool:
        return not self.is_paused and (self._sees_all or torch.is_grad_enabled())

    def arm(self) -> None:
        """Set the hooks for the next forwards; on a network that is armed, nothing."""
        if self.is_armed:
            return
        self._seen.clear()
        self._handles = [
            self.model.register_forward_pre_hook(self._enter, with_kwargs=True),
            self.model.register_forward_hook(self._leave, always_call=True),
        ]
        if not self._axes:
            # Once: who produced which tensor tells the unit axis of the layers behind it.
            self._handles += [
                module.register_forward_hook(self._note_producer)
                for module in self.model.modules()
                if not any(module.children())
            ]
        self._handles += [layer.module.register_forward_hook(self._hook(layer)) for layer in self.layers]

    def disarm(self) -> None:
        """Remove the hooks and let go of every activation."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._seen.clear()
        self._produced.clear()
        self._groups = None
        self._is_inside = False

    def capture(
        self,
        needs: Needs,
        *,
        parameters: Mapping[str, Tensor],
        initial: Mapping[str, Tensor],
        updated: Mapping[str, Tensor],
    ) -> tuple[Capture, list[str]]:
        """What was seen, and the labels of layers that somebody wrote into since, which are left out."""
        fresh = {label: seen for label, seen in self._seen.items() if seen.output._version == seen.version}
        stale = [label for label in self._seen if label not in fresh]
        features = {label: _features(seen) for label, seen in fresh.items()} if Needs.FEATURES in needs else {}
        gradients = (
            {name: None if tensor.grad is None else tensor.grad.detach() for name, tensor in self.named.items()}
            if Needs.GRADIENTS in needs
            else {}
        )
        groups = {label: self._per_sample(matrix.shape[0]) for label, matrix in features.items()}
        return Capture(
            network=self.name,
            features=features,
            groups={label: given for label, given in groups.items() if given is not None},
            parameters=parameters,
            initial=initial,
            gradients=gradients,
            updated=updated,
            weights=self.weights,
        ), stale

    def snapshot(self) -> dict[str, Tensor]:
        """A copy of the parameters as they stand."""
        return {name: parameter.detach().clone() for name, parameter in self.named.items()}

    def current(self) -> dict[str, Tensor]:
        """The parameters themselves, detached: for measuring at once."""
        return {name: parameter.detach() for name, parameter in self.named.items()}

    def _enter(self, _module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if not self._is_looking:
            return
        self._is_inside = True
        self._calls.clear()
        self._seen.clear()
        if self._groups_of is not None:
            self._groups = self._groups_of(*args, **kwargs)

    def _leave(self, _module: nn.Module, _args: object, _output: object) -> None:
        self._is_inside = False
        self._produced.clear()

    def _note_producer(self, module: nn.Module, args: tuple[Any, ...], output: object) -> None:
        if not isinstance(output, Tensor):
            return
        given = self._produced.get(id(args[0]), (None, None))[1] if args else None
        axis = produced_axis(module, given, output)
        if axis is not None:
            # The tensor is held so that its id stays its own while the forward runs.
            self._produced[id(output)] = (output, axis)

    def _hook(self, layer: Layer) -> Callable[..., None]:
        def note(_module: nn.Module, _args: object, output: object) -> None:
            if not self._is_looking or not isinstance(output, Tensor):
                return
            label = self._label(layer.path)
            axis = self._axes.get(label)
            if axis is None:
                axis = unit_axis(layer, output, self._produced.get(id(output), (None, None))[1])
                self._axes[label] = axis
                self.units[label] = output.shape[axis]
            self._seen[label] = _Seen(output.detach(), output._version, axis)

        return note

    def _label(self, path: str) -> str:
        """The layer's name; the second and later calls of a re-used module in one forward are told apart."""
        if not self._is_inside:
            return f"{self.prefix}{path}"
        call = self._calls[path] = self._calls.get(path, 0) + 1
        return f"{self.prefix}{path}" + (f"#{call}" if call > 1 else "")

    def _per_sample(self, samples: int) -> Tensor | None:
        """The group of each row of a layer; a sample that spans several rows (time, space) lends them its group."""
        if self._groups is None or samples % self._groups.numel():
            return None
        return self._groups.repeat_interleave(samples // self._groups.numel())


def parameter_kind(name: str, parameter: Tensor) -> str:
    """``weight``, ``bias`` or ``gain`` (of a normalisation)."""
    if name.rsplit(".", 1)[-1].endswith("bias"):
        return "bias"
    return "weight" if parameter.ndim >= 2 else "gain"


def _features(seen: _Seen) -> Tensor:
    moved = seen.output.movedim(seen.axis, -1)
    return moved.reshape(-1, moved.shape[-1])
