"""Parameters that lie in pieces on several processes: which they are, and how they are made whole."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final, TypeGuard, TypeVar, cast

import torch
from torch import Tensor, nn

from plastikit.watch.probe import Capture, Needs

_Tensor = TypeVar("_Tensor", bound=Tensor | None)

Key = tuple[str, ...]
"""Where something lies in a capture: its field, its name, and for the optimizer's state the entry."""

_NEEDED: Final = {
    "parameters": Needs.PARAMETERS | Needs.UPDATES,
    "initial": Needs.INITIAL,
    "gradients": Needs.GRADIENTS,
    "updated": Needs.UPDATES,
    "optimizer_state": Needs.OPTIMIZER,
}
"""What of a capture may be sharded, and who looks at it."""


def is_sharded(tensor: object) -> TypeGuard[Tensor]:
    """Whether this process holds only a piece of it."""
    # Where the module was never imported there is none, and importing it takes long.
    known = sys.modules.get("torch.distributed.tensor")
    return known is not None and isinstance(tensor, known.DTensor)


@torch.no_grad()
def whole(tensor: _Tensor) -> _Tensor:
    """All of it; where it is sharded every process that holds a piece has to ask, and in the same order."""
    return cast("_Tensor", cast("Any", tensor).full_tensor()) if is_sharded(tensor) else tensor


def resting(known: nn.Parameter | None, parameter: nn.Parameter) -> nn.Parameter:
    """The sharded parameter ``known``, where ``parameter`` merely stands in for it in a forward; else ``parameter``."""
    stands_in = is_sharded(known) and not is_sharded(parameter) and known.shape == parameter.shape
    return cast("nn.Parameter", known) if stands_in else parameter


def reshard(model: nn.Module) -> None:
    """Have each module hold its sharded parameters, and not what stands in for them since the last forward."""
    for module in model.modules():
        if has_ancestor(module, "FSDPModule"):
            cast("Any", module).reshard()


def has_ancestor(module: nn.Module, name: str) -> bool:
    """Whether its class, or one that it is derived from, is called ``name``."""
    return any(ancestor.__name__ == name for ancestor in type(module).__mro__)


def pieces_of(capture: Capture, needs: Needs) -> Iterator[Key]:
    """Where in a capture lie tensors of which this process holds a piece, and which a probe looks at."""
    for field, needed in _NEEDED.items():
        for name, value in getattr(capture, field).items() if needs & needed else ():
            if is_sharded(value):
                yield field, name
            elif isinstance(value, Mapping):
                yield from ((field, name, key) for key, entry in value.items() if is_sharded(entry))


def _at(capture: Capture, key: Key) -> Any:
    """What lies there."""
    field, name, *inner = key
    value = getattr(capture, field)[name]
    return value[inner[0]] if inner else value


def made_whole(capture: Capture, needs: Needs, shared: Collection[Key], *, is_kept: bool) -> Capture:
    """The capture with whole tensors for what all processes have in pieces; without what nobody looks at."""
    made: dict[tuple[str, ...], Any] = {}
    for key in sorted(shared):
        tensor = whole(_at(capture, key))
        if is_kept:
            made[key] = tensor
    fields: dict[str, Any] = {}
    for field, needed in _NEEDED.items():
        kept: dict[str, Any] = {}
        for name, value in getattr(capture, field).items() if needs & needed else ():
            if isinstance(value, Mapping):
                state = {key: made.get((field, name, key), entry) for key, entry in value.items()}
                kept[name] = {key: entry for key, entry in state.items() if not is_sharded(entry)}
            elif not is_sharded(tensor := made.get((field, name), value)):
                kept[name] = tensor
        fields[field] = kept
    return replace(capture, **fields)
