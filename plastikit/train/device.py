"""Where networks are trained, and how exactly their matrix products are computed there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from plastikit.errors import ConfigurationError, UnknownNameError
from plastikit.train.config import TrainingConfig

_KNOWN = ("auto", "cpu", "cuda")


def training_device(config: TrainingConfig) -> torch.device:
    """Give the device that a configuration asks for.

    Raises:
        UnknownNameError: no device of that name is trained on.
        ConfigurationError: the GPU is not there, or the precision needs one or cannot be set.
    """
    device = _device(config.device)
    if device.type != "cuda" and config.precision != "float32":
        raise ConfigurationError(
            f"precision is {config.precision!r} and the device is {device}; it needs a GPU. "
            "Set precision to 'float32' or device to a GPU."
        )
    with tf32(is_on=config.precision == "tf32"):
        return device


def _device(name: str) -> torch.device:
    kind, colon, number = name.partition(":")
    if kind not in _KNOWN or (colon and not (kind == "cuda" and number.isdecimal())):
        raise UnknownNameError.of("device", name, (*_KNOWN, "cuda:0"))
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if kind == "auto":
        return torch.device("cuda" if count else "cpu")
    if kind == "cuda" and int(number or 0) >= count:
        raise ConfigurationError(
            f"device is {name!r}, and torch {torch.__version__} finds {count} CUDA devices here. "
            "Set device to 'cpu' or 'auto', or run where that GPU is, with a torch built for CUDA."
        )
    return torch.device(name)


@contextmanager
def tf32(*, is_on: bool) -> Iterator[None]:
    """Let a GPU compute matrix products in TF32 within the block; what holds outside is left as it was.

    Its speed has not been measured: no GPU was at hand when this was written.

    Raises:
        ConfigurationError: this process has told torch in the other way that it knows.
    """
    if not is_on:
        yield
        return
    try:
        before = torch.get_float32_matmul_precision()
    except RuntimeError as error:
        raise ConfigurationError(
            "precision is 'tf32', and fp32_precision of torch.backends was set in this process, beside which torch "
            "refuses its float32_matmul_precision. Leave fp32_precision alone, or set precision to 'float32'."
        ) from error
    torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
