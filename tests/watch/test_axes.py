"""Which axis counts units is told by the functions that made a tensor, through whatever moves it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from plastikit.watch.axes import Tag
from plastikit.watch.tracer import Tracer

WEIGHT = nn.Parameter(torch.randn(4, 4))


class _Nobody:
    """Listens to nothing."""

    def __getattr__(self, _name: str) -> Callable[..., None]:
        return lambda *_args: None


def _axis(function: Callable[[Tensor], Tensor], shape: tuple[int, ...], given: int | None) -> int | None:
    """The unit axis of what ``function`` makes of a tensor whose unit axis is ``given``."""
    tracer = Tracer(_Nobody())
    inputs = torch.randn(shape)
    tracer.tags.put(inputs, Tag(given))
    with tracer:
        output = function(inputs)
        return tracer.tags.of(output).axis


@pytest.mark.parametrize(
    ("module", "shape", "given", "wanted"),
    [
        (nn.Linear(2, 2), (5, 7, 2), None, -1),
        (nn.Conv1d(2, 2, 1), (5, 2, 7), None, -2),
        (nn.Conv1d(2, 2, 1), (2, 7), None, -2),
        (nn.Conv2d(2, 2, 1), (5, 2, 7, 7), None, -3),
        (nn.Conv3d(2, 2, 1), (5, 2, 3, 3, 3), None, -4),
        (nn.ConvTranspose3d(2, 2, 1), (5, 2, 3, 3, 3), None, -4),
        (nn.BatchNorm2d(2), (5, 2, 7, 7), None, -3),
        (nn.BatchNorm1d(2), (5, 2), None, -1),
        (nn.BatchNorm1d(2), (5, 2, 2), -2, -2),
        (nn.LayerNorm(2), (5, 7, 2), -1, -1),
        (nn.RMSNorm(2), (5, 7, 2), -1, -1),
        (nn.ReLU(), (5, 2, 7), -2, -2),
        (nn.ReLU(), (5, 2, 7), None, None),
        (nn.Dropout(0.5), (5, 2, 7), -2, -2),
        (nn.MaxPool2d(2), (5, 2, 4, 4), -3, -3),
        (nn.AdaptiveAvgPool2d(1), (5, 2, 4, 4), -3, -3),
        (nn.Flatten(), (5, 2, 7), -2, -1),
        (nn.Flatten(2), (5, 2, 7, 7), -3, None),
        (nn.Unflatten(0, (5, 2)), (10, 7), -1, -1),
    ],
)
def test_modules(module: nn.Module, shape: tuple[int, ...], given: int | None, wanted: object) -> None:
    """The type of the module that produced a tensor tells its unit axis, never the number of dimensions."""
    assert _axis(module, shape, given) == wanted


@pytest.mark.parametrize(
    ("function", "shape", "given", "wanted"),
    [
        (lambda x: x.transpose(1, 2), (5, 2, 7), -2, -1),
        (lambda x: x.transpose(-1, 0), (5, 2, 7), -1, -3),
        (lambda x: x.permute(0, 2, 3, 1), (5, 2, 3, 3), -3, -1),
        (lambda x: x.permute((2, 0, 1)), (5, 2, 7), -2, -1),
        (lambda x: x.movedim(1, -1), (5, 2, 3, 3), -3, -1),
        (lambda x: x.mT, (5, 2, 7), -2, -1),
        (lambda x: x.T, (5, 2), -1, -2),
        (lambda x: x.t(), (5, 2), -1, -2),
        (lambda x: x.reshape(-1, 2), (5, 7, 2), -1, -1),
        (lambda x: x.view(5, 7, 2), (35, 2), -1, -1),
        (lambda x: x.view(5, 2, 7), (35, 2), -1, None),
        (lambda x: x.reshape(5, -1), (5, 2, 7), -2, -1),
        (lambda x: x.unsqueeze(1), (5, 2), -1, -1),
        (lambda x: x + 1, (5, 2, 7), -2, -2),
        (lambda x: 2 * x, (5, 2, 7), -2, -2),
        (lambda x: x + torch.ones(2, 7), (5, 2, 7), -2, -2),
        (lambda x: torch.cat((x, x), dim=1), (5, 2, 7), -2, -2),
        (lambda x: x.chunk(2, dim=-1)[1], (5, 7, 4), -1, -1),
        (lambda x: x[0], (5, 2, 7), -2, -2),
        (lambda x: x[:, -1], (5, 7, 2), -1, -1),
        (lambda x: x[:, 0], (5, 2, 7), -2, None),
        (lambda x: x[x[:, :, 0] > -9], (5, 7, 2), -1, -1),
        (lambda x: x[..., 0], (5, 7, 2), -1, None),
        (lambda x: x @ WEIGHT, (5, 7, 4), None, -1),
        (lambda x: WEIGHT @ x, (5, 4, 7), None, -2),
        (lambda x: WEIGHT.t().mul(2) @ x, (5, 4, 7), None, -2),
        (lambda x: x @ x.mT, (5, 7, 4), -1, None),
        (lambda x: torch.einsum("bti,io->bto", x, WEIGHT), (5, 7, 4), None, -1),
        (lambda x: torch.einsum("bti,io->bot", x, WEIGHT), (5, 7, 4), None, -2),
        (lambda x: torch.einsum("bti,bsi->bts", x, x), (5, 7, 4), -1, None),
        (lambda x: functional.interpolate(x, 14), (5, 2, 7), -2, -2),
        (lambda x: torch.fft.rfft(x).real, (5, 2, 7), -2, None),
    ],
)
def test_functions(
    function: Callable[[Any], Tensor], shape: tuple[int, ...], given: int | None, wanted: object
) -> None:
    """Functions move the unit axis or keep it; where one does not tell, nobody guesses."""
    assert _axis(function, shape, given) == wanted


def test_a_tensor_that_is_gone_lends_its_tag_to_nobody() -> None:
    """A new tensor at the place of an old one is unknown."""
    tracer = Tracer(_Nobody())
    for _ in range(100):
        tensor = torch.randn(3)
        assert tracer.tags.of(tensor).axis is None
        tracer.tags.put(tensor, Tag(-1))
        del tensor


def test_layers_that_feed_weights_are_told() -> None:
    """What an activation put out is followed to the weights it goes into, through what only reshapes it."""
    told: list[frozenset[str]] = []

    class Listener(_Nobody):
        def consumed(self, labels: frozenset[str]) -> None:
            told.append(labels)

    tracer = Tracer(Listener())
    inputs = torch.randn(3, 4)
    tracer.tags.put(inputs, Tag(-1, sources=frozenset({"hidden"})))
    with tracer:
        functional.linear(2 * inputs.view(3, 4) + 1, WEIGHT)
        functional.linear(torch.ones(3, 4), WEIGHT)
    assert told == [frozenset({"hidden"})]
