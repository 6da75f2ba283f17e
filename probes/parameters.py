"""How large the weights have grown, and how far they are from where they began."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from plastikit.schema import NETWORK, PARAMETER, Definition
from plastikit.watch.probe import Capture, Needs, Reading, Tier

_LYLE = "Lyle et al. 2024, Disentangling the Causes of Plasticity Loss in Neural Networks, arXiv:2402.18762"


def weight_norm(parameter: Float[Tensor, "..."]) -> Float[Tensor, ""]:
    """Frobenius norm of a parameter: how large it is as a whole.

    Grows with the number of entries as well as with their size; ``weight_rms`` does not.

    Range: [0, ∞).  NaN: any non-finite entry gives NaN or ∞.  Cost: one pass over the parameter.

    >>> weight_norm(torch.tensor([[3.0, 4.0]]))
    tensor(5.)
    """
    norm: Tensor = torch.linalg.vector_norm(parameter, dtype=_wide(parameter))
    return norm


def weight_rms(parameter: Float[Tensor, "..."]) -> Float[Tensor, ""]:
    """Root mean square of a parameter's entries: the norm that compares across widths.

    Range: [0, ∞).  NaN: a parameter without entries.  Cost: one pass over the parameter.

    >>> weight_rms(torch.tensor([[3.0, -3.0]]))
    tensor(3.)
    """
    return weight_norm(parameter) / parameter.numel() ** 0.5 if parameter.numel() else _nan(parameter)


def distance_from_init(parameter: Float[Tensor, "..."], initial: Float[Tensor, "..."]) -> Float[Tensor, ""]:
    """Frobenius norm of the way from ``initial`` to ``parameter``.

    Range: [0, ∞).  NaN: any non-finite entry gives NaN or ∞.  Cost: one pass, and a copy of the initial parameters.

    >>> distance_from_init(torch.tensor([1.0, 1.0]), torch.tensor([1.0, 0.0]))
    tensor(1.)
    """
    wide = _wide(parameter)
    distance: Tensor = torch.linalg.vector_norm(parameter.to(wide) - initial.to(wide))
    return distance


@dataclass(frozen=True)
class WeightNorm:
    """Norms of every parameter and, over its weights alone, of each network."""

    name = "parameters"
    tier = Tier.STEP
    needs = Needs.PARAMETERS | Needs.INITIAL

    @property
    def axes(self) -> Mapping[str, tuple[float, ...]]:
        """No dimension of its own."""
        return {}

    @property
    def definitions(self) -> tuple[Definition, ...]:
        """Passports of the six variables: three of each parameter, three of each network."""
        of_one = (
            _passport(
                "weight_norm",
                "weight norm",
                "Frobenius norm of a parameter.",
                "Grows with the width at equal entries: compare weight_rms across widths",
            ),
            _passport(
                "weight_rms",
                "weight RMS",
                "Root mean square of a parameter's entries.",
                "Initialisations scale it with the fan-in, so wider layers start smaller",
            ),
            _passport(
                "distance_from_init",
                "distance from initialisation",
                "Frobenius norm of the parameter minus its value when the monitor was attached.",
                "A monitor attached late measures from where it was attached",
            ),
        )
        return of_one + tuple(_of_network(definition) for definition in of_one)

    def __call__(self, capture: Capture) -> Reading:
        """Measure every parameter; the network's value joins its weights, leaving biases and gains out."""
        parameters = capture.parameters
        norm = {name: weight_norm(parameter) for name, parameter in parameters.items()}
        rms = {name: weight_rms(parameter) for name, parameter in parameters.items()}
        distance = {name: distance_from_init(parameters[name], capture.initial[name]) for name in capture.initial}
        reading = {"weight_norm": norm, "weight_rms": rms, "distance_from_init": distance}
        weights = [name for name in parameters if name in capture.weights]
        if not weights or len(weights) < len(capture.weights):
            return reading
        whole = _joined(norm[name] for name in weights)
        entries = sum(parameters[name].numel() for name in weights)
        reading |= {
            "network_weight_norm": {capture.network: whole},
            "network_weight_rms": {capture.network: whole / entries**0.5},
        }
        if distance.keys() >= set(weights):
            reading["network_distance_from_init"] = {capture.network: _joined(distance[name] for name in weights)}
        return reading


def _joined(norms: Iterable[Tensor]) -> Tensor:
    joined: Tensor = torch.linalg.vector_norm(torch.stack(list(norms)))
    return joined


def _wide(parameter: Tensor) -> torch.dtype:
    return torch.promote_types(parameter.dtype, torch.float32)


def _nan(parameter: Tensor) -> Tensor:
    return torch.full((), torch.nan, dtype=_wide(parameter), device=parameter.device)


def _passport(variable: str, long_name: str, description: str, pitfalls: str) -> Definition:
    return Definition(
        variable=variable,
        id=f"{variable}/frobenius",
        long_name=long_name,
        units="weight",
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
