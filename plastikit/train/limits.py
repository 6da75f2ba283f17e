"""What settings may be: each check says what was found, what was expected and the next move."""

from __future__ import annotations

import math

from plastikit.errors import ConfigurationError


def at_least(name: str, found: int, minimum: int, unit: str) -> None:
    """Refuse what is no whole number of at least ``minimum``."""
    if isinstance(found, bool) or not isinstance(found, int) or found < minimum:
        raise ConfigurationError(
            f"{name} is {found!r}; it must be a whole number of at least {minimum} ({unit}). Set {name} to one."
        )


def positive(name: str, found: float) -> None:
    """Refuse what is no finite number above 0."""
    if not (math.isfinite(found) and found > 0.0):
        raise ConfigurationError(f"{name} is {found!r}; it must be a number above 0. Set {name} to one.")


def fraction(name: str, found: float) -> None:
    """Refuse what does not lie in 0 to 1."""
    if not 0.0 <= found <= 1.0:
        raise ConfigurationError(f"{name} is {found!r}; it must lie in 0 to 1. Set {name} to such a number.")


def finite(name: str, found: float) -> None:
    """Refuse what is infinite or NaN."""
    if not math.isfinite(found):
        raise ConfigurationError(f"{name} is {found!r}; it must be a finite number. Set {name} to one.")
