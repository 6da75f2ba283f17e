"""What of a model is watched: which modules are layers, which axis counts their units, which parameters are weights."""

from __future__ import annotations

import fnmatch
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from torch import Tensor, nn

from plastikit.errors import ConfigurationError, NothingToWatchError, UnitAxisError, UnknownNameError

Layers = str | Sequence[str] | Mapping[str, int]
"""``"auto"``; names or patterns of modules; or a mapping of those to the axis that counts the units."""

AUTO: Final = "auto"

ACTIVATIONS: Final = (
    nn.ReLU,
    nn.ReLU6,
    nn.LeakyReLU,
    nn.PReLU,
    nn.RReLU,
    nn.ELU,
    nn.CELU,
    nn.SELU,
    nn.GELU,
    nn.SiLU,
    nn.Mish,
    nn.Tanh,
    nn.Hardtanh,
    nn.Hardswish,
    nn.Hardsigmoid,
    nn.Sigmoid,
    nn.LogSigmoid,
    nn.Softplus,
    nn.Softsign,
    nn.Tanhshrink,
    nn.Threshold,
)

_LAST: Final = (nn.Linear, nn.Bilinear, nn.Embedding)
_CONVOLUTIONS: Final = {
    nn.Conv1d: -2,
    nn.Conv2d: -3,
    nn.Conv3d: -4,
    nn.ConvTranspose1d: -2,
    nn.ConvTranspose2d: -3,
    nn.ConvTranspose3d: -4,
}
_CHANNELS_SECOND: Final = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm, nn.GroupNorm)
_NORMALISATIONS: Final = (
    *_CHANNELS_SECOND,
    nn.InstanceNorm1d,
    nn.InstanceNorm2d,
    nn.InstanceNorm3d,
    nn.LayerNorm,
    nn.RMSNorm,
)
_KEEPS_AXIS: Final = (
    *ACTIVATIONS,
    *_NORMALISATIONS,
    nn.Identity,
    nn.Dropout,
    nn.Dropout1d,
    nn.Dropout2d,
    nn.Dropout3d,
    nn.AlphaDropout,
    nn.MaxPool1d,
    nn.MaxPool2d,
    nn.MaxPool3d,
    nn.AvgPool1d,
    nn.AvgPool2d,
    nn.AvgPool3d,
    nn.AdaptiveAvgPool1d,
    nn.AdaptiveAvgPool2d,
    nn.AdaptiveAvgPool3d,
    nn.AdaptiveMaxPool1d,
    nn.AdaptiveMaxPool2d,
    nn.AdaptiveMaxPool3d,
)


@dataclass(frozen=True)
class Layer:
    """A module whose output is watched."""

    path: str
    """Its name in the model."""
    module: nn.Module
    reason: str
    """Why it is watched."""
    unit_axis: int | None = None
    """The axis that counts units, where the user said so; else it is told from what produced the tensor."""


def find_layers(model: nn.Module, layers: Layers = AUTO) -> list[Layer]:
    """The modules to watch, in the order in which the model names them.

    ``"auto"`` takes every activation module.

    Raises:
        ConfigurationError: ``model`` is no module, or compiled.
        NothingToWatchError: ``"auto"`` finds no activation module, or ``layers`` names none.
        UnknownNameError: a name or pattern fits no module.
    """
    if not isinstance(model, nn.Module):
        raise ConfigurationError(
            f"the model is a {type(model).__name__}, where a torch module was expected; "
            "give a torch.nn.Module, or a mapping of names to modules"
        )
    _check_uncompiled(model)
    modules = {path: module for path, module in model.named_modules() if path}
    if layers == AUTO:
        found = [
            Layer(path, module, f"activation module {type(module).__name__}")
            for path, module in (modules or {"": model}).items()
            if isinstance(module, ACTIVATIONS)
        ]
        if not found:
            raise NothingToWatchError(
                f"no activation module found in {type(model).__name__}; its modules are: {_listed(modules)}. "
                "Name the modules to watch: layers=['name', ...]"
            )
        return found
    patterns = [layers] if isinstance(layers, str) else list(layers)
    axes: Mapping[str, int] = layers if isinstance(layers, Mapping) else {}
    if not patterns:
        raise NothingToWatchError(f"layers is empty; name some of: {_listed(modules)}, or say 'auto'")
    chosen: dict[str, Layer] = {}
    for pattern in patterns:
        matches = [path for path in modules if fnmatch.fnmatchcase(path, pattern)]
        if not matches:
            raise UnknownNameError.of("layer", pattern, modules)
        for path in matches:
            chosen[path] = Layer(path, modules[path], f"named by layers={pattern!r}", axes.get(pattern))
    return [chosen[path] for path in modules if path in chosen]


def produced_axis(module: nn.Module, given: int | None, output: Tensor) -> int | None:
    """The unit axis, from the end, of what ``module`` put out; None where its type does not tell.

    ``given`` is the unit axis of its input, None where unknown. Told by the type of the module, never by the number
    of dimensions: a Conv1d's (batch, channel, length) and a sequence's (batch, time, unit) look alike.
    """
    if isinstance(module, _LAST):
        return -1
    for kind, axis in _CONVOLUTIONS.items():
        if isinstance(module, kind):
            return axis
    if isinstance(module, _CHANNELS_SECOND) and given is None:
        return 1 - output.ndim
    if isinstance(module, _KEEPS_AXIS):
        return given
    if isinstance(module, nn.Flatten) and output.ndim == 2:
        return -1
    return None


def unit_axis(layer: Layer, output: Tensor, produced: int | None) -> int:
    """The unit axis of a layer's output, from the end.

    Raises:
        UnitAxisError: neither the user nor the producing module tells, and the output is not [sample, unit]; or it
            has no such axis as the user said.
    """
    if layer.unit_axis is not None:
        axis = layer.unit_axis if layer.unit_axis < 0 else layer.unit_axis - output.ndim
        if not -output.ndim <= axis < 0:
            raise UnitAxisError(
                f"layer {layer.path!r} puts out a tensor of shape {tuple(output.shape)}, which has no axis "
                f"{layer.unit_axis}; give one of its {output.ndim} axes: layers={{{layer.path!r}: axis}}"
            )
        return axis
    if produced is not None:
        return produced
    if output.ndim == 2:
        return -1
    raise UnitAxisError(
        f"layer {layer.path!r} puts out a tensor of shape {tuple(output.shape)}, and what produced it does not tell "
        f"which axis counts its units; say so: layers={{{layer.path!r}: axis}}"
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
        if "bias" in name.rpartition(".")[2]:
            return "bias"
        return "gain" if id(parameter) in gains or parameter.ndim < 2 else "weight"

    return {name: kind(name, parameter) for name, parameter in model.named_parameters()}


def _check_uncompiled(model: nn.Module) -> None:
    # Who compiled a model has loaded the compiler; we do not load it to ask.
    compiler = sys.modules.get("torch._dynamo.eval_frame")
    wrapper: tuple[type, ...] = (compiler.OptimizedModule,) if compiler else ()
    for path, module in model.named_modules():
        if isinstance(module, wrapper) or getattr(module, "_compiled_call_impl", None) is not None:
            raise ConfigurationError(
                f"{f'the module {path}' if path else 'the model'} is compiled by torch.compile, and compiled forwards "
                "cannot be watched yet; watch the uncompiled module, and run it without torch.compile: compiling it "
                "after attaching hides its layers as well"
            )


def _listed(modules: Mapping[str, nn.Module]) -> str:
    return ", ".join(f"{path} ({type(module).__name__})" for path, module in modules.items()) or "none"
