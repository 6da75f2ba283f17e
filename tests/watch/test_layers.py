"""Which modules are layers, which axis counts their units, and which parameters are weights."""

from __future__ import annotations

from typing import Any, cast

import pytest
import torch
from torch import nn

from plastikit.errors import ConfigurationError, NothingToWatchError, UnitAxisError, UnknownNameError
from plastikit.watch.layers import find_layers, parameter_kinds, produced_axis, unit_axis


def _model() -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Sequential(nn.Linear(4, 4), nn.Tanh()), nn.Linear(4, 1))


def test_auto_finds_the_activation_modules() -> None:
    """Every activation module is a layer, at any depth, in the model's order; nothing else is."""
    assert [layer.path for layer in find_layers(_model())] == ["1", "2.1"]
    assert "ReLU" in find_layers(_model())[0].reason


def test_a_reused_module_is_one_layer() -> None:
    """A module that stands in two places is named once."""
    relu = nn.ReLU()
    assert [layer.path for layer in find_layers(nn.Sequential(nn.Linear(1, 1), relu, nn.Linear(1, 1), relu))] == ["1"]


def test_names_patterns_and_axes() -> None:
    """Names and patterns choose modules in the model's order; a mapping says their unit axis."""
    assert [layer.path for layer in find_layers(_model(), ["3", "2.*", "1"])] == ["1", "2.0", "2.1", "3"]
    assert [layer.path for layer in find_layers(_model(), "2.?")] == ["2.0", "2.1"]
    assert [(layer.path, layer.unit_axis) for layer in find_layers(_model(), {"1": 1, "2.*": -1})] == [
        ("1", 1), ("2.0", -1), ("2.1", -1),
    ]  # fmt: skip


def test_unknown_layer_offers_the_nearest() -> None:
    """A name that fits nothing is an error that offers what is near."""
    model = nn.ModuleDict({"hidden": nn.ReLU()})
    with pytest.raises(UnknownNameError, match=r"unknown layer 'hiden'. Did you mean hidden\?"):
        find_layers(model, ["hiden"])


def test_nothing_to_watch_says_what_there_is() -> None:
    """A model without activation modules is an error that lists its modules and the next move."""
    with pytest.raises(NothingToWatchError, match=r"0 \(Linear\).*layers="):
        find_layers(nn.Sequential(nn.Linear(1, 1)))
    with pytest.raises(NothingToWatchError, match=r"layers is empty"):
        find_layers(_model(), [])


def test_not_a_module() -> None:
    """Something that is no module is named, with what was expected."""
    with pytest.raises(ConfigurationError, match=r"model is a list.*torch module"):
        find_layers(cast("Any", [1]))


@pytest.mark.parametrize(
    ("module", "shape", "given", "wanted"),
    [
        (nn.Linear(2, 2), (5, 7, 2), None, -1),
        (nn.Conv1d(2, 2, 1), (5, 2, 7), None, -2),
        (nn.Conv1d(2, 2, 1), (2, 7), None, -2),
        (nn.Conv2d(2, 2, 1), (5, 2, 7, 7), None, -3),
        (nn.ConvTranspose3d(2, 2, 1), (5, 2, 7, 7, 7), None, -4),
        (nn.BatchNorm2d(2), (5, 2, 7, 7), None, -3),
        (nn.BatchNorm1d(2), (5, 2), None, -1),
        (nn.ReLU(), (5, 2, 7), -2, -2),
        (nn.ReLU(), (5, 2, 7), None, None),
        (nn.AdaptiveAvgPool2d(1), (5, 2, 1, 1), -3, -3),
        (nn.Flatten(), (5, 14), -3, -1),
        (nn.Flatten(2), (5, 2, 49), -3, None),
        (nn.Softmax(-1), (5, 2), -1, None),
    ],
)
def test_the_producer_tells_the_axis(
    module: nn.Module, shape: tuple[int, ...], given: int | None, wanted: object
) -> None:
    """The unit axis follows from the type of the module that produced the tensor, never from its dimensions."""
    assert produced_axis(module, given, torch.zeros(shape)) == wanted


def test_an_axis_that_nobody_tells_is_an_error() -> None:
    """[sample, unit] needs no telling; anything else that nobody tells is an error that asks for it."""
    layer = find_layers(_model())[0]
    assert unit_axis(layer, torch.zeros(3, 4), None) == -1
    with pytest.raises(UnitAxisError, match=r"layers=\{'1': axis\}"):
        unit_axis(layer, torch.zeros(3, 4, 5), None)


def test_the_users_axis_counts_first() -> None:
    """An axis of the user's is taken over what the producer tells, counted from either end; one too far is an error."""
    layer = find_layers(_model(), {"1": 1})[0]
    assert unit_axis(layer, torch.zeros(3, 4, 5), -1) == -2
    with pytest.raises(UnitAxisError, match=r"no axis 1"):
        unit_axis(layer, torch.zeros(3), None)


def test_parameter_kinds() -> None:
    """Weights, biases and gains, whatever their dimensions."""
    model = nn.ModuleDict(
        {
            "norm": nn.LayerNorm([2, 3]),
            "batch": nn.BatchNorm1d(2),
            "attention": nn.MultiheadAttention(4, 2),
            "slope": nn.PReLU(),
        }
    )
    assert parameter_kinds(model) == {
        "norm.weight": "gain",
        "norm.bias": "bias",
        "batch.weight": "gain",
        "batch.bias": "bias",
        "attention.in_proj_weight": "weight",
        "attention.in_proj_bias": "bias",
        "attention.out_proj.weight": "weight",
        "attention.out_proj.bias": "bias",
        "slope.weight": "gain",
    }


def test_compiled_models_are_refused() -> None:
    """Compiled as a whole, in place or in a part: no hook would be called, so there is an error with the next move."""
    model = _model()
    compiled = cast("nn.Module", torch.compile(model, backend="eager"))
    with pytest.raises(ConfigurationError, match=r"the model is compiled by torch.compile.*watch the uncompiled mod"):
        find_layers(compiled)
    with pytest.raises(ConfigurationError, match=r"the module inner is compiled by torch.compile"):
        find_layers(nn.ModuleDict({"inner": compiled}), ["inner"])
    assert find_layers(model)
    next(model.children()).compile(backend="eager")
    with pytest.raises(ConfigurationError, match=r"the module 0 is compiled by torch.compile"):
        find_layers(model)
