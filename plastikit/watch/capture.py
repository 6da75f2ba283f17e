"""One network under watch: hooks that exist on due steps alone, and what they saw."""

from __future__ import annotations

import functools
from collections.abc import Callable
from time import perf_counter
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from plastikit.watch.compiled import leave_compiled, watch_compiled
from plastikit.watch.devices import wait_for_training
from plastikit.watch.forward import Forward
from plastikit.watch.groups import group_ids
from plastikit.watch.hooks import Hook, charge
from plastikit.watch.layers import Choice, clean, is_fixed, named_modules, parameter_kinds, unwrapped
from plastikit.watch.probe import Needs
from plastikit.watch.sharded import resting
from plastikit.watch.sight import Held, Seen, Sight, backward_pass

Groups = Callable[..., Any]
"""From a forward's inputs to one integer per sample: the group, such as the task, that it belongs to."""

OF_LAYERS: Final = Needs.FEATURES | Needs.PRE_ACTIVATIONS | Needs.FEATURE_GRADIENTS | Needs.PRE_GRADIENTS
OF_BACKWARD: Final = Needs.FEATURE_GRADIENTS | Needs.PRE_GRADIENTS


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
        choice: Choice,
        *,
        prefix: str = "",
        groups: Groups | None = None,
        sees_all: bool = False,
        units: dict[str, int] | None = None,
    ) -> None:
        self.name = name
        self.choice = choice
        self.model = unwrapped(model)
        self.prefix = prefix
        self.units: dict[str, int] = {} if units is None else units
        self.is_paused = False
        self.is_looking_anyway = sees_all
        self.named: dict[str, nn.Parameter] = {}
        self.kinds: dict[str, str] = {}
        self.weights: frozenset[str] = frozenset()
        self._forward = Forward(self.model, choice, prefix=prefix, units=self.units)
        self._groups_of = groups
        self._groups: Tensor | None = None
        self._handles: list[RemovableHandle] = []
        self._of_modules: list[RemovableHandle] = []
        self._modules: dict[str, nn.Module] = {}
        self._backwards: set[int] = set()
        self._is_fixed = False
        self._dimensions: int | None = None
        """Dimensions of the input of the last forward; None where there is no telling."""
        self._has_compiled = False
        self._sees_all = sees_all
        self._kept: tuple[dict[str, Seen], Tensor | None, frozenset[int]] | None = None
        self.reread()

    @property
    def needs(self) -> Needs:
        """What the due probes look at; the rest is not captured."""
        return self._forward.needs

    @needs.setter
    def needs(self, needs: Needs) -> None:
        self._forward.needs = needs

    @property
    def layers(self) -> dict[str, str]:
        """Each layer known so far, and why it is watched; what was met and is not watched, and why not."""
        why = {label: layer.reason for label, layer in self._forward.layers.items()} | self._forward.skipped
        return {f"{self.prefix}{label}": reason for label, reason in why.items()}

    @property
    def unseen(self) -> list[str]:
        """Layers that no forward went through so far."""
        return [label for label in (f"{self.prefix}{own}" for own in self._forward.layers) if label not in self.units]

    @property
    def is_armed(self) -> bool:
        """Whether hooks are on the network."""
        return bool(self._modules)

    @property
    def has_kept(self) -> bool:
        """Whether a sight is kept back from further forwards."""
        return self._kept is not None

    @property
    def has_seen_whole(self) -> bool:
        """Whether a forward of the whole network was seen."""
        return any(seen.is_of_whole for seen in self._forward.seen.values())

    @property
    def _is_looking(self) -> bool:
        if self.is_paused or self._forward.is_elsewhere:
            return False
        return self.is_looking_anyway or self._forward.is_running or torch.is_grad_enabled()

    def arm(self) -> None:
        """Set the hooks for the next forwards; on a network that is armed, nothing."""
        if self.is_armed or not self.needs & OF_LAYERS:
            return
        self._follow_modules()
        if self.needs & OF_BACKWARD:
            self._handles += [
                parameter.register_post_accumulate_grad_hook(Hook(self._reached))
                for parameter in self.named.values()
                if parameter.requires_grad and parameter.is_leaf
            ]

    def disarm(self) -> None:
        """Remove the hooks and let go of every activation."""
        self._unhook()
        self.release()
        self.forget()

    def forget(self) -> None:
        """Let go of what was seen: it belongs to an update that is done."""
        if self._modules and self._is_fixed and self._forward.seen and self._dimensions is not None:
            self._look_plainly(is_plain=True)
        self._forward.forget()
        self._backwards.clear()
        self._groups = None

    def keep(self, *, nothing: bool = False) -> None:
        """Hold on to what was seen until ``release``, whatever forwards follow; or to having seen nothing."""
        seen = {} if nothing else dict(self._forward.seen)
        self._kept = seen, None if nothing else self._groups, frozenset(self._backwards)

    def release(self) -> None:
        """Let go of what was kept."""
        self._kept = None

    def sight(self) -> Sight:
        """What was kept or, where nothing was, what the last forward that counts showed."""
        all_seen, given, backwards = self._kept or (self._forward.seen, self._groups, frozenset(self._backwards))
        fresh = {label: seen for label, seen in all_seen.items() if seen.is_as_it_was}
        unreadable = frozenset(all_seen.keys() - fresh)
        problems = [
            *self._forward.problems,
            *(
                f"layer {label} was written into after it was computed, such as by an in-place function; it is not "
                "measured"
                for label in sorted(unreadable)
            ),
        ]
        if self._has_compiled and self.needs & OF_BACKWARD and not self._sees_all:
            problems.append(
                f"{self.name} is compiled by torch.compile, which shows no gradients of features; they are not measured"
            )
        groups = {}
        for label, seen in fresh.items():
            if given is None:
                break
            per_row = seen.groups(given)
            if per_row is None:
                problems.append(
                    f"layer {label} put out a tensor of shape {tuple(seen.outputs[0].tensor.shape)}, which does not, "
                    "or not for certain, begin with the samples that groups name; it is not measured by group"
                )
            else:
                groups[label] = per_row
        inputs = {label: seen for label, seen in fresh.items() if seen.inputs and _are_as_they_were(seen.inputs)}
        return Sight(
            features={label: seen.matrix([held.tensor for held in seen.outputs]) for label, seen in fresh.items()},
            pre_activations={
                label: seen.matrix([held.tensor for held in seen.inputs]) for label, seen in inputs.items()
            },
            feature_gradients=_gradients({label: (seen, seen.outputs) for label, seen in fresh.items()}, backwards),
            pre_gradients=_gradients({label: (seen, seen.inputs) for label, seen in fresh.items()}, backwards),
            functions={label: seen.function for label, seen in fresh.items() if seen.function is not None},
            heads={label: seen.heads for label, seen in fresh.items() if seen.heads is not None},
            groups=groups,
            unreadable=unreadable,
            problems=problems,
        )

    def reread(self) -> frozenset[str]:
        """Follow parameters that were replaced, added or removed since; the names of all that were."""
        found = {f"{self.prefix}{clean(path)}": parameter for path, parameter in self.model.named_parameters()}
        named = {name: resting(self.named.get(name), parameter) for name, parameter in found.items()}
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

    def wants(self, module: nn.Module) -> bool:
        """Whether a call of ``module``, which is compiled, is to be looked at."""
        if not self._is_looking:
            return False
        return module in self._modules.values() or any(part is self.model for part in module.modules())

    def adopt(self, shown: Any, output: Any) -> None:
        """What is known of ``shown`` holds for ``output``."""
        self._has_compiled = True
        if self._forward.is_running:
            self._forward.adopt(shown, output)

    def hide(self) -> None:
        """Take the hooks off the modules, for as long as a compiler may look at them."""
        for handle in self._of_modules:
            handle.remove()
        self._of_modules.clear()

    def show(self) -> None:
        """Set the hooks on the modules."""
        hooked = self._modules
        if self._forward.is_plain_run:
            hooked = {path: hooked[path] for path in ("", *filter(None, self._forward.layers))}
        for path, module in hooked.items():
            self._of_modules += [
                module.register_forward_pre_hook(Hook(functools.partial(self._enter, path)), with_kwargs=True),
                module.register_forward_hook(Hook(self._leave), always_call=True),
            ]

    def _follow_modules(self) -> None:
        """Set the hooks on the modules as they are now; where they are those of before, nothing."""
        modules = named_modules(self.model)
        if modules == self._modules:
            return
        self._unhook()
        self._modules = modules
        self._is_fixed = is_fixed(modules.values())
        self._dimensions = None
        self._forward.is_plain_run = False
        self.show()
        watch_compiled(self, modules)

    def _unhook(self) -> None:
        self._forward.abandon()
        self.hide()
        for handle in self._handles:
            handle.remove()
        if self._modules:
            leave_compiled(self, self._modules)
        self._handles.clear()
        self._modules = {}

    def _enter(self, path: str, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if not self._is_looking:
            return
        if module is self.model and not self._forward.is_running:
            self._follow_modules()
            self._note_dimensions(args)
            self._backwards.clear()
            if self._groups_of is not None:
                given = self._groups_of(*args, **kwargs)
                start = perf_counter()
                wait_for_training([given])
                charge(start - perf_counter())
                self._groups = group_ids(given)
        with torch._C.DisableTorchFunction():  # noqa: SLF001  what we do in here is none of the network's functions
            self._forward.enter(path, module, args)

    def _leave(self, module: nn.Module, _args: object, output: Any) -> None:
        if self._forward.is_running and not self._forward.is_elsewhere:
            with torch._C.DisableTorchFunction():  # noqa: SLF001
                self._forward.leave(module, output)

    def _note_dimensions(self, args: tuple[Any, ...]) -> None:
        """Where inputs have other dimensions than before, all of a forward is looked at again."""
        dimensions = args[0].ndim if args and isinstance(args[0], Tensor) else None
        if dimensions != self._dimensions:
            self._look_plainly(is_plain=False)
            self._dimensions = dimensions

    def _look_plainly(self, *, is_plain: bool) -> None:
        """In a network whose forwards are all alike, once one was traced, only its layers need hooks."""
        if self._forward.is_plain_run != is_plain:
            self.hide()
            self._forward.is_plain_run = is_plain
            self.show()

    def _reached(self, _parameter: Tensor) -> None:
        """A backward pass put a gradient where the optimizer will see it."""
        key = backward_pass()
        if key is not None:
            self._backwards.add(key)


def _are_as_they_were(inputs: list[Held]) -> bool:
    return all(held.is_as_it_was for held in inputs)


def _gradients(held: dict[str, tuple[Seen, list[Held]]], backwards: frozenset[int]) -> dict[str, Tensor]:
    """Gradients of those backward passes that reached a parameter; of all, where none is known to have."""
    found = {}
    for label, (seen, tensors) in held.items():
        gradients = [each.gradient(backwards or each.backwards) for each in tensors]
        whole = [gradient for gradient in gradients if gradient is not None]
        if whole and len(whole) == len(tensors):
            found[label] = seen.matrix(whole)
    return found
