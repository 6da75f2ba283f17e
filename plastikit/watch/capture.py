"""Sees one network: hooks that exist on due steps alone, and what they saw as features."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from torch.utils.weak import WeakTensorKeyDictionary

from plastikit.errors import UnitAxisError
from plastikit.watch.groups import group_ids
from plastikit.watch.hooks import Hook
from plastikit.watch.layers import Layer, parameter_kinds, produced_axis, unit_axis

Groups = Callable[..., Any]
"""From a forward's inputs to one integer per sample: the group, such as the task, that it belongs to."""


@dataclass
class _Seen:
    """A layer's output as it was, and the mark that tells whether somebody wrote into it since."""

    output: Tensor
    version: int
    axis: int
    is_of_whole: bool
    """Whether it was computed inside a forward of the whole network."""


@dataclass(frozen=True)
class Sight:
    """What the last forward showed. Tensors are detached, and not to be written to."""

    features: dict[str, Tensor]
    """Post-activations of each layer, [sample, unit]."""
    groups: dict[str, Tensor]
    """The group of each sample of a layer, [sample]."""
    unreadable: frozenset[str]
    """Layers whose output was written into since; they are left out."""
    problems: list[str]
    """What could not be measured and why, a sentence fragment each."""


class NetworkWatch:
    """One network under watch: which layers and parameters it has, and what they showed last.

    ``arm`` sets the hooks, ``disarm`` removes every one of them. The forward that counts is the last one with
    gradients enabled; forwards without them (targets, evaluation) are not looked at unless ``sees_all``. A forward of
    the whole network counts before calls of its parts alone, such as those of a second network that shares them or
    of activation checkpointing.
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
        self.prefix = prefix
        self.units: dict[str, int] = {}
        self.is_paused = False
        self.named: dict[str, nn.Parameter] = {}
        self.kinds: dict[str, str] = {}
        self.weights: frozenset[str] = frozenset()
        self._sees_all = sees_all
        self._groups_of = groups
        self._groups: Tensor | None = None
        self._handles: list[RemovableHandle] = []
        self._inner: list[RemovableHandle] = []
        self._modules: dict[str, nn.Module] = {}
        self._produced = WeakTensorKeyDictionary()
        self._seen: dict[str, _Seen] = {}
        self._calls: dict[str, int] = {}
        self._kept: tuple[dict[str, _Seen], Tensor | None] | None = None
        self._is_inside = False
        self.reread()

    @property
    def is_armed(self) -> bool:
        """Whether hooks are on the network."""
        return bool(self._handles)

    @property
    def has_kept(self) -> bool:
        """Whether a sight is kept back from further forwards."""
        return self._kept is not None

    @property
    def has_seen_whole(self) -> bool:
        """Whether a forward of the whole network was seen."""
        return any(seen.is_of_whole for seen in self._seen.values())

    @property
    def _is_looking(self) -> bool:
        return not self.is_paused and (self._sees_all or torch.is_grad_enabled())

    def arm(self) -> None:
        """Set the hooks for the next forwards; on a network that is armed, nothing."""
        if self.is_armed:
            return
        self._handles = [
            self.model.register_forward_pre_hook(Hook(self._enter), with_kwargs=True),
            self.model.register_forward_hook(Hook(self._leave), always_call=True),
        ]
        self._follow_modules()

    def disarm(self) -> None:
        """Remove the hooks and let go of every activation."""
        for handle in (*self._handles, *self._inner):
            handle.remove()
        self._handles.clear()
        self._inner.clear()
        self._modules.clear()
        self._is_inside = False
        self.release()
        self.forget()

    def forget(self) -> None:
        """Let go of what was seen: it belongs to an update that is done."""
        self._seen.clear()
        self._groups = None

    def keep(self, *, nothing: bool = False) -> None:
        """Hold on to what was seen until ``release``, whatever forwards follow; or to having seen nothing."""
        self._kept = ({}, None) if nothing else (dict(self._seen), self._groups)

    def release(self) -> None:
        """Let go of what was kept."""
        self._kept = None

    def sight(self) -> Sight:
        """What was kept or, where nothing was, what the last forward that counts showed."""
        all_seen, given = self._kept or (self._seen, self._groups)
        fresh = {label: seen for label, seen in all_seen.items() if _version(seen.output) == seen.version}
        unreadable = frozenset(all_seen.keys() - fresh)
        problems = [
            f"layer {label} was written into after it was computed, such as by an in-place function; it is not measured"
            for label in sorted(unreadable)
        ]
        groups = {}
        for label, seen in fresh.items():
            if given is None:
                break
            per_row = _per_row(seen, given)
            if per_row is None:
                problems.append(
                    f"layer {label} put out a tensor of shape {tuple(seen.output.shape)}, which does not begin with "
                    "the samples that groups name; it is not measured by group"
                )
            else:
                groups[label] = per_row
        features = {label: _features(seen) for label, seen in fresh.items()}
        return Sight(features, groups, unreadable, problems)

    def reread(self) -> frozenset[str]:
        """Follow parameters that were replaced, added or removed since; the names of all that were."""
        named = {f"{self.prefix}{path}": parameter for path, parameter in self.model.named_parameters()}
        changed = {name for name, parameter in named.items() if self.named.get(name) is not parameter}
        changed |= self.named.keys() - named
        if changed:
            self.named = named
            self.kinds = {f"{self.prefix}{path}": kind for path, kind in parameter_kinds(self.model).items()}
            self.weights = frozenset(name for name, kind in self.kinds.items() if kind == "weight")
        return frozenset(changed)

    def snapshot(self) -> dict[str, Tensor]:
        """A copy of the parameters as they stand."""
        return {name: parameter.detach().clone() for name, parameter in self.named.items()}

    def current(self) -> dict[str, Tensor]:
        """The parameters themselves, detached: for measuring at once."""
        return {name: parameter.detach() for name, parameter in self.named.items()}

    def gradients(self) -> dict[str, Tensor | None]:
        """The gradients themselves, detached; None where there is none."""
        return {name: None if tensor.grad is None else tensor.grad.detach() for name, tensor in self.named.items()}

    def _follow_modules(self) -> None:
        """Set the hooks on the modules as they are now; where they are those of before, nothing."""
        modules = dict(self.model.named_modules())
        if modules == self._modules:
            return
        for handle in self._inner:
            handle.remove()
        self._modules = modules
        self.layers = [replace(layer, module=modules.get(layer.path, layer.module)) for layer in self.layers]
        self._inner = [
            *(
                module.register_forward_hook(Hook(self._note_producer))
                for module in modules.values()
                if not any(module.children())
            ),
            *(layer.module.register_forward_hook(Hook(self._hook(layer))) for layer in self.layers),
        ]

    def _enter(self, _module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if not self._is_looking:
            return
        self._follow_modules()
        self._is_inside = True
        self._calls.clear()
        self._seen.clear()
        if self._groups_of is not None:
            self._groups = group_ids(self._groups_of(*args, **kwargs))

    def _leave(self, _module: nn.Module, _args: object, _output: object) -> None:
        self._is_inside = False

    def _note_producer(self, module: nn.Module, args: tuple[Any, ...], output: object) -> None:
        if not self._is_looking or not isinstance(output, Tensor):
            return
        given = self._produced.get(args[0]) if args and isinstance(args[0], Tensor) else None
        axis = produced_axis(module, given, output)
        if axis is None:
            self._produced.pop(output, None)
        else:
            self._produced[output] = axis

    def _hook(self, layer: Layer) -> Callable[..., None]:
        def note(_module: nn.Module, _args: object, output: object) -> None:
            if not self._is_looking:
                return
            if not isinstance(output, Tensor):
                raise UnitAxisError(
                    f"layer {layer.path!r} puts out a {type(output).__name__}, where one tensor was expected; "
                    "name a module inside or behind it: layers=['name', ...]"
                )
            label = self._label(layer.path)
            known = self._seen.get(label)
            if known is not None and known.is_of_whole and not self._is_inside:
                return
            axis = unit_axis(layer, output, self._produced.get(output))
            self._check_units(label, output.shape[axis])
            self._seen[label] = _Seen(output.detach(), _version(output), axis, self._is_inside)

        return note

    def _check_units(self, label: str, units: int) -> None:
        known = self.units.setdefault(label, units)
        if known != units:
            raise UnitAxisError(
                f"layer {label!r} puts out {units} units, where it put out {known} before; a layer has one width: "
                "watch modules that are called with one width only, layers=['name', ...]"
            )

    def _label(self, path: str) -> str:
        """The layer's name; the second and later calls of a re-used module in one forward are told apart."""
        if not self._is_inside:
            return f"{self.prefix}{path}"
        call = self._calls[path] = self._calls.get(path, 0) + 1
        return f"{self.prefix}{path}" + (f"#{call}" if call > 1 else "")


def _version(tensor: Tensor) -> int:
    """Goes up with each write into the tensor; inference tensors do not count them."""
    return -1 if tensor.is_inference() else tensor._version


def _per_row(seen: _Seen, groups: Tensor) -> Tensor | None:
    """The group of each row of a layer; a sample that spans several rows (time, space) lends them its group."""
    moved = seen.output.movedim(seen.axis, -1)
    if moved.ndim < 2 or moved.shape[0] != groups.numel():
        return None
    return groups.to(moved.device).repeat_interleave(math.prod(moved.shape[1:-1]))


def _features(seen: _Seen) -> Tensor:
    moved = seen.output.movedim(seen.axis, -1)
    return moved.reshape(-1, moved.shape[-1])
