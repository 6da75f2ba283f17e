"""What hooks see of a forward: the right tensor, the right axis, the right call, or nothing."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from oracles import replay
from plastikit.errors import UnitAxisError
from plastikit.watch.capture import NetworkWatch
from plastikit.watch.layers import Layers, find_layers


def _watch(model: nn.Module, layers: Layers = "auto", groups: Callable[..., object] | None = None) -> NetworkWatch:
    watch = NetworkWatch("net", model, find_layers(model, layers), groups=groups)
    watch.arm()
    return watch


def _hooks(model: nn.Module) -> int:
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())


def test_hooks_come_and_go() -> None:
    """Armed there are hooks, armed twice no more of them, disarmed there is none, and nothing is held."""
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    watch = _watch(model)
    count = _hooks(model)
    watch.arm()
    assert _hooks(model) == count > 0
    model(torch.ones(4, 2))
    watch.disarm()
    assert _hooks(model) == 0
    assert watch.sight().features == {}


def test_forwards_without_gradients_are_ignored() -> None:
    """Targets and evaluation do not count, before or after the forward that does."""
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    watch = _watch(model)
    with torch.no_grad():
        model(torch.ones(7, 2))
    assert watch.sight().features == {}
    output = model(torch.full((4, 2), 2.0))
    with torch.no_grad():
        model(torch.ones(7, 2))
    with torch.inference_mode():
        model(torch.ones(7, 2))
    assert watch.sight().features["1"].equal(output)


def test_the_last_forward_counts() -> None:
    """A second forward with gradients replaces the first, layer by layer."""
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    watch = _watch(model)
    model(torch.ones(7, 2))
    output = model(torch.full((4, 2), 2.0))
    assert watch.sight().features["1"].equal(output)
    assert not watch.sight().features["1"].requires_grad


class _Reused(nn.Module):
    """One activation module for three layers of different width, the last skipped at will."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = nn.Linear(2, 3), nn.Linear(3, 4), nn.Linear(4, 5)
        self.relu = nn.ReLU()
        self.is_deep = True

    def forward(self, inputs: Tensor) -> list[Tensor]:
        """Every activation."""
        seen = [self.relu(self.first(inputs))]
        seen.append(self.relu(self.second(seen[-1])))
        if self.is_deep:
            seen.append(self.relu(self.third(seen[-1])))
        return seen


def test_calls_of_a_reused_module_are_told_apart() -> None:
    """Each call of one activation module in a forward is a layer of its own, of its own width."""
    model = _Reused()
    watch = _watch(model)
    for _ in range(2):
        seen = model(torch.randn(6, 2))
        features = watch.sight().features
        assert list(features) == ["relu", "relu#2", "relu#3"]
        assert all(found.equal(wanted) for found, wanted in zip(features.values(), seen, strict=True))
    assert watch.units == {"relu": 3, "relu#2": 4, "relu#3": 5}
    model.is_deep = False
    model(torch.randn(6, 2))
    assert list(watch.sight().features) == ["relu", "relu#2"]


def test_a_layer_that_changes_its_width_is_an_error() -> None:
    """Outside a forward of the whole network calls cannot be told apart: different widths are refused, not mixed."""
    model = _Reused()
    _watch(model)
    model.relu(model.first(torch.ones(2, 2)))
    with pytest.raises(UnitAxisError, match=r"puts out 4 units, where it put out 3"):
        model.relu(torch.ones(2, 4, requires_grad=True))


def test_in_place_activations_are_seen() -> None:
    """What an in-place ReLU writes over is copied before, so that both are measured as they were."""
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(inplace=True), nn.Linear(3, 1))
    watch = _watch(model, ["0", "1"])
    inputs = torch.randn(8, 2)
    model(inputs)
    sight = watch.sight()
    assert sight.features["0"].equal(model[0](inputs))
    assert sight.features["1"].equal(functional.relu(model[0](inputs)))
    assert sight.pre_activations["1"].equal(model[0](inputs))


class _Overwrites(nn.Module):
    """Adds a residual into the activation, in place."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.tanh = nn.Linear(3, 3), nn.ReLU()

    def forward(self, inputs: Tensor) -> Tensor:
        """Written into after the hook."""
        hidden: Tensor = self.tanh(self.linear(inputs))
        hidden += inputs
        return hidden


def test_a_layer_written_into_later_in_the_forward_is_kept() -> None:
    """A residual added in place does not change what the activation put out."""
    watch = _watch(model := _Overwrites())
    inputs = torch.randn(4, 3)
    model(inputs)
    assert watch.sight().features["tanh"].equal(functional.relu(model.linear(inputs)))


def test_a_layer_written_into_after_the_forward_is_left_out() -> None:
    """What was changed where nobody looks is left out rather than measured wrong."""
    watch = _watch(model := nn.Sequential(nn.Linear(3, 3), nn.ReLU()))
    model(torch.randn(4, 3)).add_(1.0)
    sight = watch.sight()
    assert sight.features == {}
    assert sight.unreadable == {"1"}
    assert "layer 1 was written into" in sight.problems[0]


class _Functional(nn.Module):
    """Reads a spectrum, so that nobody knows the axis behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.relu = nn.Conv1d(2, 5, 1), nn.ReLU()

    def forward(self, inputs: Tensor) -> Tensor:
        """[batch, unit, frequency] behind a convolution."""
        hidden: Tensor = self.relu(torch.fft.rfft(self.conv(inputs)).real)
        return hidden


def test_an_axis_is_never_guessed() -> None:
    """Behind a function that does not tell the axis is asked for; once told, it is right."""
    model = _Functional()
    _watch(model)
    with pytest.raises(UnitAxisError, match=r"'relu'"):
        model(torch.ones(3, 2, 7))
    model = _Functional()
    watch = _watch(model, {"relu": 1})
    output = model(torch.randn(3, 2, 7))
    assert np.array_equal(watch.sight().features["relu"].numpy(), replay.by_unit(output, 1))


@pytest.mark.parametrize(
    ("model", "size", "axis"),
    [
        (nn.Sequential(nn.Conv1d(2, 5, 1), nn.Dropout(0.0), nn.ReLU()), (3, 2, 7), 1),
        (nn.Sequential(nn.Conv2d(2, 5, 1), nn.GroupNorm(1, 5), nn.ReLU()), (3, 2, 4, 6), 1),
        (nn.Sequential(nn.Linear(2, 5), nn.LayerNorm(5), nn.GELU()), (3, 7, 2), 2),
        (nn.Sequential(nn.Linear(2, 5), nn.ReLU()), (2,), 0),
        (nn.Sequential(nn.Embedding(9, 5), nn.Tanh()), None, 2),
    ],
)
def test_layouts(model: nn.Sequential, size: tuple[int, ...] | None, axis: int) -> None:
    """Channels of a convolution and the last axis of a sequence, though they have as many dimensions."""
    watch = _watch(model)
    output = model(torch.randn(size) if size else torch.randint(9, (3, 7)))
    (found,) = watch.sight().features.values()
    assert np.array_equal(found.numpy(), replay.by_unit(output, axis))


def test_a_branch_seen_late_knows_its_axis() -> None:
    """A layer that takes part for the first time on a later record has the right axis."""

    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear, self.conv = (
                nn.Sequential(nn.Linear(6, 4), nn.ReLU()),
                nn.Sequential(nn.Conv1d(2, 5, 1), nn.ReLU()),
            )

        def forward(self, inputs: Tensor) -> Tensor:
            output: Tensor = self.linear(inputs.flatten(1)) if inputs.ndim == 2 else self.conv(inputs)
            return output

    watch = _watch(model := Branches())
    model(torch.ones(3, 6))
    watch.disarm()
    watch.arm()
    model(torch.ones(3, 2, 3))
    assert {layer: tuple(found.shape) for layer, found in watch.sight().features.items()} == {"conv.1": (9, 5)}


def test_a_layer_that_is_no_tensor_is_an_error() -> None:
    """A module that puts out a tuple cannot be a layer, and the error says what to do."""
    model = nn.Sequential(_Reused())
    _watch(model, ["0"])
    with pytest.raises(UnitAxisError, match=r"'0' puts out a list, where one tensor was expected"):
        model(torch.ones(4, 2))


class _Checkpointed(_Reused):
    """Computes its activations again in the backward pass, where all of them look like lone calls."""

    def forward(self, inputs: Tensor) -> list[Tensor]:
        """Every activation."""
        seen: list[Tensor] = checkpoint(super().forward, inputs, use_reentrant=False)
        return seen


def test_activation_checkpointing() -> None:
    """A forward that is computed again in the backward pass is measured as it was, call by call."""
    watch = _watch(model := _Checkpointed())
    seen = model(torch.randn(6, 2))
    seen[-1].sum().backward()
    features = watch.sight().features
    assert list(features) == ["relu", "relu#2", "relu#3"]
    assert all(found.equal(wanted) for found, wanted in zip(features.values(), seen, strict=True))


def test_reentrant_checkpointing() -> None:
    """Where only the second computation has gradients, that one is measured."""
    watch = _watch(model := nn.Sequential(nn.Linear(2, 3), nn.ReLU()))
    output = checkpoint(model, torch.randn(6, 2, requires_grad=True), use_reentrant=True)
    assert watch.sight().features == {}
    output.sum().backward()
    assert watch.sight().features["1"].equal(output)


def test_groups_follow_the_samples() -> None:
    """Each row of a layer has the group of its sample, also where a sample spans several rows."""
    model = nn.Sequential(nn.Conv1d(2, 5, 1), nn.ReLU(), nn.Flatten(), nn.Linear(15, 2), nn.ReLU())
    watch = _watch(model, groups=lambda inputs: inputs[:, 0, 0].long().tolist())
    inputs = torch.zeros(3, 2, 3)
    inputs[:, 0, 0] = torch.tensor([2.0, 0.0, 1.0])
    model(inputs)
    groups = watch.sight().groups
    assert groups["1"].tolist() == [2, 2, 2, 0, 0, 0, 1, 1, 1]
    assert groups["4"].tolist() == [2, 0, 1]


def test_groups_that_do_not_fit_are_told() -> None:
    """Where the first dimension is time, or the count is wrong, no row is given a group that may be another's."""
    model = nn.Sequential(nn.Linear(2, 5), nn.ReLU())
    watch = _watch(model, groups=lambda _: torch.tensor([0, 1]))
    model(torch.ones(4, 2, 2))
    sight = watch.sight()
    assert sight.groups == {}
    assert "not measured by group" in sight.problems[0]


def test_a_network_whose_forwards_are_alike_is_traced_once() -> None:
    """Of torch's own modules in a row only the layers are hooked after the first record; what they show is the same."""
    model = nn.Sequential(nn.Conv1d(2, 5, 1), nn.BatchNorm1d(5), nn.ReLU(), nn.Dropout(0.0), nn.Conv1d(5, 3, 1))
    watch = _watch(model)
    all_hooks = _hooks(model)
    for _ in range(3):
        inputs = torch.randn(4, 2, 7)
        model(inputs)
        expected = functional.relu(functional.batch_norm(model[0](inputs), None, None, training=True))
        features = watch.sight().features["2"]
        assert np.allclose(features.numpy(), replay.by_unit(expected, 1), atol=1e-6)
        watch.forget()
        assert _hooks(model) == 4 < all_hooks
    watch.disarm()
    assert _hooks(model) == 0


def test_inputs_of_other_dimensions_are_traced_again() -> None:
    """The axis may lie elsewhere then."""
    model = nn.Sequential(nn.BatchNorm1d(5), nn.ReLU())
    watch = _watch(model)
    for size, axis in (((4, 5), 1), ((4, 5), 1), ((4, 5, 7), 1), ((4, 5), 1)):
        output = model(torch.randn(size))
        assert np.array_equal(watch.sight().features["1"].numpy(), replay.by_unit(output, axis))
        watch.forget()


def test_a_forward_of_ones_own_is_always_traced() -> None:
    """What it calls may differ from one time to the next."""
    watch = _watch(model := _Reused())
    hooks = _hooks(model)
    for is_deep in (True, False, True):
        model.is_deep = is_deep
        model(torch.randn(6, 2))
        assert len(watch.sight().features) == 2 + is_deep
        watch.forget()
        assert _hooks(model) == hooks
