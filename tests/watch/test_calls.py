"""Calls of modules: which is at work, which lies inside which, and which has failed."""

from __future__ import annotations

from types import FrameType

import pytest
import torch
from torch import Tensor, nn

from plastikit.watch.calls import has_failed, is_within, running_call


class _Noting(nn.Module):
    def __init__(self, inner: nn.Module | None = None, *, is_failing: bool = False) -> None:
        super().__init__()
        self.inner, self.is_failing = inner, is_failing
        self.calls: list[FrameType | None] = []
        self.failures: list[bool] = []
        self.register_forward_pre_hook(lambda _module, _args: self.calls.append(running_call()))
        self.register_forward_hook(lambda *_: self.failures.append(has_failed(self.calls[-1])), always_call=True)

    def forward(self, given: Tensor) -> Tensor:
        if self.is_failing:
            raise RuntimeError
        return given if self.inner is None else self.inner(given)


def test_a_call_lies_within_the_one_that_made_it() -> None:
    """A part's call lies within that of the whole, and not the other way round; two calls are two."""
    part = _Noting()
    whole = _Noting(nn.Sequential(part))
    for _ in range(2):
        whole(torch.ones(1))
    assert is_within(part.calls[0], whole.calls[0])
    assert not is_within(whole.calls[0], part.calls[0])
    assert not is_within(part.calls[1], whole.calls[0])


def test_outside_of_any_call() -> None:
    """Where no module is at work there is no call."""
    assert running_call() is None


def test_only_a_call_that_ended_in_an_error_has_failed() -> None:
    """An error that is being handled around a call is not the call's own."""
    sound, failing = _Noting(), _Noting(is_failing=True)
    with pytest.raises(RuntimeError):
        failing(torch.ones(1))
    try:
        raise KeyError  # noqa: TRY301  the call comes while it is handled
    except KeyError:
        sound(torch.ones(1))
    assert (failing.failures, sound.failures) == ([True], [False])
