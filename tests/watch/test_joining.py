"""What several processes saw, brought together: samples behind each other, and nothing made up where one lacks it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from plastikit.watch.joining import bundled, from_bytes, joined, outlined, size_of, to_bytes
from plastikit.watch.sight import Sight

CPU = torch.device("cpu")


def _sight(features: dict[str, Tensor], **others: Any) -> Sight:
    known: dict[str, Any] = {
        "pre_activations": {},
        "feature_gradients": {},
        "pre_gradients": {},
        "functions": {},
        "heads": {},
        "groups": {},
        "unreadable": frozenset(),
        "problems": [],
    }
    return Sight(features=features, **(known | others))


def test_samples_of_all() -> None:
    """Samples follow each other in the order of the processes, groups with them; gradients are those of a mean."""
    one, two = torch.randn(3, 2), torch.randn(4, 2)
    sights = [
        _sight({"a": each}, feature_gradients={"a": each}, groups={"a": torch.full((len(each),), place)})
        for place, each in enumerate((one, two))
    ]
    both = joined(sights, {}, CPU)
    torch.testing.assert_close(both.features["a"], torch.cat([one, two]))
    torch.testing.assert_close(both.feature_gradients["a"], torch.cat([one, two]) / 2)
    assert both.groups["a"].tolist() == [0] * 3 + [1] * 4


def test_gradients_in_half_precision() -> None:
    """A small gradient is divided in a precision that can hold the result."""
    smallest = torch.full((1, 1), 6e-8, dtype=torch.float16)
    sight = _sight({"a": smallest}, feature_gradients={"a": smallest})
    assert float(joined([sight, sight], {}, CPU).feature_gradients["a"][0, 0]) > 0


def test_a_layer_of_one_process() -> None:
    """A layer that only one process ran holds that one's samples, with its function and heads."""
    sights = [
        _sight({"a": torch.ones(2, 1)}, functions={"a": "relu"}),
        _sight(
            {"a": torch.ones(2, 1), "b": torch.ones(3, 4)}, functions={"a": "relu", "b": "attention"}, heads={"b": 2}
        ),
    ]
    both = joined(sights, {}, CPU)
    assert {label: tuple(features.shape) for label, features in both.features.items()} == {"a": (4, 1), "b": (3, 4)}
    assert both.functions == {"a": "relu", "b": "attention"}
    assert both.heads == {"b": 2}


def test_what_one_lacks() -> None:
    """A value that one of the processes that ran a layer does not have is left out, not filled up."""
    sights = [
        _sight({"a": torch.ones(2, 1)}, pre_activations={"a": torch.ones(2, 1)}, groups={"a": torch.zeros(2)}),
        _sight({"a": torch.ones(2, 1)}, problems=["no groups"]),
        _sight({}, problems=["no groups"]),
    ]
    both = joined(sights, {}, CPU)
    assert len(both.features["a"]) == 4
    assert not both.pre_activations
    assert not both.groups
    assert both.problems == ["no groups"]


def test_an_overwritten_layer() -> None:
    """A layer that was written into in one process is unreadable; its gradients are not."""
    gradient = {"a": torch.ones(2, 1)}
    sights = [
        _sight({}, unreadable=frozenset({"a"}), feature_gradients=gradient),
        _sight({"a": torch.ones(2, 1)}, feature_gradients=gradient),
    ]
    both = joined(sights, {}, CPU)
    assert not both.features
    assert both.unreadable == {"a"}
    assert len(both.feature_gradients["a"]) == 4


def test_widths_that_differ() -> None:
    """A layer with another width in another process is not measured, which is said."""
    both = joined([_sight({"a": torch.ones(2, 3)}), _sight({"a": torch.ones(2, 4)})], {}, CPU)
    assert not both.features
    assert "layer a has another width in other processes: [3, 4]" in both.problems[0]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64])
def test_sent_and_received(dtype: torch.dtype) -> None:
    """What is sent as bytes arrives as it was, whatever its type, odd sizes, strides and emptiness."""
    features = {
        "odd": torch.randn(3, 5).to(dtype),
        "strided": torch.randn(4, 3).to(dtype).t(),
        "empty": torch.zeros(0, 3, dtype=dtype),
        "last": torch.randn(1, 1).to(dtype),
    }
    bundle = bundled(_sight(features, groups={"odd": torch.tensor([True, False, True])}))
    outline = outlined(bundle)
    flat = to_bytes(bundle)
    assert len(flat) == size_of(outline)
    # Behind it lies what fills the place of a longer one.
    received = from_bytes(torch.cat([flat, torch.ones(32, dtype=torch.uint8)]), outline)
    torch.testing.assert_close(received, bundle, rtol=0, atol=0)


def test_nothing_to_send() -> None:
    """Where nobody looks at layers there is nothing to send."""
    assert size_of(outlined({})) == 0
    assert from_bytes(to_bytes({}), {}) == {}
