"""Saturation agrees with its definitions, and with cases whose answer is known."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from oracles import saturation as oracle
from plastikit.probes import (
    Saturation,
    dead_fraction,
    linearised_fraction,
    pre_activation_norm,
    saturated_fraction,
    saturated_unit_fraction,
    sign_entropy,
    zero_fraction,
)
from plastikit.watch.probe import Capture, Probe

SHAPES = [(64, 20), (7, 31), (1, 8), (8, 1), (1, 1), (336, 400)]
DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16]
PURE = [
    dead_fraction,
    zero_fraction,
    saturated_fraction,
    saturated_unit_fraction,
    linearised_fraction,
    sign_entropy,
    pre_activation_norm,
]


def _inputs(samples: int, units: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    """Pre-activations whose units range from never to always positive."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(samples, units, generator=generator) + torch.linspace(-4, 4, units)
    return drawn.to(dtype)


def _measured(function: str | None, inputs: Tensor, features: Tensor, *, sees_inputs: bool = True) -> dict[str, float]:
    capture = Capture(
        network="n",
        features={"a": features},
        pre_activations={"a": inputs} if sees_inputs else {},
        functions={} if function is None else {"a": function},
    )
    return {name: value.item() for name, row in Saturation()(capture).items() for value in row.values()}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_relu_agrees_with_the_oracle(shape: tuple[int, int], dtype: torch.dtype) -> None:
    """Every shape and precision gives what counting entry by entry gives, in the functions and in the probe."""
    inputs = _inputs(*shape, dtype)
    features = inputs.relu()
    z, h = inputs.double().numpy(), features.double().numpy()
    expected = {
        "dead_fraction": oracle.dead_fraction(h),
        "network_dead_fraction": oracle.dead_fraction(h),
        "zero_fraction": oracle.zero_fraction(h),
        "linearised_fraction": oracle.linearised_fraction(z),
        "sign_entropy": oracle.sign_entropy(z),
        "pre_activation_norm": oracle.pre_activation_norm(z),
    }
    assert _measured("relu", inputs, features) == pytest.approx(expected, rel=1e-5, abs=1e-6)
    assert dead_fraction(features).item() == pytest.approx(expected["dead_fraction"])
    assert zero_fraction(features).item() == pytest.approx(expected["zero_fraction"])
    assert linearised_fraction(inputs).item() == pytest.approx(expected["linearised_fraction"])
    assert sign_entropy(inputs).item() == pytest.approx(expected["sign_entropy"], abs=1e-6)
    assert pre_activation_norm(inputs).item() == pytest.approx(expected["pre_activation_norm"], rel=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("function", "low", "high"), [("tanh", -0.99, 0.99), ("sigmoid", 0.01, 0.99)])
def test_squashing_functions_agree_with_the_oracle(
    function: str, low: float, high: float, shape: tuple[int, int]
) -> None:
    """Saturation is counted at the bounds of the layer's own function; nothing is called dead."""
    inputs = _inputs(*shape) * 1.5
    features = getattr(torch, function)(inputs)
    h = features.double().numpy()
    # Bounds are rounded to the precision of the features before they are compared.
    low, high = torch.tensor([low, high]).tolist()
    measured = _measured(function, inputs, features)
    assert measured["saturated_fraction"] == pytest.approx(oracle.saturated_fraction(h, low, high))
    assert measured["saturated_unit_fraction"] == pytest.approx(oracle.saturated_unit_fraction(h, low, high))
    assert measured["linearised_fraction"] == pytest.approx(oracle.linearised_fraction(inputs.double().numpy()))
    assert "dead_fraction" not in measured
    assert "network_dead_fraction" not in measured
    assert saturated_fraction(features, low, high).item() == pytest.approx(measured["saturated_fraction"])
    assert saturated_unit_fraction(features, low, high).item() == pytest.approx(measured["saturated_unit_fraction"])


def test_known_answer() -> None:
    """Four units: dead, linear, half open, always open but for one sample."""
    inputs = torch.tensor(
        [[-1.0, 1.0, 1.0, 1.0], [-2.0, 2.0, -1.0, 1.0], [-1.0, 1.0, 1.0, 1.0], [-1.0, 3.0, -1.0, -1.0]]
    )
    measured = _measured("relu", inputs, inputs.relu())
    assert measured["dead_fraction"] == 0.25
    assert measured["zero_fraction"] == 7 / 16
    assert measured["linearised_fraction"] == 0.5
    assert measured["sign_entropy"] == pytest.approx((1 + 0.811278) / 4)


def test_functions_decide_what_is_measured() -> None:
    """Dead units where the function can be 0 or is unknown; saturation where it squashes."""
    inputs = _inputs(10, 6)
    common = {"zero_fraction", "linearised_fraction", "sign_entropy", "pre_activation_norm"}
    dead = {"dead_fraction", "network_dead_fraction"}
    assert _measured("hardswish", inputs, torch.nn.functional.hardswish(inputs)).keys() == common | dead
    assert _measured(None, inputs, inputs).keys() == common | dead
    assert _measured("gelu", inputs, torch.nn.functional.gelu(inputs)).keys() == common
    assert _measured("tanh", inputs, inputs.tanh()).keys() == common | {"saturated_fraction", "saturated_unit_fraction"}


def test_without_pre_activations() -> None:
    """A ReLU's features tell the sign of its input; those of other functions do not, and nothing is made up."""
    inputs = _inputs(33, 12)
    seen, unseen = (_measured("relu", inputs, inputs.relu(), sees_inputs=sees) for sees in (True, False))
    assert unseen == {name: value for name, value in seen.items() if name != "pre_activation_norm"}
    assert _measured("gelu", inputs, inputs, sees_inputs=False).keys() == {"zero_fraction"}


def test_a_function_with_two_inputs_for_each_unit() -> None:
    """The signs of a GLU's inputs are not those of its units, and are left out."""
    inputs = _inputs(9, 8)
    assert _measured("glu", inputs, torch.nn.functional.glu(inputs)).keys() == {"zero_fraction"}


def test_hardswish_is_dead_below_and_not_at_its_minimum() -> None:
    """A unit at 0 for every sample is dead though its input changes sign never; the sign is read from the input."""
    inputs = torch.tensor([[-4.0, -1.0], [-5.0, -2.0]])
    measured = _measured("hardswish", inputs, torch.nn.functional.hardswish(inputs))
    assert measured["dead_fraction"] == 0.5
    assert measured["linearised_fraction"] == 1


def test_thresholds_are_arguments() -> None:
    """The bounds are the caller's, and stand in the passport."""
    probe = Saturation(tanh_bound=0.5, unit_share=0.5)
    features = torch.tensor([[0.6, 0.1], [-0.1, 0.2]])
    reading = probe(Capture(network="n", features={"a": features}, functions={"a": "tanh"}))
    assert reading["saturated_fraction"]["a"].item() == 0.25
    assert reading["saturated_unit_fraction"]["a"].item() == 0.5
    passports = {definition.variable: definition.parameters for definition in probe.definitions}
    assert passports["saturated_unit_fraction"] == {"tanh_bound": 0.5, "sigmoid_margin": 0.01, "unit_share": 0.5}


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_not_finite_is_nan(bad: float) -> None:
    """One entry that is not finite makes its layer unknown, and no other."""
    inputs = _inputs(8, 5)
    spoiled = inputs.clone()
    spoiled[2, 1] = bad
    capture = Capture(
        network="n",
        features={"good": inputs.relu(), "bad": spoiled.relu()},
        pre_activations={"good": inputs, "bad": spoiled},
        functions={"good": "relu", "bad": "relu"},
    )
    reading = Saturation()(capture)
    for variable in ("dead_fraction", "zero_fraction", "linearised_fraction", "sign_entropy"):
        assert math.isnan(reading[variable]["bad"].item())
        assert not math.isnan(reading[variable]["good"].item())
    assert math.isnan(reading["network_dead_fraction"]["n"].item())
    assert all(math.isnan(function(spoiled).item()) for function in PURE[:-1])
    assert not math.isfinite(pre_activation_norm(spoiled).item())


def test_no_samples_is_nan() -> None:
    """Without samples nothing is known."""
    nothing = torch.zeros(0, 3)
    assert all(math.isnan(function(nothing).item()) for function in PURE)
    assert all(math.isnan(value) for value in _measured("relu", nothing, nothing).values())


def test_constant_and_silent_layers() -> None:
    """All zero is wholly dead, a constant is wholly linear; neither switches."""
    silent = _measured("relu", torch.zeros(6, 3), torch.zeros(6, 3))
    assert (silent["dead_fraction"], silent["linearised_fraction"], silent["sign_entropy"]) == (1, 1, 0)
    constant = _measured("relu", torch.ones(6, 3), torch.ones(6, 3))
    assert (constant["dead_fraction"], constant["linearised_fraction"], constant["sign_entropy"]) == (0, 1, 0)


def test_counts_are_exact_beyond_float32() -> None:
    """One open sample among 2^24 + 1 is not missed."""
    features = torch.zeros(2**24 + 1, 1)
    assert dead_fraction(features).item() == 1
    assert linearised_fraction(features + 1).item() == 1
    features[-1] = 1
    assert dead_fraction(features).item() == 0
    assert linearised_fraction(features).item() == 0


def test_the_network_pools_by_units() -> None:
    """A layer of nine units weighs nine times one of one; layers of other functions are left out."""
    capture = Capture(
        network="n",
        features={"a": torch.zeros(2, 1), "b": torch.ones(2, 9), "c": torch.zeros(2, 90)},
        functions={"a": "relu", "b": "relu", "c": "tanh"},
    )
    assert Saturation()(capture)["network_dead_fraction"]["n"].item() == pytest.approx(0.1)
    unreadable = Capture(network="n", features={"a": torch.zeros(2, 1)}, unreadable=frozenset({"b"}))
    assert "network_dead_fraction" not in Saturation()(unreadable)


def test_is_a_probe() -> None:
    """The object keeps to the protocol, and its passports name what it gives."""
    probe = Saturation()
    assert isinstance(probe, Probe)
    capture = Capture(
        network="n",
        features={"a": torch.ones(2, 2), "b": torch.ones(2, 2)},
        pre_activations={"a": torch.ones(2, 2)},
        functions={"a": "relu", "b": "tanh"},
    )
    assert probe(capture).keys() == {definition.variable for definition in probe.definitions}
    assert probe(Capture(network="n")) == {}
