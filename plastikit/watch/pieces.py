"""Cuts a batch into pieces, and takes the gradient of the loss of each: what conflict and noise are told from."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, Final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from plastikit.errors import ConfigurationError, UnknownNameError
from plastikit.watch.groups import group_ids
from plastikit.watch.probe import Pieces
from plastikit.watch.rows import gradients_of_rows

PIECES: Final = 8
"""Pieces of a batch, as far as its groups leave a choice: each can cost one backward pass."""


def pieces_of(
    losses: Tensor,
    groups: Sequence[int] | Tensor | None,
    parameters: Mapping[str, Tensor],
    *,
    shared: Sequence[str] | None = None,
) -> Pieces:
    """Gradients of the mean loss over pieces of a batch, on shared parameters.

    The samples of a group go to its pieces in turn: max(2, ceil(8 / number of groups)) of them, fewer where it has
    fewer samples. Nothing is left behind: no ``.grad`` is touched, no random number is drawn, and the graph stays for
    the training's own ``backward``. Hooks on tensors of the graph do run, with each backward pass that is made.

    Args:
        losses: The loss of each sample with its graph, [sample]; over further dimensions a sample's mean is taken.
        groups: One whole number per sample, such as its task; None for one group of all.
        parameters: Parameters by name. Frozen ones are left out, and tied ones count once.
        shared: Names or patterns of the parameters to look at. By default those of which some entry has a gradient
            from at least two groups; with one group, all that the losses depend on.

    Raises:
        ConfigurationError: losses without a sample dimension or without a graph, or groups that do not fit them.
        UnknownNameError: a pattern in ``shared`` fits no parameter.
    """
    per_sample = _per_sample(losses)
    per_piece, group, samples = _cut(_groups_of(groups, per_sample), per_sample)
    chosen = _chosen(parameters, shared)
    at_once = gradients_of_rows(per_sample, per_piece, chosen)
    rest = [tensor for place, tensor in enumerate(chosen) if place not in at_once]
    rows = [_gradient(per_sample, weight, rest) for weight in per_piece]
    one_by_one = iter(_columns(rows, len(rest)))
    columns = [at_once[place] if place in at_once else next(one_by_one) for place in range(len(chosen))]
    return _joined(columns, chosen, group, samples, is_given=shared is not None)


def pieces_of_groups(
    losses: Mapping[Any, Tensor],
    parameters: Mapping[str, Tensor],
    *,
    shared: Sequence[str] | None = None,
) -> Pieces:
    """Gradients of one loss per group, on shared parameters: one piece each, and so no halves to tell noise from.

    Args:
        losses: Group to its loss, a tensor of one element with its graph.
        parameters: Parameters by name, as in ``pieces_of``.
        shared: As in ``pieces_of``.

    Raises:
        ConfigurationError: no loss, one of several elements, or one without a graph.
        UnknownNameError: a pattern in ``shared`` fits no parameter.
    """
    if not losses:
        raise ConfigurationError("losses is an empty mapping; give the loss of each group: {group: loss}")
    for group, loss in losses.items():
        if not isinstance(loss, Tensor) or loss.numel() != 1:
            found = f"a tensor of shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else repr(loss)
            raise ConfigurationError(
                f"the loss of group {group!r} is {found}, where one number was expected; give its mean, or the loss of "
                "each sample with groups="
            )
    if not any(loss.requires_grad for loss in losses.values()):
        raise ConfigurationError(_NO_GRAPH)
    chosen = _chosen(parameters, shared)
    rows = [_gradient(loss, torch.ones_like(loss), chosen) for loss in losses.values()]
    group = torch.arange(len(rows))
    return _joined(_columns(rows, len(chosen)), chosen, group, torch.ones_like(group), is_given=shared is not None)


_GLANCE: Final = 1_024
"""Entries of a parameter that are looked at first."""

_NO_GRAPH: Final = (
    "losses carry no graph; give them as they were computed, before backward(), detach() or item(), and outside "
    "torch.no_grad()"
)


def _per_sample(losses: Tensor) -> Float[Tensor, "sample"]:
    if not isinstance(losses, Tensor):
        raise ConfigurationError(f"losses is a {type(losses).__name__}, where a tensor of losses was expected")
    if not losses.ndim or not losses.numel():
        raise ConfigurationError(
            f"losses have the shape {tuple(losses.shape)}, where one loss per sample was expected; compute the loss "
            "with reduction='none', or give a mapping of groups to their losses"
        )
    if not losses.requires_grad:
        raise ConfigurationError(_NO_GRAPH)
    return losses


def _groups_of(groups: Sequence[int] | Tensor | None, losses: Tensor) -> Int[Tensor, "sample"]:
    count = losses.shape[0]
    if groups is None:
        return torch.zeros(count, dtype=torch.int64)
    given = group_ids(groups)
    if given.numel() != count:
        raise ConfigurationError(
            f"groups name {given.numel()} samples, where losses have {count}; give one group per loss"
        )
    return given.cpu()


def _cut(groups: Int[Tensor, "sample"], losses: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What each loss counts in each piece, [piece, ...losses]; the group of each piece; and its samples."""
    present, member, sizes = torch.unique(groups, return_inverse=True, return_counts=True)
    wanted = max(2, math.ceil(PIECES / len(present)))
    counts = sizes.clamp(max=wanted)
    # The place of a sample within its group: in the order of the batch, as the sort is stable.
    order = torch.argsort(member, stable=True)
    place = torch.empty_like(member)
    place[order] = torch.arange(len(member)) - (sizes.cumsum(0) - sizes).repeat_interleave(sizes)
    piece = (counts.cumsum(0) - counts)[member] + place % counts[member]
    samples = torch.bincount(piece)
    weights = torch.zeros(len(samples), len(member), dtype=torch.float64)
    weights[piece, torch.arange(len(member))] = 1.0 / (samples[piece] * (losses.numel() // len(member))).double()
    shape = (len(samples), len(member), *(1 for _ in losses.shape[1:]))
    spread = weights.to(losses).reshape(shape).expand(-1, *losses.shape)
    return spread, present.repeat_interleave(counts), samples


def _chosen(parameters: Mapping[str, Tensor], shared: Sequence[str] | None) -> list[Tensor]:
    """Those parameters, each once, that have gradients at all and that ``shared`` names."""
    patterns = [shared] if isinstance(shared, str) else shared
    names = set(parameters)
    if patterns is not None:
        names = set()
        for pattern in patterns:
            found = [name for name in parameters if fnmatchcase(name, pattern)]
            if not found:
                raise UnknownNameError.of("shared parameter", pattern, parameters)
            names.update(found)
    named = [tensor for name, tensor in parameters.items() if name in names and tensor.requires_grad]
    return list({id(tensor): tensor for tensor in named}.values())


def _gradient(losses: Tensor, weight: Tensor, parameters: Sequence[Tensor]) -> list[Tensor | None]:
    """One backward pass. All pieces in a batched one would ask more of the graph, and on large batches take longer."""
    if not losses.requires_grad or not parameters:
        return [None] * len(parameters)
    found = torch.autograd.grad(losses, parameters, weight, retain_graph=True, allow_unused=True)
    return [None if gradient is None else _dense(gradient) for gradient in found]


def _dense(gradient: Tensor) -> Tensor:
    plain = gradient.detach()
    plain = plain.to_dense() if plain.is_sparse else plain
    plain = torch.view_as_real(plain) if plain.is_complex() else plain
    return plain.reshape(-1).to(torch.promote_types(plain.dtype, torch.float32))


def _columns(rows: Sequence[Sequence[Tensor | None]], count: int) -> list[Tensor | None]:
    """For each of ``count`` parameters the gradients of all pieces; None where no piece reaches it."""
    columns: list[Tensor | None] = []
    for place in range(count):
        entries = [row[place] for row in rows]
        some = next((entry for entry in entries if entry is not None), None)
        filled = [torch.zeros_like(some) if entry is None else entry for entry in entries] if some is not None else None
        columns.append(None if filled is None else torch.stack(filled))
    return columns


def _joined(
    found: Sequence[Tensor | None],
    parameters: Sequence[Tensor],
    group: Tensor,
    samples: Tensor,
    *,
    is_given: bool,
) -> Pieces:
    """The gradients of all pieces side by side, over the parameters that are shared."""
    columns = [column for column in found if column is not None]
    device = parameters[0].device if parameters else torch.device("cpu")
    if columns and not is_given and len(group.unique()) > 1:
        ranks = _ranks(group).to(device)
        # Of what is shared some of the first entries are: most parameters are not gone through in full.
        glances = [column[:, :_GLANCE].to(device) for column in columns]
        of_entries = _are_shared(torch.cat(glances, dim=1), ranks)
        is_sure = _any_of(of_entries.split([glance.shape[1] for glance in glances]))
        unsure = [column for column, is_shared in zip(columns, is_sure, strict=True) if not is_shared]
        found_later = iter(_any_of([_are_shared(column, ranks) for column in unsure]))
        columns = [column for column, is_shared in zip(columns, is_sure, strict=True) if is_shared or next(found_later)]
    if not columns:
        nothing = torch.zeros(len(group), 0, device=device)
        return Pieces(gradients=nothing, groups=group.to(device), samples=samples.to(device))
    joined = torch.cat([column.to(device) for column in columns], dim=1)
    return Pieces(gradients=joined, groups=group.to(device), samples=samples.to(device))


def _ranks(group: Int[Tensor, "piece"]) -> Int[Tensor, "2 piece 1"]:
    """The groups counted upwards from 1, and downwards to 1."""
    present, member = torch.unique(group, return_inverse=True)
    ranks = torch.stack([member + 1, len(present) - member]).unsqueeze(-1)
    # Of few bytes, since there are as many of them as gradients; the sum of two must fit.
    return ranks.to(torch.int16 if len(present) < 2**14 else torch.int32)


def _are_shared(gradients: Float[Tensor, "piece entry"], ranks: Int[Tensor, "2 piece 1"]) -> Bool[Tensor, "entry"]:
    """Whether an entry has a gradient from two groups; of a stack of heads, one per group, none has.

    The largest rank from below and the largest from above add up to one more than there are groups where both are of
    one group, and to more where they are not.
    """
    upwards, downwards = ranks.to(gradients.device)
    is_reached = gradients != 0
    sums = (is_reached * upwards).amax(dim=0) + (is_reached * downwards).amax(dim=0)
    are_shared: Tensor = sums > upwards.max() + 1
    return are_shared


def _any_of(flags: Sequence[Bool[Tensor, "entry"]]) -> list[bool]:
    """Answered for all in one transfer from the device."""
    if not flags:
        return []
    answers: list[bool] = torch.stack([each.any().to(flags[0].device) for each in flags]).tolist()
    return answers
