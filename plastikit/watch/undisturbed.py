"""Leaves a model and the random state as they were, whatever is run in between."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn


@contextmanager
def undisturbed(model: nn.Module, *, is_evaluating: bool = True) -> Iterator[None]:
    """Module modes, buffers and random state are as before afterwards; inside, evaluation mode where that is wished."""
    modes = {module: module.training for module in model.modules()}
    buffers = [_Buffers(module) for module in model.modules()]
    devices = {tensor.device for tensor in (*model.parameters(), *model.buffers()) if tensor.device.type == "cuda"}
    of_numpy, of_python = np.random.get_state(), random.getstate()  # noqa: NPY002  the state that others draw from
    with torch.random.fork_rng(devices=list(devices)):
        try:
            if is_evaluating:
                model.eval()
            yield
        finally:
            for module, mode in modes.items():
                module.training = mode
            for kept in buffers:
                kept.restore()
            np.random.set_state(of_numpy)  # noqa: NPY002
            random.setstate(of_python)


class _Buffers:
    """The buffers of one module as they are now; only those that were written to are written back."""

    def __init__(self, module: nn.Module) -> None:
        self._of_module = module._buffers  # noqa: SLF001  the public view leaves out what is None
        self._kept = {
            name: (buffer, None if buffer is None else buffer.detach().clone())
            for name, buffer in self._of_module.items()
        }

    @torch.no_grad()
    def restore(self) -> None:
        """Put every buffer back."""
        for name in self._of_module.keys() - self._kept:
            del self._of_module[name]
        for name, (buffer, copy) in self._kept.items():
            self._of_module[name] = buffer
            if buffer is not None and copy is not None and not _is_same(buffer, copy):
                buffer.copy_(copy)


def _is_same(tensor: Tensor, other: Tensor) -> bool:
    """Whether the two hold the same numbers, NaN being the same as NaN."""
    return bool(((tensor == other) | ((tensor != tensor) & (other != other))).all())  # noqa: PLR0124  NaN alone differs
