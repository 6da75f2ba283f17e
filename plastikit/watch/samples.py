"""Which axis of an activation counts samples: the first, but for modules that put steps in time before them."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn


def told_axis(at_work: Iterable[nn.Module], output: Tensor) -> int | None:
    """The axis of ``output`` that counts samples, where a module at work, innermost first, tells; else None."""
    for module in at_work:
        if isinstance(module, nn.TransformerEncoderLayer | nn.TransformerDecoderLayer):
            return int(not module.self_attn.batch_first and output.ndim > 2)
    return None


def lies_otherwise(module: nn.Module) -> bool:
    """Whether a module may put out samples along another axis: behind steps, or behind members of an ensemble."""
    if isinstance(module, nn.RNNBase | nn.MultiheadAttention):
        return not module.batch_first
    is_convolution = hasattr(module, "kernel_size")
    return not is_convolution and any(parameter.ndim > 2 for parameter in module.parameters(recurse=False))
