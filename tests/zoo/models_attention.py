"""Transformers: torch's encoder and its parts, and a GPT-2 of Hugging Face."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from zoo.models_dense import affine, normalised
from zoo.reckoning import Reckoning

Values = Mapping[str, Tensor]
HEADS = 2


def attended(
    query: Tensor, key: Tensor, value: Tensor, reckoning: Reckoning, *, is_causal: bool, share: float
) -> Tensor:
    """Heads side by side, [sample, step, unit], of [sample, step, unit]; ``share`` of the weights dropped."""
    samples, steps, units = query.shape

    def cut(given: Tensor) -> Tensor:
        return given.reshape(samples, steps, HEADS, units // HEADS).transpose(1, 2)

    scores = cut(query) @ cut(key).transpose(-1, -2) / math.sqrt(units // HEADS)
    if is_causal:
        scores = scores.masked_fill(torch.ones(steps, steps).triu(1).bool(), -math.inf)
    weights = torch.exp(scores - scores.amax(dim=-1, keepdim=True))
    weights = weights / weights.sum(dim=-1, keepdim=True)
    weights = reckoning.drop(weights, share) if share else weights
    return (weights @ cut(value)).transpose(1, 2).reshape(samples, steps, units)


class Encoder(nn.Module):
    """Two layers of torch's encoder with a head behind them."""

    def __init__(self, *, is_batch_first: bool, share: float) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, HEADS, 16, dropout=share, batch_first=is_batch_first)
        self.encoder = nn.TransformerEncoder(layer, 2)
        self.head = nn.Linear(8, 1)

    def forward(self, given: Tensor) -> Tensor:
        """Called by torch."""
        return self.head(self.encoder(given))


def encoder(*, is_batch_first: bool, share: float) -> Callable[[], nn.Module]:
    """Builds one."""
    return lambda: Encoder(is_batch_first=is_batch_first, share=share)


def of_encoder(*, is_batch_first: bool, share: float) -> Callable[..., Tensor]:
    """What ``Encoder`` computes; [sample, step, unit] inside."""

    def oracle(values: Values, reckoning: Reckoning, given: Tensor) -> Tensor:
        def drop(tensor: Tensor, *, is_batch_first: bool = is_batch_first) -> Tensor:
            if is_batch_first:
                return reckoning.drop(tensor, share)
            return reckoning.drop(tensor.transpose(0, 1), share).transpose(0, 1)

        hidden = given if is_batch_first else given.transpose(0, 1)
        for name in ("encoder.layers.0", "encoder.layers.1"):
            attention = {f"in.{kind}": values[f"{name}.self_attn.in_proj_{kind}"] for kind in ("weight", "bias")}
            query, key, value = affine(attention, "in", hidden).chunk(3, dim=-1)
            heads = attended(query, key, value, reckoning, is_causal=False, share=share)
            heads = reckoning.note(f"{name}.self_attn", heads, function="attention")
            # Attention computes with steps first, and dropout draws in the order of the memory.
            mixed = drop(affine(values, f"{name}.self_attn.out_proj", heads), is_batch_first=False)
            hidden = normalised(values, f"{name}.norm1", hidden + mixed)
            wide = drop(reckoning.relu(f"{name}.relu", affine(values, f"{name}.linear1", hidden)))
            hidden = normalised(values, f"{name}.norm2", hidden + drop(affine(values, f"{name}.linear2", wide)))
        output = affine(values, "head", hidden)
        return output if is_batch_first else output.transpose(0, 1)

    return oracle


def steps(number: int) -> tuple[Tensor]:
    """As many samples as steps, so that the two can be mistaken."""
    return (torch.randn(4, 4, 8),)


def gpt2(function: str, implementation: str, share: float = 0.0) -> Callable[[], nn.Module]:
    """A GPT-2 with two blocks."""

    def build() -> nn.Module:
        from transformers import GPT2Config, GPT2LMHeadModel

        shares = dict.fromkeys(("attn_pdrop", "embd_pdrop", "resid_pdrop"), share)
        sizes = {"n_layer": 2, "n_head": HEADS, "n_embd": 8, "vocab_size": 20, "n_positions": 16}
        words = {"bos_token_id": 0, "eos_token_id": 0}
        kinds: dict[str, Any] = {"activation_function": function, "attn_implementation": implementation}
        return GPT2LMHeadModel(GPT2Config(**shares, **sizes, **words, **kinds))

    return build


def of_gpt2(function: str, implementation: str) -> Callable[..., Tensor]:
    """What it computes without dropout."""

    def linear(values: Values, name: str, given: Tensor) -> Tensor:
        return affine({"x.weight": values[f"{name}.weight"].T, "x.bias": values[f"{name}.bias"]}, "x", given)

    def oracle(values: Values, reckoning: Reckoning, given: Tensor) -> Tensor:
        hidden = values["transformer.wte.weight"][given] + values["transformer.wpe.weight"][: given.shape[1]]
        for name in ("transformer.h.0", "transformer.h.1"):
            both = linear(values, f"{name}.attn.c_attn", normalised(values, f"{name}.ln_1", hidden))
            query, key, value = both.chunk(3, dim=-1)
            heads = attended(query, key, value, reckoning, is_causal=True, share=0.0)
            if implementation == "sdpa":
                heads = reckoning.note(f"{name}.attn.attention", heads, function="attention")
            hidden = hidden + linear(values, f"{name}.attn.c_proj", heads)
            wide = linear(values, f"{name}.mlp.c_fc", normalised(values, f"{name}.ln_2", hidden))
            if function == "relu":
                wide = reckoning.relu(f"{name}.mlp.act", wide)
            else:
                cubic = math.sqrt(2 / math.pi) * (wide + 0.044715 * wide**3)
                wide = reckoning.note(f"{name}.mlp.act", wide * (1 + torch.tanh(cubic)) / 2, wide)
            hidden = hidden + linear(values, f"{name}.mlp.c_proj", wide)
        hidden = normalised(values, "transformer.ln_f", hidden)
        return hidden @ values["transformer.wte.weight"].T

    return oracle


def tokens(number: int) -> tuple[Tensor]:
    """Three texts of five tokens."""
    return (torch.randint(0, 20, (3, 5)),)
