"""What a forward shows: functions that modules call by themselves, outputs told from hidden layers, and errors."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from plastikit.errors import NothingToWatchError, UnknownNameError
from plastikit.watch.capture import NetworkWatch
from plastikit.watch.layers import Layers, find_layers
from plastikit.watch.sight import Sight


class _Block(nn.Module):
    """A linear map and a function."""

    def __init__(self, function: Callable[[Tensor], Tensor], size: int = 4) -> None:
        super().__init__()
        self.linear = nn.Linear(size, 4)
        self.function = function

    def forward(self, inputs: Tensor) -> Tensor:
        return self.function(self.linear(inputs))


def _see(model: nn.Module, inputs: Tensor, layers: Layers = "auto") -> tuple[NetworkWatch, Sight]:
    watch = NetworkWatch("net", model, find_layers(model, layers))
    watch.arm()
    model(inputs)
    return watch, watch.sight()


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (functional.relu, "relu"),
        (torch.relu, "relu"),
        (Tensor.relu_, "relu"),
        (torch.tanh, "tanh"),
        (Tensor.tanh, "tanh"),
        (functional.gelu, "gelu"),
        (functional.silu, "silu"),
        (functional.leaky_relu, "leaky_relu"),
        (functional.logsigmoid, "logsigmoid"),
        (torch.special.expit, "sigmoid"),
        (lambda inputs: functional.threshold(inputs, 0.0, 1.0), "threshold"),
    ],
)
def test_functions_are_layers(function: Callable[[Tensor], Tensor], name: str) -> None:
    """Each is named after the module that calls it, with what it put out and what went into it."""
    model = nn.Sequential(_Block(function), nn.Linear(4, 1))
    inputs = torch.randn(6, 4)
    watch, sight = _see(model, inputs)
    assert list(sight.features) == [f"0.{name}"]
    before = model[0].linear(inputs)
    assert sight.pre_activations[f"0.{name}"].equal(before)
    assert sight.features[f"0.{name}"].equal(function(before.clone()))
    assert sight.functions == {f"0.{name}": name}
    assert watch.layers == {f"0.{name}": f"function {name} called by the module 0"}


def test_a_module_without_matrices_that_acts_is_an_activation() -> None:
    """What it puts out counts, not the function that it is made of; nobody calls it by that function's name."""

    class Swish(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.slope = nn.Parameter(torch.ones(()))

        def forward(self, inputs: Tensor) -> Tensor:
            return inputs * torch.sigmoid(self.slope * inputs)

    model = nn.Sequential(nn.Linear(4, 4), Swish(), nn.Linear(4, 1))
    inputs = torch.randn(6, 4)
    watch, sight = _see(model, inputs)
    assert sight.features["1"].allclose(functional.silu(model[0](inputs)))
    assert sight.functions == {}
    assert watch.layers == {"1": "activation module Swish"}


def test_outputs_are_left_out() -> None:
    """A squashed output that feeds no weights is no layer, and ``layers`` says so; a last ReLU is one."""
    watch, sight = _see(nn.Sequential(_Block(torch.relu), _Block(torch.tanh)), torch.randn(6, 4))
    assert list(sight.features) == ["0.relu"]
    assert "output of the network" in watch.layers["1.tanh"]
    _, sight = _see(nn.Sequential(_Block(torch.relu), _Block(torch.relu)), torch.randn(6, 4))
    assert list(sight.features) == ["0.relu", "1.relu"]
    _, sight = _see(nn.Sequential(_Block(torch.relu), _Block(torch.tanh)), torch.randn(6, 4), ["*.tanh"])
    assert list(sight.features) == ["1.tanh"]


def test_functions_of_weights_are_no_layers() -> None:
    """A scale that is kept positive has no units."""

    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear, self.scale = nn.Linear(4, 4), nn.Parameter(torch.zeros(4, 4))

        def forward(self, inputs: Tensor) -> Tensor:
            return torch.relu(self.linear(inputs)) @ functional.softplus(self.scale)

    _, sight = _see(Scaled(), torch.randn(6, 4))
    assert list(sight.features) == ["relu"]


def test_nothing_is_found_at_the_first_forward() -> None:
    """A forward of one's own may call anything; once it ran without an activation, there is an error."""

    class Linear(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(4, 4)

        def forward(self, inputs: Tensor) -> Tensor:
            return self.inner(inputs)

    with pytest.raises(NothingToWatchError, match=r"no activation found in Linear.*inner \(Linear\).*layers="):
        _see(Linear(), torch.randn(6, 4))


def test_a_function_that_is_never_called_is_an_error() -> None:
    """A name that only a function could have is looked for in the first forward."""
    with pytest.raises(UnknownNameError, match=r"unknown layer '0.gelu'. Did you mean 0.relu\?"):
        _see(nn.Sequential(_Block(torch.relu), nn.Linear(4, 1)), torch.randn(6, 4), ["0.gelu"])


def test_an_error_in_a_forward_leaves_no_tracer() -> None:
    """Whatever a module raises, torch's functions are as they were, and the next forward is seen."""
    model = nn.Sequential(_Block(torch.relu), nn.Linear(4, 1))
    watch = NetworkWatch("net", model, find_layers(model))
    watch.arm()
    for wrong in (torch.randn(6, 3), None):
        with pytest.raises((RuntimeError, TypeError)):
            model(wrong)
        assert torch.overrides._get_current_function_mode() is None
    model(torch.randn(6, 4))
    assert list(watch.sight().features) == ["0.relu"]


def test_a_part_that_fails_and_is_caught() -> None:
    """A forward that goes on after an error in one of its parts is seen to its end."""

    class Careful(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.narrow, self.wide, self.head = _Block(torch.relu, 3), _Block(torch.relu), nn.Linear(4, 1)

        def forward(self, inputs: Tensor) -> Tensor:
            try:
                hidden = self.narrow(inputs)
            except RuntimeError:
                hidden = self.wide(inputs)
            return self.head(hidden)

    _, sight = _see(Careful(), torch.randn(6, 4))
    assert list(sight.features) == ["wide.relu"]
    assert torch.overrides._get_current_function_mode() is None


def test_a_function_that_chooses_nothing_is_an_error() -> None:
    """As where nothing is found."""
    with pytest.raises(NothingToWatchError):
        _see(nn.Sequential(_Block(torch.relu), nn.Linear(4, 1)), torch.randn(6, 4), lambda _name, _kind: False)
