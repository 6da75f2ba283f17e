"""Units stuck on one piece of their activation function: at zero, at its bounds, or on its linear side."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor

from plastikit.probes.columns import counts, wide
from plastikit.probes.together import add, alike, pooled
from plastikit.schema import LAYER, NETWORK, Definition
from plastikit.watch.probe import Capture, Needs, Reading, Rows, Tier

EXACT: Final = frozenset({"relu", "relu6"})
"""Functions whose value is positive exactly where their input is, and 0 elsewhere."""
NEVER_SILENT: Final = frozenset(
    {"leaky_relu", "prelu", "rrelu", "elu", "celu", "selu", "gelu", "silu", "mish", "tanh", "hardtanh", "sigmoid"}
    | {"logsigmoid", "softplus", "softsign", "softmax", "tanhshrink", "glu", "rnn", "gru", "lstm", "attention"}
)
"""Functions that are 0 at single points at most, so that a unit of theirs is not dead but small."""
TANH_LIKE: Final = frozenset({"tanh", "hardtanh", "softsign"})
SIGMOID_LIKE: Final = frozenset({"sigmoid", "hardsigmoid"})

_JULIANI: Final = "Juliani & Ash 2024, A Study of Plasticity Loss in On-Policy Deep RL, arXiv:2405.19153"
_DOHARE: Final = "Dohare et al. 2024, Loss of plasticity in deep continual learning, Nature 632, 768-774"
_LYLE: Final = "Lyle et al. 2024, Disentangling the Causes of Plasticity Loss in Neural Networks, arXiv:2402.18762"
_MOALLA: Final = "Moalla et al. 2024, No Representation, No Trust, arXiv:2405.00662"

_SMALL: Final = "A small batch overcounts"
_DEAD: Final = "Share of units that are exactly 0 on every sample. Measured where the function can be 0, as ReLU can."
_ALL_DEAD: Final = "Units that are exactly 0 on every sample, over all units of the layers whose function can be 0."
_ZERO: Final = "Share of the entries of the features that are exactly 0."
_SPARSE: Final = "Sparsity, not death: half of the entries are 0 in a healthy ReLU layer. Some code calls it dead units"
_SATURATED: Final = (
    "Share of the entries near the bounds of the function: |h| above tanh_bound for tanh and its like, h within "
    "sigmoid_margin of 0 or 1 for a sigmoid and its like. Not measured for other functions."
)
_HARDTANH: Final = "A hardtanh with bounds other than -1 and 1 is measured as if it had those"
_SATURATED_UNITS: Final = (
    "Share of units that are near the bounds of their function, as for saturated_fraction, on at least unit_share of "
    "the samples."
)
_SWINGS: Final = "A unit that swings from bound to bound counts as well as one that stays at one"
_LINEAR: Final = "Share of units whose pre-activation is positive on all samples or on none."
_NOT_DEAD: Final = (
    "For ReLU, positive on all is linear, on none is dead: subtract dead_fraction to tell them apart. For smooth "
    "functions it says only that the sign never changes"
)
_ENTROPY: Final = "Mean over units of the entropy in bits of whether the pre-activation is positive."
_NORM: Final = "Mean over samples of the Euclidean norm of what goes into the activation function."
_WIDTH: Final = "Grows with the root of the width, so it is not comparable across widths"


def dead_fraction(features: Float[Tensor, "sample unit"]) -> Float[Tensor, ""]:
    """Share of units that are exactly 0 on every sample: no gradient of this batch reaches their weights.

    Of use for ReLU and its like alone; other functions are hardly ever exactly 0. A small batch overcounts.

    Range: [0, 1].  NaN: any non-finite feature; no samples.  Cost: two passes over ``features``.
    Reference: Dohare et al. 2024, doi:10.1038/s41586-024-07711-7.

    >>> dead_fraction(torch.tensor([[0.0, 1.0], [0.0, 0.0]]))
    tensor(0.5000)
    """
    return _known((counts([features], torch.eq, 0) == len(features)).float().mean(), features)


def zero_fraction(features: Float[Tensor, "sample unit"]) -> Float[Tensor, ""]:
    """Share of the entries that are exactly 0: sparsity, which says nothing yet about any single unit.

    Half of all entries are 0 in a healthy ReLU layer; another quantity than the dead and the dormant fraction.

    Range: [0, 1].  NaN: any non-finite feature; no samples.  Cost: two passes over ``features``.
    Reference: Juliani & Ash 2024, arXiv:2405.19153.

    >>> zero_fraction(torch.tensor([[0.0, 1.0], [0.0, 0.0]]))
    tensor(0.7500)
    """
    return _known((counts([features], torch.eq, 0) / len(features)).mean(), features)


def saturated_fraction(
    features: Float[Tensor, "sample unit"],
    low: float = -0.99,
    high: float = 0.99,
) -> Float[Tensor, ""]:
    """Share of the entries below ``low`` or above ``high``, where a squashing function hardly passes gradients on.

    The default bounds are for tanh; for a sigmoid give 0.01 and 0.99.

    Range: [0, 1].  NaN: any non-finite feature; no samples.  Cost: three passes over ``features``.
    Reference: Juliani & Ash 2024, arXiv:2405.19153.

    >>> saturated_fraction(torch.tensor([[-1.0, 0.5], [1.0, 0.0]]))
    tensor(0.5000)
    """
    return _known((_saturated([features], low, high) / len(features)).mean(), features)


def saturated_unit_fraction(
    features: Float[Tensor, "sample unit"],
    low: float = -0.99,
    high: float = 0.99,
    share: float = 0.95,
) -> Float[Tensor, ""]:
    """Share of units that lie below ``low`` or above ``high`` on at least ``share`` of the samples.

    A unit that swings from one bound to the other counts as well as one that stays at one.

    Range: [0, 1].  NaN: any non-finite feature; no samples.  Cost: three passes over ``features``.

    >>> saturated_unit_fraction(torch.tensor([[-1.0, 0.5], [1.0, 0.0]]))
    tensor(0.5000)
    """
    return _known((_saturated([features], low, high) / len(features) >= share).float().mean(), features)


def linearised_fraction(pre_activations: Float[Tensor, "sample unit"]) -> Float[Tensor, ""]:
    """Share of units whose pre-activation has one sign on the whole batch, so that they bend nothing.

    Always positive is linear, not dead; never positive is dead, in a ReLU layer.

    Range: [0, 1].  NaN: any non-finite pre-activation; no samples.  Cost: two passes over ``pre_activations``.
    Reference: Lyle et al. 2024, arXiv:2402.18762.

    >>> linearised_fraction(torch.tensor([[-1.0, 0.5, 1.0], [-2.0, 0.1, -1.0]]))
    tensor(0.6667)
    """
    positive = counts([pre_activations], torch.gt, 0)
    return _known(_is_fixed(positive, len(pre_activations)).float().mean(), pre_activations)


def sign_entropy(pre_activations: Float[Tensor, "sample unit"]) -> Float[Tensor, ""]:
    """Mean over units of the entropy of the sign of the pre-activation, in bits: how much each unit still switches.

    Range: [0, 1]; 1 where every unit is positive on half of the samples.
    NaN: any non-finite pre-activation; no samples.  Cost: two passes over ``pre_activations``.
    Reference: Lyle et al. 2024, arXiv:2402.18762.

    >>> sign_entropy(torch.tensor([[-1.0, 0.5], [-2.0, -0.1]]))
    tensor(0.5000)
    """
    positive = counts([pre_activations], torch.gt, 0)
    return _known(_entropy(positive / len(pre_activations)).mean(), pre_activations)


def pre_activation_norm(pre_activations: Float[Tensor, "sample unit"]) -> Float[Tensor, ""]:
    """Mean over samples of the Euclidean norm of the pre-activations; it often grows before the rank falls.

    It grows with the root of the width, so compare layers of one width.

    Range: [0, ∞).  NaN: a NaN pre-activation; no samples.  Infinite: one beyond the range of float32 when squared.
    Cost: one pass over ``pre_activations``; half precision is summed in float32.
    Reference: Moalla et al. 2024, arXiv:2405.00662.

    >>> pre_activation_norm(torch.tensor([[3.0, 4.0], [0.0, 1.0]]))
    tensor(3.)
    """
    return _norms(pre_activations).mean()


@dataclass(frozen=True)
class Saturation:
    """Dead, zero, saturated and linearised units of each layer, and the norm of what goes into its function."""

    tanh_bound: float = 0.99
    sigmoid_margin: float = 0.01
    unit_share: float = 0.95

    name = "saturation"
    tier = Tier.STEP
    needs = Needs.FEATURES | Needs.PRE_ACTIVATIONS

    @property
    def axes(self) -> Mapping[str, tuple[float, ...]]:
        """No dimension of its own."""
        return {}

    @property
    def definitions(self) -> tuple[Definition, ...]:
        """Passports of the eight variables."""
        return _passports({"tanh_bound": self.tanh_bound, "sigmoid_margin": self.sigmoid_margin}, self.unit_share)

    def __call__(self, capture: Capture) -> Reading:
        """Measure every layer as its function allows; the network's dead units need all layers that were computed."""
        reading: dict[str, Rows] = {}
        dead = []
        for layers in alike(
            capture.features, lambda layer: (capture.functions.get(layer), _has_inputs(capture, layer))
        ):
            values = self._measure(capture, layers)
            for variable, of_layers in values.items():
                add(reading, variable, layers, of_layers)
            if "dead_fraction" in values:
                dead.append((values["dead_fraction"], capture.features[layers[0]].shape[1]))
        if dead and not capture.unreadable:
            add(reading, "network_dead_fraction", (capture.network,), pooled(dead))
        return reading

    def _measure(self, capture: Capture, layers: list[str]) -> dict[str, Tensor]:
        """Values of layers that are alike, [layer] each."""
        function = capture.functions.get(layers[0])
        features = [capture.features[layer] for layer in layers]
        samples = len(features[0])
        inputs = [capture.pre_activations[layer] for layer in layers if _has_inputs(capture, layer)]
        dtype = wide(features[0].dtype)
        norms = torch.stack([_norms(tensor) for tensor in inputs]).mean(dim=-1) if inputs else None
        shares: dict[str, Tensor] = {}
        if function in EXACT or inputs:
            # The norm has just read the inputs, whose sign is that of the features here.
            positive = counts(inputs or features, torch.gt, 0)
            shares["linearised_fraction"] = _is_fixed(positive, samples).to(dtype)
            shares["sign_entropy"] = _entropy(positive.to(dtype) / samples)
        zero = samples - positive if function in EXACT else counts(features, torch.eq, 0)
        shares["zero_fraction"] = zero.to(dtype) / samples
        if function not in NEVER_SILENT:
            shares["dead_fraction"] = (zero == samples).to(dtype)
        if (bounds := self._bounds(function)) is not None:
            saturated = _saturated(features, *bounds) / samples
            shares["saturated_fraction"] = saturated.to(dtype)
            shares["saturated_unit_fraction"] = (saturated >= self.unit_share).to(dtype)
        known = torch.stack([tensor.mean(dtype=dtype) for tensor in features]) if norms is None else norms
        # What is added is 0, and NaN where the layer holds anything that is not finite.
        means = torch.add(torch.stack(list(shares.values())).mean(dim=-1), known, alpha=0)
        measured = dict(zip(shares, means.unbind(), strict=True))
        return measured if norms is None else measured | {"pre_activation_norm": norms}

    def _bounds(self, function: str | None) -> tuple[float, float] | None:
        if function in TANH_LIKE:
            return -self.tanh_bound, self.tanh_bound
        if function in SIGMOID_LIKE:
            return self.sigmoid_margin, 1 - self.sigmoid_margin
        return None


def _has_inputs(capture: Capture, layer: str) -> bool:
    """Whether there is one pre-activation for each unit; a GLU has two."""
    inputs = capture.pre_activations.get(layer)
    return inputs is not None and inputs.shape == capture.features[layer].shape


def _saturated(features: Sequence[Tensor], low: float, high: float) -> Tensor:
    return counts(features, torch.lt, low) + counts(features, torch.gt, high)


def _is_fixed(positive: Tensor, samples: int) -> Tensor:
    return (positive == 0) | (positive == samples)


def _entropy(share: Tensor) -> Tensor:
    entropy: Tensor = torch.special.entr(share) + torch.special.entr(1 - share)
    return entropy / math.log(2)


def _known(value: Tensor, tensor: Tensor) -> Tensor:
    # What is added is 0, and NaN where anything is not finite, or where there is nothing.
    return torch.add(value, tensor.mean(dtype=wide(tensor.dtype)), alpha=0)


def _norms(pre_activations: Tensor) -> Float[Tensor, "sample"]:
    norms: Tensor = torch.linalg.vector_norm(pre_activations, dim=1, dtype=wide(pre_activations.dtype))
    return norms


def _passports(bounds: Mapping[str, float], unit_share: float) -> tuple[Definition, ...]:
    rows = (
        ("dead_fraction/dohare2024", "dead fraction", _DEAD, f"{_SMALL}. Dormant at tau = 0 is the same", _DOHARE),
        ("network_dead_fraction/dohare2024", "dead fraction of the network", _ALL_DEAD, _SMALL, _DOHARE),
        ("zero_fraction/exact_zero", "zero fraction of the features", _ZERO, _SPARSE, _JULIANI),
        ("saturated_fraction/juliani2024", "saturated fraction", _SATURATED, _HARDTANH, _JULIANI),
        ("saturated_unit_fraction/share_of_samples", "share of saturated units", _SATURATED_UNITS, _SWINGS, ""),
        ("linearised_fraction/lyle2024", "linearised fraction", _LINEAR, f"{_SMALL}. {_NOT_DEAD}", _LYLE),
        ("sign_entropy/lyle2024", "sign entropy", _ENTROPY, "A batch of few samples lowers it", _LYLE),
        ("pre_activation_norm/mean_euclidean", "pre-activation norm", _NORM, _WIDTH, _MOALLA),
    )
    parameters = {"saturated_fraction": bounds, "saturated_unit_fraction": {**bounds, "unit_share": unit_share}}
    return tuple(
        Definition(
            variable=(variable := definition.partition("/")[0]),
            id=definition,
            long_name=long_name,
            units={"sign_entropy": "bit", "pre_activation_norm": "activation"}.get(variable, "1"),
            dims=(NETWORK if variable.startswith("network") else LAYER,),
            description=description,
            valid_range="[0, inf)" if variable.endswith("norm") else "[0, 1]",
            pitfalls=pitfalls,
            reference=reference,
            cost="two passes over the activations and one over the pre-activations",
            parameters=parameters.get(variable, {}),
        )
        for definition, long_name, description, pitfalls, reference in rows
    )
