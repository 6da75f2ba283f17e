"""Which sample belongs to which group, such as a task: whole numbers from 0 on."""

from __future__ import annotations

from typing import Any, Final

import torch
from jaxtyping import Int
from torch import Tensor

from plastikit.errors import ConfigurationError

MOST_GROUPS: Final = 10_000
"""Groups 0, 1, ... up to the largest each take a row of the record."""


def group_ids(given: Any) -> Int[Tensor, "sample"]:
    """``given`` as one whole number per sample.

    Raises:
        ConfigurationError: something in it is no group.
    """
    groups = torch.as_tensor(given).detach().reshape(-1)
    if groups.is_complex():
        raise ConfigurationError("groups are complex numbers; number them 0 to n - 1, one whole number per sample")
    whole = groups.to(torch.int64)
    if not groups.numel():
        return whole
    wrong = (whole != groups) | (whole < 0) | (whole >= MOST_GROUPS)
    if bool(wrong.any()):
        raise ConfigurationError(
            f"groups hold {groups[wrong][0].item()!r}, where whole numbers from 0 to {MOST_GROUPS - 1} were expected; "
            "number the groups 0 to n - 1"
        )
    return whole
