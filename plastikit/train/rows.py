"""Numbers on a device: how they come there, and how many of their rows are gathered at once."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor


def is_host(device: torch.device) -> bool:
    """Whether NumPy sees what lies on a device."""
    return device.type == "cpu"


def handed(tensor: Tensor, device: torch.device) -> Tensor:
    """Give a tensor of the CPU on a device, without waiting for what a GPU is still at work on."""
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def empty_rows(shape: tuple[int, int, int], device: torch.device) -> Float[Tensor, "task row number"]:
    """Set rows aside, whose numbers are to be written before they are read.

    On the CPU NumPy does it: memory is taken page by page when it is written to, in the large pages that make random
    reads fast, where the system has them. A GPU sets all of it aside at once.
    """
    if is_host(device):
        return torch.from_numpy(np.empty(shape, dtype=np.float32))
    return torch.empty(shape, device=device)


def windows(
    rows: Float[Tensor, "task row number"], first: Int[NDArray[np.int64], "sample"], width: int
) -> Float[Tensor, "sample width"]:
    """Copy ``width`` numbers from where each of some rows begins; rows are counted through all tasks.

    On the CPU NumPy does it: so short a copy takes longer where torch shares it out among threads.
    """
    length = rows.shape[-1]
    count = rows.numel() // length - 1
    if is_host(rows.device):
        bytes_of = rows.element_size()
        kept = np.ndarray((count,), f"V{bytes_of * width}", rows.numpy(), strides=(bytes_of * length,))
        return torch.from_numpy(kept[first].view(np.float32).reshape(len(first), width))
    every = rows.view(-1).as_strided((count, width), (length, 1))
    return every.index_select(0, handed(torch.from_numpy(first), rows.device))
