"""What Adam's memory holds: how small its second moments are, and how large the step is that it takes from them."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from jaxtyping import Float
from torch import Tensor

from plastikit.probes.entries import stacked
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
    norm: Tensor = torch.linalg.vector_norm(direction)
    return norm / _correction(beta, step).to(norm) / math.sqrt(root.numel())


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
        roots, shares, sizes = {}, [], []
        for name, state in capture.optimizer_state.items():
            settings = capture.settings.get(name, {})
            if not _is_adam(state, settings):
                continue
            second = state["max_exp_avg_sq"] if settings.get("amsgrad") else state["exp_avg_sq"]
            (beta_1, beta_2), epsilon, step = settings["betas"], settings["eps"], state["step"]
            root = second_moment_root(second, beta_2, step)
            roots[name] = self._chosen(root)
            shares.append(small_second_moment_fraction(root, epsilon))
            sizes.append(adam_update_rms(state["exp_avg"], root, beta_1, step, epsilon=epsilon))
        if not roots:
            return {}
        return {
            "second_moment_root": self._quantiles(roots),
            "small_second_moment_fraction": Rows(roots, stacked(shares)),
            "adam_update_rms": Rows(roots, stacked(sizes)),
        }

    def _chosen(self, root: Tensor) -> Float[Tensor, "entry"]:
        flat = root.reshape(-1)
        if flat.numel() <= self.entries:
            return flat
        return flat.index_select(0, _even_choice(flat.numel(), self.entries, flat.device))

    def _quantiles(self, roots: Mapping[str, Tensor]) -> Rows:
        """The quantiles of each; those of as many entries in one sort."""
        alike: dict[tuple[int, torch.dtype, torch.device], list[str]] = {}
        for name, chosen in roots.items():
            alike.setdefault((chosen.numel(), chosen.dtype, chosen.device), []).append(name)
        found: Rows | None = None
        for (_, dtype, device), names in alike.items():
            wanted = torch.tensor(self.quantiles, dtype=dtype, device=device)
            rows = torch.quantile(torch.stack([roots[name] for name in names]), wanted, dim=1)
            of_these = Rows(names, rows.mT.contiguous())
            found = of_these if found is None else found | of_these
        assert found is not None  # noqa: S101  there is a root
        return found


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
