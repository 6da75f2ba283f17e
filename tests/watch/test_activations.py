"""Activation functions as modules and as functions, and which calls write in place."""

from __future__ import annotations

from typing import Any

import pytest
from torch import nn

from plastikit.watch.activations import FUNCTIONS, MODULES, function_of, is_in_place


@pytest.mark.parametrize("kind", MODULES)
def test_every_activation_module_has_a_function(kind: type[nn.Module]) -> None:
    """Its name is one by which torch knows the function."""
    assert MODULES[kind] in FUNCTIONS


def test_function_of() -> None:
    """Subclasses are what they derive from; other modules are none."""

    class Own(nn.ReLU):
        pass

    assert function_of(Own()) == "relu"
    assert function_of(nn.Linear(1, 1)) is None
    assert function_of(nn.Softmax(-1)) is None


@pytest.mark.parametrize(
    ("name", "args", "kwargs", "wanted"),
    [
        ("relu_", (), {}, True),
        ("add_", (0,), {}, True),
        ("__iadd__", (0, 1), {}, True),
        ("__setitem__", (0, 1, 2), {}, True),
        ("__add__", (0, 1), {}, False),
        ("relu", (0,), {"inplace": True}, True),
        ("relu", (0, True), {}, True),
        ("relu", (0,), {"inplace": False}, False),
        ("dropout", (0, 0.5, True, False), {}, False),
        ("dropout", (0, 0.5, True, True), {}, True),
        ("batch_norm", (0, 1, 2, 3, 4, True), {}, False),
    ],
)
def test_writes_in_place(name: str, args: tuple[Any, ...], kwargs: dict[str, Any], wanted: object) -> None:
    """By its name, by keyword, or by position where the function takes the wish so."""
    assert is_in_place(name, args, kwargs) is wanted
