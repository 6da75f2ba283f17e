"""Convolutional networks: one, two and three axes of space, batch normalisation, residuals."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from zoo.models_dense import affine
from zoo.reckoning import Reckoning

Values = Mapping[str, Tensor]

_CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_NORMS = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}


def convolved(values: Values, name: str, given: Tensor, padding: int = 0) -> Tensor:
    """A convolution of stride 1, one shift of the kernel after the other."""
    weight, space = values[f"{name}.weight"], given.ndim - 2
    given = functional.pad(given, (padding, padding) * space)
    sizes = [size - kernel + 1 for size, kernel in zip(given.shape[2:], weight.shape[2:], strict=True)]
    total = torch.zeros(len(given), len(weight), *sizes, dtype=given.dtype)
    for shift in itertools.product(*map(range, weight.shape[2:])):
        window = given[(..., *(slice(start, start + size) for start, size in zip(shift, sizes, strict=True)))]
        total = total + torch.tensordot(window, weight[(..., *shift)], ([1], [1])).movedim(-1, 1)
    bias = values.get(f"{name}.bias")
    return total if bias is None else total + bias.reshape(-1, *[1] * space)


def batch_normalised(values: Values, name: str, given: Tensor, *, is_training: bool = True) -> Tensor:
    """Batch normalisation over all but the channels; by the running values outside training."""
    shape = (-1, *[1] * (given.ndim - 2))
    axes = [axis for axis in range(given.ndim) if axis != 1]
    if is_training:
        mean = given.mean(dim=axes, keepdim=True)
        variance = (given - mean).square().mean(dim=axes, keepdim=True)
    else:
        mean = values[f"{name}.running_mean"].reshape(shape)
        variance = values[f"{name}.running_var"].reshape(shape)
    scaled = (given - mean) / (variance + 1e-5).sqrt()
    return scaled * values[f"{name}.weight"].reshape(shape) + values[f"{name}.bias"].reshape(shape)


def plain(space: int) -> Callable[[], nn.Module]:
    """Two convolutions, batch normalised; as long along space as there are channels, so that axes can be mistaken."""

    def build() -> nn.Module:
        convolution, norm = _CONVOLUTIONS[space], _NORMS[space]
        return nn.Sequential(
            convolution(2, 4, 3, padding=1), norm(4), nn.ReLU(inplace=True),
            convolution(4, 3, 2), nn.Tanh(), nn.Dropout(0.2), nn.Flatten(), nn.Linear(3 * 3**space, 5), nn.ReLU(),
            nn.Linear(5, 1),
        )  # fmt: skip

    return build


def of_plain(values: Values, reckoning: Reckoning, given: Tensor) -> Tensor:
    """What ``plain`` computes."""
    hidden = reckoning.relu("2", batch_normalised(values, "1", convolved(values, "0", given, 1)), axis=1)
    hidden = reckoning.drop(reckoning.tanh("4", convolved(values, "3", hidden), axis=1), 0.2)
    return affine(values, "9", reckoning.relu("8", affine(values, "7", hidden.flatten(1))))


def fields(space: int) -> Callable[[int], tuple[Tensor]]:
    """Samples of two channels, four long along each axis of space; as many samples as channels."""
    return lambda number: (torch.randn(4, 2, *[4] * space),)


class Residual(nn.Module):
    """A residual block: one activation module in two places, in place, and a sum in place between them."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, 4, 1)
        self.first = nn.Conv2d(4, 4, 3, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(4)
        self.second = nn.Conv2d(4, 4, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(4)
        self.relu = nn.ReLU(inplace=True)
        self.head = nn.Linear(4, 3)

    def forward(self, given: Tensor) -> Tensor:
        """Called by torch."""
        kept = self.relu(self.stem(given))
        hidden = self.relu(self.first_norm(self.first(kept)))
        hidden = self.second_norm(self.second(hidden))
        hidden += kept
        hidden = self.relu(hidden)
        return self.head(functional.adaptive_avg_pool2d(hidden, 1).flatten(1))


def of_residual(values: Values, reckoning: Reckoning, given: Tensor) -> Tensor:
    """What ``Residual`` computes."""
    kept = reckoning.relu("relu", convolved(values, "stem", given), axis=1)
    hidden = batch_normalised(values, "first_norm", convolved(values, "first", kept, 1))
    hidden = convolved(values, "second", reckoning.relu("relu#2", hidden, axis=1), 1)
    hidden = reckoning.relu("relu#3", batch_normalised(values, "second_norm", hidden) + kept, axis=1)
    return affine(values, "head", hidden.mean(dim=(2, 3)))


class ThenSequence(nn.Module):
    """Channels in the middle become units at the end: a convolution read as a sequence, and normalised by groups."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(2, 4, 1)
        self.norm = nn.BatchNorm1d(4)
        self.norm.eval()
        self.mix = nn.Linear(4, 4)
        self.out = nn.Linear(4, 1)

    def forward(self, given: Tensor) -> Tensor:
        """Called by torch."""
        hidden = functional.relu(self.norm(self.conv(given)))
        hidden = functional.gelu(hidden.transpose(1, 2) * 2)
        hidden = torch.tanh(self.mix(hidden)).permute(0, 2, 1)
        hidden = functional.silu(hidden)
        return self.out(hidden.mean(dim=-1))


def of_then_sequence(values: Values, reckoning: Reckoning, given: Tensor) -> Tensor:
    """What ``ThenSequence`` computes."""
    hidden = batch_normalised(values, "norm", convolved(values, "conv", given), is_training=False)
    hidden = reckoning.relu("relu", hidden, axis=1)
    hidden = reckoning.gelu("gelu", hidden.transpose(1, 2) * 2)
    hidden = reckoning.tanh("tanh", affine(values, "mix", hidden)).transpose(1, 2)
    return affine(values, "out", reckoning.silu("silu", hidden, axis=1).mean(dim=-1))
