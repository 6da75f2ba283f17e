"""Errors can be caught as plastikit's own and as the builtin, and offer the next move."""

from __future__ import annotations

import pytest

from plastikit import errors
from plastikit.errors import MissingExtraError, PlastikitError, UnknownNameError

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, PlastikitError)]


@pytest.mark.parametrize("kind", KINDS)
def test_each_is_a_builtin_too(kind: type[PlastikitError]) -> None:
    """A caller who knows nothing of plastikit catches what they would catch anyway."""
    builtins = [base for base in kind.__mro__ if base.__module__ == "builtins" and base not in {object, BaseException}]
    assert kind is PlastikitError or builtins[0] is not Exception


@pytest.mark.parametrize(
    ("found", "known", "message"),
    [
        ("srnk", ["srank", "rank", "loss"], "unknown metric 'srnk'. Did you mean srank or rank?"),
        ("REACH-V3", ["reach-v3", "push-v3"], "unknown metric 'REACH-V3'. Did you mean reach-v3?"),
        ("zzz", ["b", "a"], "unknown metric 'zzz'. There is: a, b."),
        ("zzz", [], "unknown metric 'zzz'. There is none to choose from."),
    ],
)
def test_unknown_names_offer_what_is_near(found: str, known: list[str], message: str) -> None:
    """The nearest names whatever their case, else all of them."""
    error = UnknownNameError.of("metric", found, known)
    assert isinstance(error, ValueError)
    assert str(error).startswith(message.removesuffix("?"))


def test_names_that_differ_in_case_alone() -> None:
    """Of two known names that differ in case alone, both can be offered."""
    assert str(UnknownNameError.of("layer", "relu_", ["ReLU", "relu"])).count("elu") >= 1


def test_missing_extra_says_how_to_install_it() -> None:
    """The command stands in the message, and the message is one line."""
    message = str(MissingExtraError.of("plastikit train", "train"))
    assert "pip install 'plastikit[train]'" in message
    assert "\n" not in message
