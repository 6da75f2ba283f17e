"""Results as plain values."""

from __future__ import annotations

import json

import numpy as np

from plastikit.analysis.aggregate import Interval
from plastikit.analysis.plain import to_plain


def test_dataclasses_and_numpy_become_json() -> None:
    """A dataclass is a mapping, a NumPy number a number, and what is not finite null."""
    plain = to_plain({"interval": Interval(low=np.float64("nan"), high=1.0, level=0.95, method="x"), "n": np.int64(3)})
    assert json.loads(json.dumps(plain, allow_nan=False)) == {
        "interval": {"low": None, "high": 1.0, "level": 0.95, "method": "x"},
        "n": 3,
    }
