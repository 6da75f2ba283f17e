"""The activation functions: as modules, and as functions that a forward calls by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from torch import nn

MODULES: Final[Mapping[type[nn.Module], str]] = {
    nn.ReLU: "relu",
    nn.ReLU6: "relu6",
    nn.LeakyReLU: "leaky_relu",
    nn.PReLU: "prelu",
    nn.RReLU: "rrelu",
    nn.ELU: "elu",
    nn.CELU: "celu",
    nn.SELU: "selu",
    nn.GELU: "gelu",
    nn.SiLU: "silu",
    nn.Mish: "mish",
    nn.Tanh: "tanh",
    nn.Hardtanh: "hardtanh",
    nn.Hardswish: "hardswish",
    nn.Hardsigmoid: "hardsigmoid",
    nn.Sigmoid: "sigmoid",
    nn.LogSigmoid: "logsigmoid",
    nn.Softplus: "softplus",
    nn.Softsign: "softsign",
    nn.Tanhshrink: "tanhshrink",
    nn.Threshold: "threshold",
    nn.GLU: "glu",
}
"""Modules that are activations, and the function of each."""

FUNCTIONS: Final[Mapping[str, str]] = {
    **{name: name for name in MODULES.values()},
    **{f"{name}_": name for name in MODULES.values()},
    "_threshold": "threshold",
    "log_sigmoid": "logsigmoid",
    "special_expit": "sigmoid",
}
"""Names by which torch knows activation functions, and the one name that we give each."""

SQUASHING: Final = frozenset({"tanh", "hardtanh", "sigmoid", "hardsigmoid", "logsigmoid", "softplus", "softsign"})
"""Functions with which networks shape what they put out."""

_IN_PLACE: Final = frozenset(
    {"__setitem__", "__iadd__", "__isub__", "__imul__", "__itruediv__", "__ipow__", "__imod__"}
)


def function_of(module: nn.Module) -> str | None:
    """The activation function that a module stands for; None for any other module."""
    kind = type(module)
    if kind not in _known:
        _known[kind] = next((name for known, name in MODULES.items() if issubclass(kind, known)), None)
    return _known[kind]


_known: Final[dict[type, str | None]] = {}


def is_in_place(name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Whether a call writes into its first argument.

    Functions such as ``functional.relu(x, True)`` take the wish by position; ``dropout`` does so behind others.
    """
    if name in _IN_PLACE or (name.endswith("_") and not name.endswith("__")) or kwargs.get("inplace"):
        return True
    wishes = args[3:] if "dropout" in name else args[1:] if name in FUNCTIONS else ()
    return any(argument is True for argument in wishes)
