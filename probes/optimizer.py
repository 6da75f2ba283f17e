"""How far one update of the optimizer moves the weights, and how far it means to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor

from plastikit.schema import NETWORK, PARAMETER, Definition
from plastikit.watch.probe import Capture, Needs, Reading, Tier

_FULL: Final = frozenset({torch.float32, torch.float64})


def update_to_weight_ratio(before: Float[Tensor, "..."], after: Float[Tensor, "..."]) -> Float[Tensor, ""]:
    """Norm of one update over the norm of what it updates: the step size that the function feels.

    Range: [0, ∞).  NaN: a parameter of norm 0 before the update, such as a fresh bias.
    Cost: a copy of the parameters and one pass.

    >>> update_to_weight_ratio(torch.tensor([3.0, 4.0]), torch.tensor([3.0, 4.5]))
    tensor(0.1000)
    """
    return _over(_distances([after], [before])[0], _norms([_real(before)])[0])


def effective_learning_rate(weight: Float[Tensor, "..."], learning_rate: float | Tensor) -> Float[Tensor, ""]:
    """Learning rate over the squared norm of a weight: how fast its direction can turn, where only that counts.

    It means something for weights whose scale does not change the function, such as those before a normalisation: a
    step of gradient descent turns them by this much per unit of the gradient taken at norm 1. Elsewhere it is a plain
    ratio, and under Adam, whose steps do not grow as the weight shrinks, the turn goes with one over the norm, not over
    its square.

    Range: [0, ∞), in 1 / weight².  NaN: a weight of norm 0.  Cost: one pass over the weight.
    Reference: Lyle et al. 2024, arXiv:2407.01800.

    >>> effective_learning_rate(torch.tensor([3.0, 4.0]), 0.1)
    tensor(0.0040)
    """
    norm = _norms([_real(weight)])[0]
    return _over(torch.as_tensor(learning_rate, device=norm.device), norm.square())


@dataclass(frozen=True)
class UpdateRatio:
    """Update-to-weight ratio of each parameter and, over its weights alone, of each network; effective learning rate.

    The learning rate is that of the update which the record describes, for each weight that an optimizer owns.
    """

    name = "updates"
    tier = Tier.STEP
    needs = Needs.PARAMETERS | Needs.UPDATES | Needs.OPTIMIZER

    @property
    def axes(self) -> Mapping[str, tuple[float, ...]]:
        """No dimension of its own."""
        return {}

    @property
    def definitions(self) -> tuple[Definition, ...]:
        """Passports of the three variables."""
        return (
            _ratio(
                "update_to_weight_ratio",
                "update-to-weight ratio",
                (PARAMETER,),
                "Norm of the change that the optimizer's step makes to a parameter, over its norm before the step.",
            ),
            _ratio(
                "network_update_to_weight_ratio",
                "update-to-weight ratio of the network",
                (NETWORK,),
                "Norm of the change over the norm before it, all weights of the network as one vector; biases and "
                "normalisation gains left out.",
            ),
            Definition(
                variable="effective_learning_rate",
                id="effective_learning_rate/lyle2024",
                long_name="effective learning rate",
                units="1 / weight^2",
                dims=(PARAMETER,),
                description="Learning rate of the update over the squared Frobenius norm of the weight before it.",
                valid_range="[0, inf)",
                pitfalls="Means something where the scale of a weight does not change the function, as before a "
                "normalisation; elsewhere it only mirrors the norm. It is the rate of plain gradient descent: under "
                "Adam the direction turns with the learning rate over the norm, not over its square. Biases and "
                "gains are NaN",
                reference="Lyle et al. 2024, Normalization and effective learning rates in reinforcement learning, "
                "arXiv:2407.01800",
                cost="one pass over the parameters",
            ),
        )

    def __call__(self, capture: Capture) -> Reading:
        """Compare every parameter with itself before the update; the network's value needs all of its weights."""
        pairs = {
            name: (capture.parameters[name], after)
            for name, after in capture.updated.items()
            if after.numel() and name in capture.parameters
        }
        names = sorted(pairs, key=lambda name: name not in capture.weights)
        if not names:
            return {}
        before, after = ([pairs[name][side] for name in names] for side in (0, 1))
        table = _table(_distances(after, before), _norms([_real(tensor) for tensor in before]))
        update, weight = table.unbind()
        reading = {"update_to_weight_ratio": dict(zip(names, _over(update, weight).unbind(), strict=True))}
        count = sum(1 for name in names if name in capture.weights)
        if count and capture.weights <= capture.updated.keys():
            whole = torch.linalg.vector_norm(table[:, :count], dim=1)
            reading["network_update_to_weight_ratio"] = {capture.network: _over(whole[0], whole[1])}
        rated = [k for k, name in enumerate(names[:count]) if "lr" in capture.settings.get(name, {})]
        if rated:
            rates = _vector([capture.settings[names[k]]["lr"] for k in rated], like=weight)
            squared = (weight[:count] if len(rated) == count else weight[rated]).square()
            rows = zip((names[k] for k in rated), _over(rates, squared).unbind(), strict=True)
            reading["effective_learning_rate"] = dict(rows)
        return reading


def _vector(values: Sequence[float | Tensor], *, like: Tensor) -> Float[Tensor, "parameter"]:
    if any(isinstance(value, Tensor) for value in values):
        rows = [torch.as_tensor(value, dtype=like.dtype, device=like.device).reshape(()) for value in values]
        return torch.stack(rows)
    return torch.tensor(values, dtype=like.dtype, device=like.device)


def _norms(tensors: list[Tensor]) -> Sequence[Tensor]:
    if all(tensor.dtype in _FULL for tensor in tensors):
        norms: Sequence[Tensor] = torch._foreach_norm(tensors)  # noqa: SLF001  as torch clips; it has no public name
        return norms
    return [torch.linalg.vector_norm(tensor, dtype=_wide(tensor)) for tensor in tensors]


def _distances(these: Sequence[Tensor], those: Sequence[Tensor]) -> Sequence[Tensor]:
    """One at a time: differences of all parameters at once can be more than the device has room for."""
    if all(tensor.dtype in _FULL for tensor in (*these, *those)):
        return [torch.linalg.vector_norm(this - that) for this, that in zip(these, those, strict=True)]
    return [
        torch.linalg.vector_norm(_real(this.to(_wide(this)) - that.to(_wide(that))))
        for this, that in zip(these, those, strict=True)
    ]


def _table(*columns: Sequence[Tensor]) -> Float[Tensor, "quantity parameter"]:
    """Each quantity of each parameter, on the device of the first."""
    values = [value for column in columns for value in column]
    if len({value.device for value in values}) > 1:
        values = [value.to(values[0].device) for value in values]
    return torch.stack(values).view(len(columns), -1)


def _over(part: Tensor, whole: Tensor) -> Tensor:
    return part / whole.masked_fill(whole == 0, torch.nan)


def _real(tensor: Tensor) -> Tensor:
    """The modulus of complex entries."""
    return tensor.abs() if tensor.is_complex() else tensor


def _wide(tensor: Tensor) -> torch.dtype:
    return torch.promote_types(tensor.dtype, torch.float32)


def _ratio(variable: str, long_name: str, dims: tuple[str, ...], description: str) -> Definition:
    return Definition(
        variable=variable,
        id=f"{variable}/one_step",
        long_name=long_name,
        units="1",
        dims=dims,
        description=description,
        valid_range="[0, inf)",
        pitfalls="Includes weight decay and momentum: it is the optimizer's step, not the gradient. A parameter of "
        "norm 0 before the step, such as a fresh bias, is NaN",
        reference="",
        cost="a copy of the parameters before the step and one pass after it",
    )
