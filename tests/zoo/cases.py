"""The zoo: each model with its batches, and with the same network written by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import torch
from torch import nn

from zoo import loops
from zoo import models_attention as attention
from zoo import models_convolution as convolution
from zoo import models_dense as dense
from zoo import models_sequence as sequence
from zoo.training import Training


def _recurrent(kind: type[nn.RNNBase], name: str, *, is_batch_first: bool, layers: int = 1) -> Callable[[], Training]:
    return lambda: Training(
        sequence.recurrent(kind, is_batch_first=is_batch_first, layers=layers),
        sequence.sequences,
        sequence.of_recurrent(name, is_batch_first=is_batch_first, layers=layers),
    )


def _encoder(*, is_batch_first: bool, share: float) -> Callable[[], Training]:
    return lambda: Training(
        attention.encoder(is_batch_first=is_batch_first, share=share),
        attention.steps,
        attention.of_encoder(is_batch_first=is_batch_first, share=share),
    )


def _gpt2(function: str, implementation: str) -> Callable[[], Training]:
    return lambda: Training(
        attention.gpt2(function, implementation), attention.tokens, attention.of_gpt2(function, implementation)
    )


def _convolution(space: int) -> Callable[[], Training]:
    return lambda: Training(convolution.plain(space), convolution.fields(space), convolution.of_plain)


ZOO: Final[dict[str, Callable[[], Training]]] = {
    "modules": lambda: Training(dense.by_modules, dense.rows, dense.of_modules),
    "functions": lambda: Training(dense.Functions, dense.rows, dense.of_functions),
    "checkpoint": lambda: Training(lambda: dense.Checkpointed(is_reentrant=False), dense.rows, dense.of_checkpointed),
    "checkpoint reentrant": lambda: Training(
        lambda: dense.Checkpointed(is_reentrant=True), dense.slopes, dense.of_checkpointed
    ),
    "tied": lambda: Training(dense.Tied, dense.rows, dense.of_tied),
    "parametrized": lambda: Training(dense.parametrized, dense.rows, dense.of_parametrized),
    "reused": lambda: Training(dense.Reused, dense.rows, dense.of_reused),
    "experts": lambda: Training(dense.Experts, dense.rows, dense.of_experts),
    "frozen": lambda: Training(dense.frozen, dense.rows, dense.of_frozen),
    "bare parameters": lambda: Training(dense.Bare, dense.rows, dense.of_bare),
    "mixed activations": lambda: Training(dense.Mixed, dense.words, dense.of_mixed),
    "conv1d": _convolution(1),
    "conv2d": _convolution(2),
    "conv3d": _convolution(3),
    "residual": lambda: Training(convolution.Residual, convolution.fields(2), convolution.of_residual),
    "conv then sequence": lambda: Training(
        convolution.ThenSequence, convolution.fields(1), convolution.of_then_sequence
    ),
    "gru batch first": _recurrent(nn.GRU, "gru", is_batch_first=True),
    "gru sequence first": _recurrent(nn.GRU, "gru", is_batch_first=False, layers=2),
    "lstm batch first": _recurrent(nn.LSTM, "lstm", is_batch_first=True, layers=2),
    "lstm sequence first": _recurrent(nn.LSTM, "lstm", is_batch_first=False),
    "gru packed": lambda: Training(
        sequence.recurrent(nn.GRU, is_batch_first=True), sequence.packed, sequence.of_packed("gru")
    ),
    "lstm packed": lambda: Training(
        sequence.recurrent(nn.LSTM, is_batch_first=False), sequence.packed, sequence.of_packed("lstm")
    ),
    "gru cell": lambda: Training(lambda: sequence.Looped(nn.GRUCell), sequence.sequences, sequence.of_looped("gru")),
    "lstm cell": lambda: Training(lambda: sequence.Looped(nn.LSTMCell), sequence.sequences, sequence.of_looped("lstm")),
    "encoder batch first": _encoder(is_batch_first=True, share=0.1),
    "encoder sequence first": _encoder(is_batch_first=False, share=0.1),
    "gpt2 gelu sdpa": _gpt2("gelu_new", "sdpa"),
    "gpt2 relu sdpa": _gpt2("relu", "sdpa"),
    "gpt2 gelu eager": _gpt2("gelu_new", "eager"),
    "gpt2 relu eager": _gpt2("relu", "eager"),
    "accumulation": lambda: loops.Accumulating(dense.by_modules, dense.rows, dense.of_modules),
    "two optimizers": lambda: loops.Shared(dense.Functions, dense.rows, dense.of_functions),
    "closure": lambda: loops.Closure(dense.by_modules, dense.rows, dense.of_modules),
    "autocast bfloat16": lambda: loops.autocast(torch.bfloat16),
    "scaled float16": loops.scaled,
    "scaled float16 clipped": lambda: loops.scaled(is_clipped=True),
    "scaled float16 fused": lambda: loops.scaled(is_fused=True),
}
