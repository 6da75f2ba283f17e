"""What a forward showed of one layer, and how it lies: tensors kept as they were, samples along the first axis."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

_deaf: Final[list[None]] = []
"""Holds something while gradients that arrive are not the training's own."""


class Held:
    """A tensor as it was when it was seen, and the gradients that reached it."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor.detach()
        self._version = _version(tensor)
        self._gradients: dict[int, Tensor] = {}

    @property
    def is_as_it_was(self) -> bool:
        """Whether nobody has written into it since."""
        return _version(self.tensor) == self._version

    def copy(self) -> None:
        """Take a copy: somebody is about to write into the tensor."""
        if self.is_as_it_was:
            self.tensor = self.tensor.clone()
            self._version = _version(self.tensor)

    def listen(self, tensor: Tensor) -> None:
        """Note the gradients that reach ``tensor``, of each backward apart."""
        if tensor.requires_grad:
            tensor.register_hook(self._note)

    def gradient(self, backwards: Collection[int]) -> Tensor | None:
        """The sum of the gradients of those backward passes; None where none of them reached it."""
        found = [gradient for key, gradient in self._gradients.items() if key in backwards]
        return torch.stack(found).sum(dim=0) if len(found) > 1 else found[0] if found else None

    @property
    def backwards(self) -> Collection[int]:
        """The backward passes that reached it."""
        return self._gradients.keys()

    def _note(self, gradient: Tensor) -> None:
        key = None if _deaf else backward_pass()
        if key is not None:
            known = self._gradients.get(key)
            self._gradients[key] = gradient.detach() if known is None else known + gradient.detach()


@dataclass
class Seen:
    """A layer's output in the last forward that counts; several of them where one layer was called in a loop."""

    outputs: list[Held]
    axis: int
    """The axis that counts units, from the end."""
    is_of_whole: bool
    """Whether it was computed inside a forward of the whole network."""
    inputs: list[Held] = field(default_factory=list)
    """What went into the activation function; empty where there is none."""
    function: str | None = None
    heads: int | None = None
    sample_axis: int = 0
    """The axis that counts samples."""
    rows: Tensor | None = None
    """The sample that each row belongs to, where rows of several samples lie mixed."""
    is_doubtful: bool = False
    """Whether samples may lie along another axis than the first, behind steps in time or members of an ensemble."""

    @property
    def is_as_it_was(self) -> bool:
        """Whether every output can still be read."""
        return all(held.is_as_it_was for held in self.outputs)

    @property
    def width(self) -> int:
        """How many units the layer has."""
        return self._units(self.outputs[0].tensor)

    def matrix(self, tensors: list[Tensor]) -> Tensor:
        """``tensors``, which lie as the outputs do, as [sample, unit]."""
        matrices = [self._matrix(tensor) for tensor in tensors]
        return matrices[0] if len(matrices) == 1 else torch.cat(matrices)

    def groups(self, given: Tensor) -> Tensor | None:
        """The group of each row; a sample of several rows (time, space) lends them its group. None if it cannot be."""
        of_all = [self._groups(held.tensor, given) for held in self.outputs]
        found = [groups for groups in of_all if groups is not None]
        if not found or len(found) < len(of_all):
            return None
        return found[0] if len(found) == 1 else torch.cat(found)

    def _matrix(self, tensor: Tensor) -> Tensor:
        if tensor.ndim == 2 and self.axis == -1:
            return tensor
        if self.heads is not None and tensor.ndim > 3:
            tensor = tensor.transpose(-3, -2).flatten(-2)
        moved = tensor.movedim(self.axis, -1)
        if self.sample_axis and moved.ndim > 2:
            moved = moved.movedim(self.sample_axis, 0)
        return moved.reshape(-1, moved.shape[-1])

    def _groups(self, tensor: Tensor, given: Tensor) -> Tensor | None:
        rows = tensor.numel() // max(1, self._units(tensor))
        if self.rows is not None:
            return given.to(tensor.device)[self.rows] if int(self.rows.max()) < given.numel() else None
        if given.numel() == rows:
            return given.to(tensor.device)
        if tensor.ndim < 2:
            return None
        fitting = [
            axis for axis, size in enumerate(tensor.shape) if size == given.numel() and axis != self.axis % tensor.ndim
        ]
        if self.is_doubtful and fitting == [1] and tensor.ndim == 3:
            return given.to(tensor.device).repeat(rows // given.numel())
        if self.sample_axis not in fitting or (self.is_doubtful and len(fitting) > 1):
            return None
        return given.to(tensor.device).repeat_interleave(rows // given.numel())

    def _units(self, tensor: Tensor) -> int:
        if self.heads is not None and tensor.ndim > 3:
            return math.prod(tensor.shape[-1:-4:-2])
        return tensor.shape[self.axis]


@dataclass(frozen=True)
class Sight:
    """What the last forward showed. Tensors are detached, and not to be written to; those of layers are by label."""

    features: dict[str, Tensor]
    """Post-activations of each layer, [sample, unit]."""
    pre_activations: dict[str, Tensor]
    feature_gradients: dict[str, Tensor]
    pre_gradients: dict[str, Tensor]
    functions: dict[str, str]
    heads: dict[str, int]
    groups: dict[str, Tensor]
    """The group of each sample of a layer, [sample]."""
    unreadable: frozenset[str]
    """Layers whose output was written into since; they are left out."""
    problems: list[str]
    """What could not be measured and why, a sentence fragment each."""

    def shown(self, *, scale: float = 1.0) -> dict[str, Any]:
        """What a capture holds of the layers; gradients over the ``scale`` that the loss was multiplied with."""
        return {
            "features": self.features,
            "pre_activations": self.pre_activations,
            "feature_gradients": _divided(self.feature_gradients, scale),
            "pre_gradients": _divided(self.pre_gradients, scale),
            "functions": self.functions,
            "heads": self.heads,
            "groups": self.groups,
            "unreadable": self.unreadable,
        }


def _divided(gradients: dict[str, Tensor], scale: float) -> dict[str, Tensor]:
    """In the precision that a large scale needs."""
    if scale == 1.0:
        return gradients
    return {
        label: gradient.to(torch.promote_types(gradient.dtype, torch.float32)) / scale
        for label, gradient in gradients.items()
    }


@contextmanager
def deaf() -> Iterator[None]:
    """Inside, no gradient is noted: it is one of ours."""
    _deaf.append(None)
    try:
        yield
    finally:
        _deaf.pop()


def packed_rows(packed: PackedSequence) -> Tensor:
    """The sample that each row of a packed sequence belongs to, [row]."""
    sizes = packed.batch_sizes.tolist()
    rows = torch.cat([torch.arange(size) for size in sizes])
    order = packed.sorted_indices
    return (rows if order is None else order.cpu()[rows]).to(packed.data.device)


def listen_again(known: Seen, output: Tensor) -> None:
    """Checkpointing computes a layer again, with gradients this time: those belong to what was seen first."""
    held = known.outputs[0]
    first = held.tensor
    if len(known.outputs) == 1 and not held.backwards and first.shape == output.shape and torch.equal(first, output):
        held.listen(output)


def is_wrapped(tensor: Tensor) -> bool:
    """Whether torch.func stands a tensor for many."""
    return torch._C._functorch.is_functorch_wrapped_tensor(tensor)  # noqa: SLF001


def backward_pass() -> int | None:
    """Which backward pass is running."""
    key: int = torch._C._current_graph_task_id()  # noqa: SLF001  there is no public name for it
    return None if key < 0 else key


def _version(tensor: Tensor) -> int:
    """Goes up with each write into the tensor; inference tensors do not count them."""
    return -1 if tensor.is_inference() else tensor._version
