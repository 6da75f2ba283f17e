"""Whatever runs inside, the model and the random state are afterwards as they were."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from plastikit.watch.undisturbed import undisturbed


class _Restless(nn.Module):
    """Changes all that a forward can change."""

    counter: Tensor
    replaced: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("counter", torch.zeros(()))
        self.register_buffer("replaced", torch.ones(2))
        self.register_buffer("absent", None)
        self.register_buffer("holes", torch.full((2,), torch.nan))
        self.dropout = nn.Dropout()

    def forward(self, inputs: Tensor) -> Tensor:
        """In evaluation mode as well."""
        self.counter += 1
        self.replaced = self.replaced * 2
        self.absent = torch.ones(1)
        if "late" not in self._buffers:
            self.register_buffer("late", torch.ones(1))
        noise = random.random() + np.random.random() + torch.rand(())
        return inputs + noise


def test_everything_is_put_back() -> None:
    """Modes, buffers as objects and as numbers, and the state of torch, NumPy and Python."""
    model = _Restless()
    model.dropout.eval()
    buffers = dict(model._buffers)
    states = random.getstate(), str(np.random.get_state()), torch.get_rng_state()
    with undisturbed(model):
        assert not model.training
        model(torch.ones(2))
        assert model.counter == 1
    assert model.training
    assert not model.dropout.training
    assert model._buffers.keys() == buffers.keys()
    assert all(model._buffers[name] is buffer for name, buffer in buffers.items())
    assert model.counter == 0
    assert model.replaced.tolist() == [1, 1]
    assert random.getstate() == states[0]
    assert str(np.random.get_state()) == states[1]
    assert torch.get_rng_state().equal(states[2])


def test_an_error_inside_puts_back_too() -> None:
    """Also where the forward fails."""
    model = _Restless()

    def fail() -> None:
        with undisturbed(model):
            model(torch.ones(2))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert model.counter == 0
    assert model.training


def test_untouched_buffers_are_not_written_to() -> None:
    """A buffer that nobody changed, NaN or not, is not written to: a pending backward pass may depend on it."""
    model = nn.BatchNorm1d(2)
    model.running_mean = torch.full((2,), torch.nan)
    versions = [buffer._version for buffer in model.buffers()]
    with undisturbed(model):
        model(torch.ones(3, 2))
    assert [buffer._version for buffer in model.buffers()] == versions
