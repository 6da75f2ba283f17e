"""Compiled modules are seen on due steps, however and whenever they were compiled, and never compiled again for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.utils import counters
from torch.nn import functional

from plastikit.watch.capture import NetworkWatch
from plastikit.watch.layers import find_layers


class _Model(nn.Module):
    """A module, a function and dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 1)
        self.relu, self.dropout = nn.ReLU(), nn.Dropout(0.2)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(functional.gelu(self.second(self.dropout(self.relu(self.first(inputs))))))


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    """What one test compiled is nothing to the next."""
    torch._dynamo.reset()
    counters.clear()
    yield
    torch._dynamo.reset()


def _compile(model: nn.Module, *, in_place: bool, fullgraph: bool) -> nn.Module:
    if not in_place:
        return cast("nn.Module", torch.compile(model, fullgraph=fullgraph, backend="aot_eager"))
    model.compile(fullgraph=fullgraph, backend="aot_eager")
    return model


@pytest.mark.parametrize("is_first", [True, False])
@pytest.mark.parametrize("in_place", [True, False])
@pytest.mark.parametrize("fullgraph", [True, False])
def test_seen_and_not_compiled_again(*, is_first: bool, in_place: bool, fullgraph: bool) -> None:
    """Compiled before watching or after, as a wrapper or in place: seen on each due step, one graph, nothing left."""
    model = _Model()
    call = _compile(model, in_place=in_place, fullgraph=fullgraph) if is_first else model
    watch = NetworkWatch("net", call, find_layers(call))
    watch.arm()
    call = call if is_first else _compile(model, in_place=in_place, fullgraph=fullgraph)
    inputs = torch.randn(5, 3)
    for step in range(6):
        if step % 2 == 0:
            watch.arm()
        before = model.relu(model.first(inputs))
        call(inputs).sum().backward()
        if step % 2 == 0:
            assert list(watch.sight().features) == ["relu", "gelu"]
            assert watch.sight().features["relu"].allclose(before)
            watch.disarm()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.sub_(0.1 * cast("Tensor", parameter.grad))
    assert counters["stats"]["unique_graphs"] == 1
    assert torch.compile.__module__ == "torch"
    assert "plastikit" not in torch._dynamo.eval_frame.OptimizedModule.__call__.__module__
    assert "plastikit" not in type(cast("Any", model)._compiled_call_impl).__module__


def test_a_compiled_part_of_a_network() -> None:
    """A compiled module inside one that is not: both are seen, and what the part feeds is known."""
    part = nn.Sequential(nn.Linear(3, 4), nn.Tanh())
    model = nn.Sequential(torch.compile(part, backend="aot_eager"), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 1))
    watch = NetworkWatch("net", model, find_layers(model))
    watch.arm()
    inputs = torch.randn(5, 3)
    model(inputs).sum().backward()
    assert list(watch.sight().features) == ["0.1", "2"]
    assert watch.sight().features["0.1"].allclose(part(inputs))


def test_a_compiled_function_in_a_forward() -> None:
    """The tracer stands in no compiled function's way: with all of its graph, it runs on due steps as on others."""

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.head = nn.Linear(3, 4), nn.Linear(4, 1)
            self.function = torch.compile(lambda inputs: inputs * 2, fullgraph=True, backend="aot_eager")

        def forward(self, inputs: Tensor) -> Tensor:
            return self.head(torch.relu(self.function(self.first(inputs))))

    model = Model()
    watch = NetworkWatch("net", model, find_layers(model))
    for step in range(6):
        if step % 2 == 0:
            watch.arm()
        model(torch.randn(5, 3)).sum().backward()
        if step % 2 == 0:
            assert list(watch.sight().features) == ["relu"]
            watch.disarm()
    assert counters["stats"]["unique_graphs"] <= 2


def test_autocast_keeps_its_gradients() -> None:
    """Weights that autocast casts while we look do not serve the run that follows, which needs their gradients."""
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))
    compiled = cast("nn.Module", torch.compile(model, backend="aot_eager"))
    watch = NetworkWatch("net", compiled, find_layers(compiled))
    watch.arm()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        compiled(torch.randn(5, 3)).float().sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert list(watch.sight().features) == ["1"]
