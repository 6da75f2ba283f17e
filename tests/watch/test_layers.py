"""Which modules are layers, which axis counts their units, and which parameters are weights."""

from __future__ import annotations

from typing import Any, cast

import pytest
import torch
from torch import nn

from plastikit.errors import ConfigurationError, NothingToWatchError, UnitAxisError, UnknownNameError
from plastikit.watch.layers import Layers, Watched, find_layers, parameter_kinds, unit_axis, unwrapped


def _model() -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Sequential(nn.Linear(4, 4), nn.Tanh()), nn.Linear(4, 1))


def _labels(model: nn.Module, layers: Layers = "auto") -> list[str]:
    return list(find_layers(model, layers).found())


def test_auto_finds_the_activation_modules() -> None:
    """Every activation module is a layer, at any depth, in the model's order; nothing else is."""
    assert _labels(_model()) == ["1", "2.1"]
    assert "ReLU" in find_layers(_model()).found()["1"].reason


def test_auto_finds_recurrence_and_attention() -> None:
    """What recurrent modules put out and the heads of attention are layers."""
    model = nn.ModuleDict({"gru": nn.GRU(2, 3), "cell": nn.LSTMCell(2, 3), "heads": nn.MultiheadAttention(4, 2)})
    assert _labels(model) == ["gru", "cell", "heads"]
    assert "attention" in find_layers(model).found()["heads"].reason


def test_a_reused_module_is_one_layer() -> None:
    """A module that stands in two places is named once."""
    relu = nn.ReLU()
    assert _labels(nn.Sequential(nn.Linear(1, 1), relu, nn.Linear(1, 1), relu)) == ["1"]


def test_names_patterns_and_axes() -> None:
    """Names and patterns choose modules in the model's order; a mapping says their unit axis."""
    assert _labels(_model(), ["3", "2.*", "1"]) == ["1", "2.0", "2.1", "3"]
    assert _labels(_model(), "2.?") == ["2.0", "2.1"]
    found = find_layers(_model(), {"1": 1, "2.*": -1}).found()
    assert {label: layer.unit_axis for label, layer in found.items()} == {"1": 1, "2.0": -1, "2.1": -1}


def test_a_function_chooses() -> None:
    """A function of a module's name and the module chooses; of a function's label it is handed the function's name."""
    assert _labels(_model(), lambda name, kind: isinstance(kind, nn.Linear) and name != "3") == ["0", "2.0"]
    choice = find_layers(_model(), lambda _name, kind: kind == "gelu")
    assert choice.function("2.gelu", "2", "gelu")
    assert not choice.function("2.relu", "2", "relu")


def test_a_function_that_a_module_may_call_can_be_named() -> None:
    """``block.relu`` may come once the block runs; a module that there is not cannot call anything."""
    assert find_layers(_model(), ["2.relu"]).unmatched(()) == ["2.relu"]
    with pytest.raises(UnknownNameError, match=r"unknown layer '7.relu'"):
        find_layers(_model(), ["7.relu"])


def test_unknown_layer_offers_the_nearest() -> None:
    """A name that fits nothing is an error that offers what is near."""
    model = nn.ModuleDict({"hidden": nn.ReLU()})
    with pytest.raises(UnknownNameError, match=r"unknown layer 'hiden'. Did you mean hidden\?"):
        find_layers(model, ["hiden"])


def test_nothing_to_watch_says_what_there_is() -> None:
    """A model that can have no activation is an error that lists its modules and the next move."""
    with pytest.raises(NothingToWatchError, match=r"0 \(Linear\).*layers="):
        find_layers(nn.Sequential(nn.Linear(1, 1)))
    with pytest.raises(NothingToWatchError, match=r"layers is empty"):
        find_layers(_model(), [])


def test_not_a_module() -> None:
    """Something that is no module is named, with what was expected."""
    with pytest.raises(ConfigurationError, match=r"model is a list.*torch module"):
        find_layers(cast("Any", [1]))


def test_an_axis_that_nobody_tells_is_an_error() -> None:
    """[sample, unit] needs no telling; anything else that nobody tells is an error that asks for it."""
    layer = find_layers(_model()).found()["1"]
    assert unit_axis(layer, torch.zeros(3, 4), None) == -1
    with pytest.raises(UnitAxisError, match=r"layers=\{'1': axis\}"):
        unit_axis(layer, torch.zeros(3, 4, 5), None)


def test_the_users_axis_counts_first() -> None:
    """An axis of the user's is taken over what the producer tells, counted from either end; one too far is an error."""
    layer = find_layers(_model(), {"1": 1}).found()["1"]
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


def test_parametrized_parameters_keep_their_kinds() -> None:
    """A parametrized weight is a weight and a bias a bias; the lengths in weight normalisation are gains."""
    normed = nn.utils.parametrizations.weight_norm(nn.Linear(3, 2))
    bias = nn.utils.parametrize.register_parametrization(nn.Linear(3, 2), "bias", nn.Tanh())
    assert parameter_kinds(nn.Sequential(normed, bias)) == {
        "0.bias": "bias",
        "0.parametrizations.weight.original0": "gain",
        "0.parametrizations.weight.original1": "weight",
        "1.weight": "weight",
        "1.parametrizations.bias.original": "bias",
    }


def test_wrappers_leave_no_mark_in_names() -> None:
    """Compiled as a whole or in part, a model has the names of the model that was written."""
    model = _model()
    assert unwrapped(cast("nn.Module", torch.compile(model, backend="eager"))) is model
    inner = nn.ModuleDict({"inner": cast("nn.Module", torch.compile(model, backend="eager"))})
    assert _labels(inner) == ["inner.1", "inner.2.1"]
    assert list(parameter_kinds(inner)) == [f"inner.{name}" for name, _ in model.named_parameters()]


def test_what_is_watched_prints_as_a_table() -> None:
    """A line for each layer, with its reason."""
    assert str(Watched({"a": "first", "longer": "second"})) == "a       first\nlonger  second"
