"""What of a model is watched: which outputs are layers and why, and which parameters are weights."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import torch
from torch import Tensor, nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

from plastikit.errors import ConfigurationError, NothingToWatchError, UnitAxisError, UnknownNameError
from plastikit.watch.activations import FUNCTIONS, function_of

Layers = str | Sequence[str] | Mapping[str, int] | Callable[[str, nn.Module | str], bool]
"""``"auto"``; names or patterns; a mapping of those to the axis that counts units; or a function of name and kind."""

AUTO: Final = "auto"
ATTENTION: Final = "attention"

_WRAPPED: Final = {"_orig_mod", "_checkpoint_wrapped_module"}
_NORMALISATIONS: Final = (
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.BatchNorm3d,
    nn.SyncBatchNorm,
    nn.GroupNorm,
    nn.InstanceNorm1d,
    nn.InstanceNorm2d,
    nn.InstanceNorm3d,
    nn.LayerNorm,
    nn.RMSNorm,
)


@dataclass(frozen=True)
class Layer:
    """An output that is watched."""

    label: str
    """Its name: the module's, with the function's behind it where a forward calls one by itself."""
    reason: str
    """Why it is watched."""
    unit_axis: int | None = None
    """The axis that counts units, where the user said so; else it is told from what produced the tensor."""


class Watched(dict[str, str]):
    """Names of layers, and why each is watched; prints as a table."""

    def __str__(self) -> str:
        width = max(map(len, self), default=0)
        return "\n".join(f"{label:{width}}  {reason}" for label, reason in self.items()) or "no layer so far"


class Choice:
    """Which outputs of a model are layers, as ``layers=`` says it.

    Modules are known from the beginning; functions that a forward calls by itself only once it runs.
    """

    def __init__(self, modules: Mapping[str, nn.Module], layers: Layers) -> None:
        self.modules = modules
        self.is_auto = isinstance(layers, str) and layers == AUTO
        self._chooses = layers if callable(layers) else None
        self.is_open = self.is_auto or callable(layers)
        """Whether nobody named what there must be."""
        self._axes: Mapping[str, int] = layers if isinstance(layers, Mapping) else {}
        named = [layers] if isinstance(layers, str) else [] if self._chooses else list(cast("Iterable[str]", layers))
        self._patterns = [] if self.is_auto else named

    @property
    def told(self) -> str | list[str] | dict[str, int]:
        """The choice as a run can hold it: a function by its name."""
        if self.is_auto:
            return AUTO
        if self._chooses is not None:
            return getattr(self._chooses, "__qualname__", type(self._chooses).__name__)
        return dict(self._axes) or list(self._patterns)

    def module(self, path: str, module: nn.Module, *, is_activation: bool = False) -> Layer | None:
        """The layer that a module's output is; None where it is none. ``is_activation`` says how it was seen to act."""
        if not self.is_auto:
            return self._named(path, module)
        kind = type(module).__name__
        if is_activation or function_of(module) is not None:
            return Layer(path, f"activation module {kind}")
        if isinstance(module, nn.RNNBase | nn.RNNCellBase):
            return Layer(path, f"recurrent module {kind}")
        if isinstance(module, nn.MultiheadAttention):
            return Layer(path, "attention: its heads side by side, before the output projection")
        return None

    def function(self, label: str, path: str, function: str) -> Layer | None:
        """The layer that the output of a function is, which the module at ``path`` calls by itself."""
        if not self.is_auto:
            return self._named(label, function)
        caller = f"the module {path}" if path else "the model"
        if function == ATTENTION:
            return Layer(label, f"attention called by {caller}: its heads side by side")
        return Layer(label, f"function {function} called by {caller}")

    def unmatched(self, labels: Iterable[str]) -> list[str]:
        """The names and patterns that fit neither a module nor one of ``labels``."""
        known = [*self.modules, *labels]
        return [pattern for pattern in self._patterns if not fnmatch.filter(known, pattern)]

    def found(self) -> dict[str, Layer]:
        """The modules that are layers, in the order in which the model names them."""
        layers = {path: self.module(path, module) for path, module in self.modules.items()}
        return {path: layer for path, layer in layers.items() if layer is not None}

    def _named(self, label: str, kind: nn.Module | str) -> Layer | None:
        if self._chooses is not None:
            return Layer(label, "chosen by the function given as layers=") if self._chooses(label, kind) else None
        for pattern in reversed(self._patterns):
            if fnmatch.fnmatchcase(label, pattern):
                return Layer(label, f"named by layers={pattern!r}", self._axes.get(pattern))
        return None


def find_layers(model: nn.Module, layers: Layers = AUTO) -> Choice:
    """Which outputs of ``model`` to watch.

    ``"auto"`` takes every activation, as a module or as a function that a forward calls, what recurrent modules put
    out, and the heads of attention.

    Raises:
        ConfigurationError: ``model`` is no module.
        NothingToWatchError: ``"auto"`` can find no activation, or ``layers`` names none.
        UnknownNameError: a name or pattern fits no module, and no function that one could call.
    """
    if not isinstance(model, nn.Module):
        raise ConfigurationError(
            f"the model is a {type(model).__name__}, where a torch module was expected; "
            "give a torch.nn.Module, or a mapping of names to modules"
        )
    inner = unwrapped(model)
    modules = named_modules(inner)
    for path, module in modules.items():
        if isinstance(module, torch.jit.ScriptModule):
            raise ConfigurationError(
                f"{path or 'the model'} was compiled by torch.jit, and what goes on in it cannot be seen; "
                "give the model as it was before, or compile it by torch.compile"
            )
    named = {path: module for path, module in modules.items() if path} or modules
    if not callable(layers) and not layers:
        raise NothingToWatchError(f"layers is empty; name some of: {listed(named)}, or say 'auto'")
    choice = Choice(named, layers)
    if choice.is_auto and not choice.found() and all(map(_is_of_torch, modules.values())):
        raise nothing_found(inner)
    for pattern in choice.unmatched(()):
        parent, _, function = pattern.rpartition(".")
        may_come = function.partition("#")[0] in {*FUNCTIONS.values(), ATTENTION} and parent in modules
        if not may_come and not any(sign in pattern for sign in "*?["):
            raise UnknownNameError.of("layer", pattern, named)
    return choice


def unwrapped(model: nn.Module) -> nn.Module:
    """The network itself, without what compiles or distributes it."""
    while True:
        if isinstance(model, DataParallel | DistributedDataParallel):
            model = model.module
        elif "_orig_mod" in model._modules:  # noqa: SLF001  asking for the attribute would reach through the wrapper
            model = cast("nn.Module", model._orig_mod)  # noqa: SLF001
        else:
            return model


def named_modules(model: nn.Module) -> dict[str, nn.Module]:
    """Every module by its name, wrappers left out of both; the model itself has the empty name."""
    return {clean(path): module for path, module in model.named_modules() if "_orig_mod" not in module._modules}  # noqa: SLF001


def clean(path: str) -> str:
    """A module's or parameter's name without the marks that wrappers leave in it."""
    return ".".join(part for part in path.split(".") if part not in _WRAPPED) if "_" in path else path


def nothing_found(model: nn.Module) -> NothingToWatchError:
    """The error for a model without activations, with its modules and the next move."""
    modules = {path: module for path, module in named_modules(model).items() if path}
    return NothingToWatchError(
        f"no activation found in {type(model).__name__}, neither a module nor a function that its forward calls; its "
        f"modules are: {listed(modules)}. Name the modules to watch: layers=['name', ...]"
    )


def unit_axis(layer: Layer, output: Tensor, produced: int | None) -> int:
    """The unit axis of a layer's output, from the end.

    Raises:
        UnitAxisError: neither the user nor what produced the output tells, and it is not [sample, unit]; or it has no
            such axis as the user said.
    """
    if layer.unit_axis is not None:
        axis = layer.unit_axis if layer.unit_axis < 0 else layer.unit_axis - output.ndim
        if not -output.ndim <= axis < 0:
            raise UnitAxisError(
                f"layer {layer.label!r} puts out a tensor of shape {tuple(output.shape)}, which has no axis "
                f"{layer.unit_axis}; give one of its {output.ndim} axes: layers={{{layer.label!r}: axis}}"
            )
        return axis
    if produced is None and output.ndim == 2:
        return -1
    if produced:
        return produced
    raise UnitAxisError(
        f"layer {layer.label!r} puts out a tensor of shape {tuple(output.shape)}, and what produced it does not tell "
        f"which axis counts its units; say so, beside the other layers: layers={{{layer.label!r}: axis}}"
    )


def parameter_kinds(model: nn.Module) -> dict[str, str]:
    """``weight``, ``bias`` or ``gain`` (of a normalisation, or a lone vector) for the name of each parameter."""
    gains = {
        id(parameter)
        for module in model.modules()
        if isinstance(module, _NORMALISATIONS)
        for parameter in module.parameters(recurse=False)
    }

    def kind(name: str, parameter: nn.Parameter) -> str:
        own = _own_name(name)
        if "bias" in own:
            return "bias"
        is_length = own in {"original0", "weight_g"} and sum(size > 1 for size in parameter.shape) < 2
        return "gain" if is_length or id(parameter) in gains or parameter.ndim < 2 else "weight"

    return {clean(name): kind(name, parameter) for name, parameter in model.named_parameters()}


def _own_name(name: str) -> str:
    """The last name that counts; a parametrized bias is still a bias, and weight normalisation keeps lengths apart."""
    parts = name.split(".")
    is_parametrized = "parametrizations" in parts[:-2]
    return parts[-2] if is_parametrized and parts[-1] != "original0" else parts[-1]


def is_fixed(modules: Iterable[nn.Module]) -> bool:
    """Whether every forward is alike: torch's own modules one after the other, none of which writes over its input."""
    apart = (nn.RNNBase, nn.RNNCellBase, nn.MultiheadAttention)
    return all(
        _is_of_torch(module)
        and "forward" not in vars(module)
        and not getattr(module, "inplace", False)
        and not isinstance(module, apart)
        and (isinstance(module, nn.Sequential) or not any(module.children()))
        for module in modules
    )


def _is_of_torch(module: nn.Module) -> bool:
    """Whether its forward is torch's own, so that its type tells all that it calls."""
    return type(module).__module__.startswith("torch.nn.modules.")


def listed(modules: Mapping[str, Any]) -> str:
    """Names and types, for an error."""
    return ", ".join(f"{path} ({type(module).__name__})" for path, module in modules.items()) or "none"
