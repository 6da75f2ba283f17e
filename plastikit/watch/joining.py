"""What several processes saw of one network, brought together as if one had seen it all."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

import torch
from torch import Tensor

from plastikit.watch.sight import Sight

Bundle = dict[str, dict[str, Tensor]]
"""Field -> label -> tensor."""
Outline = dict[str, dict[str, tuple[tuple[int, ...], torch.dtype]]]
"""Field -> label -> shape and type: what a bundle holds, without its numbers."""

_FIELDS: Final = ("features", "pre_activations", "feature_gradients", "pre_gradients", "groups")
_GRADIENTS: Final = ("feature_gradients", "pre_gradients")
_ALIGNED: Final = 16
"""Bytes between the places where tensors may begin; any type can be read from there."""


def bundled(sight: Sight) -> Bundle:
    """The tensors of what one process saw."""
    return {field: dict(getattr(sight, field)) for field in _FIELDS}


def outlined(bundle: Bundle) -> Outline:
    """What a bundle holds."""
    return {
        field: {label: (tuple(tensor.shape), tensor.dtype) for label, tensor in tensors.items()}
        for field, tensors in bundle.items()
    }


def size_of(outline: Outline) -> int:
    """How many bytes it takes to send.

    >>> size_of({"features": {"0": ((3, 1), torch.float32), "1": ((2,), torch.float64)}})
    32
    """
    return max((-(-stop // _ALIGNED) * _ALIGNED for *_, stop in _places(outline)), default=0)


def to_bytes(bundle: Bundle) -> Tensor:
    """A bundle as bytes on the host."""
    outline = outlined(bundle)
    flat = torch.zeros(size_of(outline), dtype=torch.uint8)
    for field, label, start, stop in _places(outline):
        flat[start:stop] = bundle[field][label].contiguous().reshape(-1).view(torch.uint8)
    return flat


def from_bytes(flat: Tensor, outline: Outline) -> Bundle:
    """The bundle that was sent as ``flat``."""
    bundle: Bundle = {field: {} for field in outline}
    for field, label, start, stop in _places(outline):
        shape, dtype = outline[field][label]
        bundle[field][label] = flat[start:stop].view(dtype).reshape(shape)
    return bundle


def joined(sights: Sequence[Sight], devices: Mapping[str, torch.device], device: torch.device) -> Sight:
    """What all of them saw, samples behind each other.

    Each process trains on its own loss, and what is optimized is the mean of those: gradients with respect to the
    features are divided by the number of processes. A layer that only some went through holds the samples of those; a
    value that one of them lacks is left out. Tensors lie on the ``devices`` of their layers, else on ``device``.
    """
    unreadable = frozenset[str]().union(*(sight.unreadable for sight in sights))
    problems = list(dict.fromkeys(problem for sight in sights for problem in sight.problems))
    widths: dict[str, set[int]] = {}
    for sight in sights:
        for label, features in sight.features.items():
            widths.setdefault(label, set()).add(features.shape[-1])
    uneven = {label for label, found in widths.items() if len(found) > 1}
    problems += [
        f"layer {label} has another width in other processes: {sorted(widths[label])}; it is not measured"
        for label in sorted(uneven)
    ]
    first = sights[0]
    whole: Bundle = {}
    for field in _FIELDS:
        whole[field] = {}
        for label in dict.fromkeys(label for sight in sights for label in (*sight.features, *sight.unreadable)):
            found = [getattr(sight, field).get(label) for sight in sights if _has_met(sight, label)]
            if label in uneven or any(tensor is None for tensor in found):
                continue
            if label in unreadable and field not in _GRADIENTS:
                continue
            tensor = torch.cat([each.to(devices.get(label, device)) for each in found])
            whole[field][label] = _shared(tensor, len(sights)) if field in _GRADIENTS else tensor
    return replace(
        first,
        **whole,
        functions={label: name for sight in reversed(sights) for label, name in sight.functions.items()},
        heads={label: count for sight in reversed(sights) for label, count in sight.heads.items()},
        unreadable=unreadable,
        problems=problems,
    )


def _has_met(sight: Sight, label: str) -> bool:
    return label in sight.features or label in sight.unreadable


def _shared(gradients: Tensor, processes: int) -> Tensor:
    return gradients.to(torch.promote_types(gradients.dtype, torch.float32)) / processes


def _places(outline: Outline) -> Iterator[tuple[str, str, int, int]]:
    """Where each tensor begins and ends, in bytes."""
    start = 0
    for field, tensors in outline.items():
        for label, (shape, dtype) in tensors.items():
            stop = start + math.prod(shape) * dtype.itemsize
            yield field, label, start, stop
            start = -(-stop // _ALIGNED) * _ALIGNED
