"""Saturation by its definitions, one unit and one entry at a time."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]


def dead_fraction(features: Matrix) -> float:
    """Share of units without any entry that differs from 0."""
    return sum(not any(column) for column in features.T.tolist()) / features.shape[1]


def zero_fraction(features: Matrix) -> float:
    """Share of entries that are 0."""
    entries = [value for row in features.tolist() for value in row]
    return sum(value == 0 for value in entries) / len(entries)


def _saturated_shares(features: Matrix, low: float, high: float) -> list[float]:
    return [sum(h < low or h > high for h in column) / len(column) for column in features.T.tolist()]


def saturated_fraction(features: Matrix, low: float, high: float) -> float:
    """Share of entries below ``low`` or above ``high``."""
    shares = _saturated_shares(features, low, high)
    return math.fsum(shares) / len(shares)


def saturated_unit_fraction(features: Matrix, low: float, high: float, share: float = 0.95) -> float:
    """Share of units beyond the bounds on at least ``share`` of their samples."""
    shares = _saturated_shares(features, low, high)
    return sum(value >= share for value in shares) / len(shares)


def _positive_shares(inputs: Matrix) -> list[float]:
    return [sum(z > 0 for z in column) / len(column) for column in inputs.T.tolist()]


def linearised_fraction(inputs: Matrix) -> float:
    """Share of units that are positive always or never."""
    shares = _positive_shares(inputs)
    return sum(p in {0.0, 1.0} for p in shares) / len(shares)


def sign_entropy(inputs: Matrix) -> float:
    """Mean over units of H(p) in bits, p the share of positive samples."""
    entropies = [-math.fsum(q * math.log2(q) for q in (p, 1 - p) if q > 0) for p in _positive_shares(inputs)]
    return math.fsum(entropies) / len(entropies)


def pre_activation_norm(inputs: Matrix) -> float:
    """Mean over samples of the root of the sum of squares."""
    norms = [math.sqrt(math.fsum(z * z for z in row)) for row in inputs.tolist()]
    return math.fsum(norms) / len(norms)
