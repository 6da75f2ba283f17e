"""Independent random streams of one run, each named after what draws from it."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def seed_sequence(seed: int, *names: str) -> np.random.SeedSequence:
    """Give the stream of ``names`` under ``seed``: streams of different names are independent.

    A stream depends on its own name alone, so that a task draws the same goals whatever is trained beside it.
    """
    return np.random.SeedSequence(entropy=seed, spawn_key=tuple(zlib.crc32(name.encode()) for name in names))


def numpy_generator(seed: int, *names: str) -> np.random.Generator:
    """Give a NumPy generator on the stream of ``names``."""
    return np.random.default_rng(seed_sequence(seed, *names))


def torch_generator(seed: int, *names: str, device: torch.device | None = None) -> torch.Generator:
    """Give a torch generator on the stream of ``names``; torch's global state is neither read nor changed."""
    # Processes that only step environments do without torch.
    import torch

    state = int(seed_sequence(seed, *names).generate_state(1, np.uint64)[0])
    generator = torch.Generator(device=device or torch.device("cpu"))
    generator.manual_seed(state >> 1)
    return generator
