"""What McLean et al. 2025 publish for each architecture; sizes for few tasks (MT10) and many (MT50) apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

MOST_FEW_TASKS: Final = 25
"""Up to so many tasks the sizes of MT10 hold, above it those of MT50; between the two nothing is published."""


class Sizes(NamedTuple):
    """The size of one network."""

    width: int = 400
    depth: int = 3
    part_count: int | None = None
    """Modules of each layer, parameter sets or experts; None where an architecture has none of them."""
    embedding_width: int | None = None


_FEW: Final[Mapping[str, Sizes]] = {
    "multi_head": Sizes(),
    "plain": Sizes(),
    "soft_modules": Sizes(width=256, depth=2, part_count=2, embedding_width=400),
    "paco": Sizes(part_count=5),
    "moore": Sizes(part_count=4),
}

_MANY: Final[Mapping[str, Sizes]] = {
    **_FEW,
    "soft_modules": Sizes(width=256, depth=4, part_count=4, embedding_width=400),
    "paco": Sizes(part_count=20),
    "moore": Sizes(part_count=6),
}

ARCHITECTURES: Final = tuple(_FEW)
PARTED: Final = tuple(name for name, sizes in _FEW.items() if sizes.part_count is not None)
"""The architectures that are made of parts."""
EMBEDDING: Final = tuple(name for name, sizes in _FEW.items() if sizes.embedding_width is not None)
"""The architectures that embed observations."""


_CONSTANTS: Final[Mapping[str, Mapping[str, float]]] = {
    "soft_modules": {"has_task_weights": True},
    "moore": {"log_std_min": -10.0, "alpha_learning_rate": 1e-4},
}
"""Settings of SacConfig, where an architecture was trained with others than the baseline."""


def published_constants(architecture: str) -> dict[str, Any]:
    """Give the settings of SacConfig that were published with ``architecture`` and differ from the defaults.

    >>> published_constants("moore")
    {'log_std_min': -10.0, 'alpha_learning_rate': 0.0001}
    """
    return dict(_CONSTANTS.get(architecture, {}))


def published_sizes(architecture: str, task_count: int) -> Sizes:
    """Give the published sizes of ``architecture`` for a number of tasks.

    >>> published_sizes("paco", 10).part_count, published_sizes("paco", 50).part_count
    (5, 20)
    """
    return (_FEW if task_count <= MOST_FEW_TASKS else _MANY)[architecture]
