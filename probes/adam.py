"""What Adam's memory holds: how small its second moments are, and how large the step is that it takes from them."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from plastikit.probes.columns import room
from plastikit.probes.entries import counts, norm, stacked
from plastikit.probes.quantiles import quantiles
from plastikit.schema import PARAMETER, QUANTILE, Definition
from plastikit.watch.probe import Capture, Needs, Reading, Rows, Tier

QUANTILES: Final = (0.01, 0.1, 0.5, 0.9, 0.99)
ENTRIES: Final = 1024

_ADAM: Final = "Kingma & Ba 2015, Adam: A Method for Stochastic Optimization, arXiv:1412.6980"
_PITFALLS: Final = (
    "After the update that the record describes. With amsgrad the second moment is the largest so far. Optimizers "
    "without Adam's moments, and parameters that were never updated, are NaN"
)


def second_moment_root(second_moment: Float[Tensor, "..."], beta: float | Tensor, step: float | Tensor) -> Tensor:
    """Root of Adam's second moment, its bias corrected: the scale of the gradient that each entry remembers.

    Where it has become small, as after a long calm, the first large gradient makes a step of many learning rates.

    Range: [0, ∞).  NaN: before the first step.  Cost: one pass over the moments.
    Reference: Kingma & Ba 2015, arXiv:1412.6980.

    >>> second_moment_root(torch.tensor([0.001, 0.004]), 0.999, 1)
    tensor([1.0000, 2.0000])
    """
    wide = second_moment.to(torch.promote_types(second_moment.dtype, torch.float32))
    return wide.sqrt() / _correction(beta, step).sqrt().to(wide)


def small_second_moment_fraction(root: Float[Tensor, "..."], epsilon: float) -> Float[Tensor, ""]:
    """Share of entries whose root of the second moment is below ``epsilon``: there the step is capped by it.

    Range: [0, 1].  NaN: any entry is NaN; no entries.  Cost: one pass over the roots.

    >>> small_second_moment_fraction(torch.tensor([1e-9, 1.0]), 1e-8)
    tensor(0.5000)
    """
    if not root.numel():
        return root.new_full((), torch.nan)
    # Comparing in place is several times faster than making booleans; a sum is NaN where any entry is.
    share = root.detach().clone().lt_(epsilon).sum() / root.numel()
    return torch.where(root.sum().isnan(), torch.nan, share)


def adam_update_rms(
    first_moment: Float[Tensor, "..."],
    root: Float[Tensor, "..."],
    beta: float | Tensor,
    step: float | Tensor,
    *,
    epsilon: float,
) -> Float[Tensor, ""]:
    """RMS of Adam's step before the learning rate: 1 where gradients keep their sign, small where noise averages out.

    Args:
        first_moment: The running mean of the gradients.
        root: What ``second_moment_root`` gives.
        beta: The first of the two betas.
        step: How many updates the moments have seen.
        epsilon: What the optimizer adds to the root.

    Range: [0, ∞), about 1 at most in a steady state.  NaN: before the first step; no entries.
    Cost: one pass over both moments.
    Reference: Kingma & Ba 2015, arXiv:1412.6980.

    >>> adam_update_rms(torch.tensor([0.1, -0.1]), torch.tensor([1.0, 1.0]), 0.9, 1, epsilon=0.0)
    tensor(1.0000)
    """
    if not root.numel():
        return root.new_full((), torch.nan)
    direction = first_moment.to(root.dtype) / (root + epsilon)
    size = norm(direction)
    return size / _correction(beta, step).to(size) / math.sqrt(root.numel())


@dataclass(frozen=True)
class AdamMoments:
    """Quantiles of the roots of Adam's second moments, the share that is small, and the size of its step."""

    quantiles: Sequence[float] = QUANTILES
    entries: int = ENTRIES
    """How many entries of a parameter the quantiles are taken over: all of a smaller one, else an even choice."""

    name = "adam"
    tier = Tier.PERIODIC
    needs = Needs.OPTIMIZER | Needs.UPDATES

    @property
    def axes(self) -> Mapping[str, tuple[float, ...]]:
        """The quantiles."""
        return {QUANTILE: tuple(self.quantiles)}

    @property
    def definitions(self) -> tuple[Definition, ...]:
        """Passports of the three variables."""
        return (
            Definition(
                variable="second_moment_root",
                id="second_moment_root/adam",
                long_name="root of the second moment",
                units="loss / weight",
                dims=(PARAMETER, QUANTILE),
                description="Quantiles, over the entries of a parameter, of the root of Adam's second moment with its "
                "bias corrected. Over an even choice of entries where a parameter has more than the parameter says.",
                valid_range="[0, inf)",
                pitfalls=f"{_PITFALLS}. The outer quantiles of a large parameter are uncertain: they rest on a few of "
                "the chosen entries",
                reference=_ADAM,
                cost="one pass over the moments and a sort of the chosen entries",
                parameters={"entries": self.entries},
            ),
            Definition(
                variable="small_second_moment_fraction",
                id="small_second_moment_fraction/epsilon",
                long_name="share of small second moments",
                units="1",
                dims=(PARAMETER,),
                description="Share of entries whose root of the second moment, its bias corrected, is below the "
                "optimizer's epsilon.",
                valid_range="[0, 1]",
                pitfalls=f"{_PITFALLS}. Entries that never had a gradient, such as those of dead units, count as small",
                reference=_ADAM,
                cost="one pass over the moments",
            ),
            Definition(
                variable="adam_update_rms",
                id="adam_update_rms/adam",
                long_name="RMS of Adam's step",
                units="1",
                dims=(PARAMETER,),
                description="Root mean square of m / (root of v + epsilon), both moments with their bias corrected: "
                "the step before the learning rate.",
                valid_range="[0, inf)",
                pitfalls=f"{_PITFALLS}. Decoupled weight decay, the look-ahead of NAdam and the rectification of RAdam "
                "are left out",
                reference=_ADAM,
                cost="one pass over both moments",
            ),
        )

    def __call__(self, capture: Capture) -> Reading:
        """Measure every parameter that has Adam's moments."""
        names = [
            name for name, state in capture.optimizer_state.items() if _is_adam(state, capture.settings.get(name, {}))
        ]
        if not names:
            return {}
        states, settings = [capture.optimizer_state[name] for name in names], [capture.settings[name] for name in names]
        first, second = _corrections(states, settings)
        # What the second moment falls short by is made good in the sums: its own root is all that is taken of each.
        scale = second.sqrt()
        epsilons = scale * scale.new_tensor([each["eps"] for each in settings])
        moments = [
            (state["exp_avg"], state["max_exp_avg_sq" if each.get("amsgrad") else "exp_avg_sq"])
            for state, each in zip(states, settings, strict=True)
        ]
        found = [self._read(*pair, epsilon) for pair, epsilon in zip(moments, epsilons.unbind(), strict=True)]
        chosen = [each.chosen for each in found]
        total, small, size = stacked([number for each in found for number in each[1:]]).view(-1, 3).unbind(dim=1)
        scale, first = scale.to(size), first.to(size)
        entries, roots = counts([second for _, second in moments], like=size)
        ordered = quantiles([each.to(chosen[0]) for each in chosen], self.quantiles)
        return {
            "second_moment_root": Rows(names, ordered / scale[:, None]),
            "small_second_moment_fraction": Rows(names, torch.where(total.isnan(), torch.nan, small / entries)),
            "adam_update_rms": Rows(names, size * (scale / first) / roots),
        }

    def _read(self, first: Tensor, second: Tensor, epsilon: Tensor) -> _Read:
        dtype = torch.promote_types(second.dtype, torch.float32)
        if epsilon.is_cuda:
            epsilon = epsilon.to(second.device)
        _, (root, step) = room(2, 1, second.numel(), dtype, second.device)
        torch.sqrt(second.detach().reshape(1, -1).to(dtype), out=root)
        # A comparison that writes numbers is counted faster than one that gives booleans.
        chosen, total, small = self._chosen(root), root.sum(), torch.lt(root, epsilon, out=step).sum()
        torch.div(first.detach().reshape(1, -1).to(dtype), root.add_(epsilon), out=step)
        return _Read(chosen, total, small, norm(step))

    def _chosen(self, root: Tensor) -> Float[Tensor, "entry"]:
        flat = root.reshape(-1)
        if flat.numel() <= self.entries:
            return flat.clone()
        return flat.index_select(0, _even_choice(flat.numel(), self.entries, flat.device))


class _Read(NamedTuple):
    """What was read of the root of one second moment."""

    chosen: Float[Tensor, "entry"]
    total: Float[Tensor, ""]
    small: Float[Tensor, ""]
    """How many of its entries are below epsilon."""
    size: Float[Tensor, ""]
    """The norm of the first moment over it."""


def _is_adam(state: Mapping[str, Any], settings: Mapping[str, Any]) -> bool:
    moments = [state.get(key) for key in ("exp_avg", "exp_avg_sq")]
    has_moments = all(isinstance(moment, Tensor) and moment.numel() and not moment.is_complex() for moment in moments)
    has_maximum = not settings.get("amsgrad") or "max_exp_avg_sq" in state
    return has_moments and has_maximum and "step" in state and {"betas", "eps"} <= settings.keys()


@functools.lru_cache(maxsize=64)
def _even_choice(count: int, chosen: int, device: torch.device) -> Tensor:
    """Places spread evenly over ``count``, by steps of the golden ratio: even steps would fall into one column."""
    step = max(1, round(count * (math.sqrt(5) - 1) / 2))
    while math.gcd(step, count) > 1:
        step += 1
    with torch.inference_mode(mode=False):
        return torch.arange(chosen, device=device) * step % count


def _correction(beta: float | Tensor, step: float | Tensor) -> Tensor:
    """What a running mean that began at 0 falls short by, in double precision where it lies."""
    if isinstance(step, Tensor):
        return 1 - torch.as_tensor(beta, dtype=torch.float64, device=step.device) ** step.reshape(())
    return 1 - torch.as_tensor(beta, dtype=torch.float64) ** step


def _corrections(
    states: Sequence[Mapping[str, Any]], settings: Sequence[Mapping[str, Any]]
) -> tuple[Float[Tensor, "parameter"], Float[Tensor, "parameter"]]:
    """What both moments of each parameter fall short by."""
    steps = [state["step"] for state in states]
    betas = [each["betas"] for each in settings]
    if any(isinstance(value, Tensor) for pair in betas for value in pair) or not all(
        isinstance(step, Tensor) for step in steps
    ):
        pairs = [[_correction(beta, step) for beta in both] for both, step in zip(betas, steps, strict=True)]
        first, second = (stacked(each) for each in zip(*pairs, strict=True))
        return first, second
    counted = stacked([step.reshape(()) for step in steps]).double()
    first, second = (1 - counted.new_tensor(each) ** counted for each in zip(*betas, strict=True))
    return first, second
