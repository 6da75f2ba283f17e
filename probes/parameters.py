"""How large the weights have grown, and how far they are from where they began."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from plastikit.probes.entries import (
    Blocks,
    Remembered,
    absolute,
    counts,
    distance,
    in_order,
    norm,
    norms,
    norms_before,
    over,
    row_distances,
    together,
    wide,
)
from plastikit.schema import NETWORK, PARAMETER, Definition
from plastikit.watch.probe import Capture, Needs, Reading, Rows, Tier

_LYLE = "Lyle et al. 2024, Disentangling the Causes of Plasticity Loss in Neural Networks, arXiv:2402.18762"


def weight_norm(parameter: Float[Tensor, "..."]) -> Float[Tensor, ""]:
    """Frobenius norm of a parameter: how large it is as a whole.

    Grows with the number of entries as well as with their size; ``weight_rms`` does not.

    Range: [0, ∞).  NaN: any non-finite entry gives NaN or ∞.  Cost: one pass over the parameter.

    >>> weight_norm(torch.tensor([[3.0, 4.0]]))
    tensor(5.)
    """
    return norm(parameter)


def weight_rms(parameter: Float[Tensor, "..."]) -> Float[Tensor, ""]:
    """Root mean square of a parameter's entries: the norm that compares across widths.

    Range: [0, ∞).  NaN: a parameter without entries.  Cost: one pass over the parameter.

    >>> weight_rms(torch.tensor([[3.0, -3.0]]))
    tensor(3.)
    """
    return weight_norm(parameter) / parameter.numel() ** 0.5 if parameter.numel() else _nan(parameter)


def weight_mean_absolute(parameter: Float[Tensor, "..."]) -> Float[Tensor, ""]:
    """Mean |entry| of a parameter: its size, less swayed by a few large entries than ``weight_rms``.

    Range: [0, ∞), at most ``weight_rms``.  NaN: a parameter without entries.  Cost: one pass over the parameter.

    >>> weight_mean_absolute(torch.tensor([[3.0, -1.0]]))
    tensor(2.)
    """
    return parameter.to(wide(parameter)).abs().sum() / parameter.numel() if parameter.numel() else _nan(parameter)


def distance_from_init(parameter: Float[Tensor, "..."], initial: Float[Tensor, "..."]) -> Float[Tensor, ""]:
    """Frobenius norm of the way from ``initial`` to ``parameter``.

    Range: [0, ∞).  NaN: any non-finite entry gives NaN or ∞.  Cost: one pass, and a copy of the initial parameters.

    >>> distance_from_init(torch.tensor([1.0, 1.0]), torch.tensor([1.0, 0.0]))
    tensor(1.)
    """
    return distance(parameter, initial)


def relative_distance_from_init(parameter: Float[Tensor, "..."], initial: Float[Tensor, "..."]) -> Float[Tensor, ""]:
    """Frobenius norm of the way from ``initial`` to ``parameter``, over the norm of ``initial``.

    Range: [0, ∞); 1 where training moved a parameter as far as it was from 0.
    NaN: an initial norm of 0, such as that of a fresh bias.  Cost: two passes, and a copy of the initial parameters.

    >>> relative_distance_from_init(torch.tensor([1.0, 1.0]), torch.tensor([1.0, 0.0]))
    tensor(1.)
    """
    return over(distance_from_init(parameter, initial), weight_norm(initial))


@dataclass(frozen=True)
class WeightNorm:
    """Sizes of every parameter, and its way from initialisation; the same of each network, over its weights alone."""

    _origins: Remembered = field(default_factory=Remembered, init=False, repr=False, compare=False)

    name = "parameters"
    tier = Tier.STEP
    needs = Needs.PARAMETERS | Needs.INITIAL

    @property
    def axes(self) -> Mapping[str, tuple[float, ...]]:
        """No dimension of its own."""
        return {}

    @property
    def definitions(self) -> tuple[Definition, ...]:
        """Passports of the ten variables: five of each parameter, five of each network."""
        late = "A monitor attached late measures from where it was attached"
        of_one = (
            _passport(
                "weight_norm",
                "frobenius",
                "weight norm",
                "Frobenius norm of a parameter.",
                "Grows with the width at equal entries: compare weight_rms across widths",
            ),
            _passport(
                "weight_rms",
                "frobenius",
                "weight RMS",
                "Root mean square of a parameter's entries.",
                "Initialisations scale it with the fan-in, so wider layers start smaller",
            ),
            _passport(
                "weight_mean_absolute",
                "mean_absolute",
                "mean absolute weight",
                "Mean absolute value of a parameter's entries.",
                "Initialisations scale it with the fan-in, so wider layers start smaller",
            ),
            _passport(
                "distance_from_init",
                "frobenius",
                "distance from initialisation",
                "Frobenius norm of the parameter minus its value when the monitor was attached.",
                late,
            ),
            _passport(
                "relative_distance_from_init",
                "frobenius",
                "relative distance from initialisation",
                "Frobenius norm of the parameter minus its value when the monitor was attached, over the norm of that "
                "value.",
                f"{late}. A parameter that began at norm 0, such as a fresh bias, is NaN",
            ),
        )
        return of_one + tuple(_of_network(definition) for definition in of_one)

    def __call__(self, capture: Capture) -> Reading:
        """Measure every parameter that has entries; the network's values need all of its weights."""
        parameters = {name: parameter for name, parameter in capture.parameters.items() if parameter.numel()}
        names = in_order(parameters, capture.weights)
        if not names:
            return {}
        count = sum(1 for name in names if name in capture.weights)
        is_whole = bool(count) and capture.weights <= capture.parameters.keys()
        began = [name for name in names if name in capture.initial]
        tensors, initial = [parameters[name] for name in names], [capture.initial[name] for name in began]
        size, total, way = _measured(tensors, initial if began == names else None)
        norms_before.keep(capture.network, tensors, size)
        if began and began != names:
            _, _, way = _measured([parameters[name] for name in began], initial)
        entries, roots = counts(tensors, like=size)
        reading = {
            "weight_norm": Rows(names, size),
            "weight_rms": Rows(names, size / roots),
            "weight_mean_absolute": Rows(names, total / entries),
        }
        if is_whole:
            network, of_all = (capture.network,), sum(tensor.numel() for tensor in tensors[:count])
            whole = together(size[:count])
            reading["network_weight_norm"] = Rows(network, whole)
            reading["network_weight_rms"] = Rows(network, whole / of_all**0.5)
            reading["network_weight_mean_absolute"] = Rows(network, total[:count].sum(dim=0, keepdim=True) / of_all)
        if way is None:
            return reading
        origin = self._origins.of(capture.network, initial, norms)
        reading["distance_from_init"] = Rows(began, way)
        reading["relative_distance_from_init"] = Rows(began, over(way, origin))
        if is_whole and began[:count] == names[:count]:
            ways = together(way[:count])
            start = together(origin[:count])
            reading["network_distance_from_init"] = Rows(network, ways)
            reading["network_relative_distance_from_init"] = Rows(network, over(ways, start))
        return reading


def _measured(
    parameters: Sequence[Tensor], initial: Sequence[Tensor] | None = None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Norms, sums of absolute values, and the distances from where they began."""
    blocks = Blocks(parameters, *([] if initial is None else [initial]))
    sizes, totals, ways = [], [], []
    starts = itertools.repeat(None) if initial is None else blocks.of(initial, side=1)
    for block, start in zip(blocks.of(parameters), starts, strict=False):
        sizes.append(torch.linalg.vector_norm(block, dim=1))
        totals.append(absolute(block).sum(dim=1))
        if start is not None:
            ways.append(row_distances(block, start))
    return blocks.norms(sizes), blocks.sums(totals), blocks.norms(ways) if ways else None


def _nan(parameter: Tensor) -> Tensor:
    return torch.full((), torch.nan, device=parameter.device)


def _passport(variable: str, rule: str, long_name: str, description: str, pitfalls: str) -> Definition:
    return Definition(
        variable=variable,
        id=f"{variable}/{rule}",
        long_name=long_name,
        units="1" if variable.startswith("relative") else "weight",
        dims=(PARAMETER,),
        description=description,
        valid_range="[0, inf)",
        pitfalls=pitfalls,
        reference=_LYLE,
        cost="one pass over the parameters",
    )


def _of_network(definition: Definition) -> Definition:
    return Definition(
        variable=f"network_{definition.variable}",
        id=f"network_{definition.id}",
        long_name=f"{definition.long_name} of the network",
        units=definition.units,
        dims=(NETWORK,),
        description=f"{definition.description} Over all weights of the network as one vector; biases and "
        "normalisation gains left out, tied weights counted once.",
        valid_range=definition.valid_range,
        pitfalls=definition.pitfalls,
        reference=definition.reference,
        cost=definition.cost,
    )
