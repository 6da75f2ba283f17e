"""When to record: frozen values that answer, for a step, whether it is due; and a budget, which cannot."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Protocol, runtime_checkable

from plastikit.errors import ConfigurationError


@runtime_checkable
class Schedule(Protocol):
    """Anything that says whether a step is due. Step 0 is recorded whatever it says."""

    def __call__(self, step: int) -> bool:
        """Whether ``step`` is due."""
        ...


@dataclass(frozen=True)
class Every:
    """Due at each multiple of ``steps``."""

    steps: int
    costly: int | None = None
    """Steps between the records that hold the costly probes too; None for all records."""

    def __call__(self, step: int) -> bool:
        """Whether ``step`` is due."""
        return step % self.steps == 0

    def following(self, step: int) -> int:
        """The first step from ``step`` on that is due."""
        return step + -step % self.steps

    def __repr__(self) -> str:
        return f"Every(steps={self.steps}{'' if self.costly is None else f', costly={self.costly}'})"

    def is_whole(self, step: int) -> bool:
        """Whether the record at ``step`` holds the costly probes too."""
        return self.costly is None or step % self.costly == 0


@dataclass(frozen=True)
class LogSpaced:
    """Due ``per_decade`` times in each tenfold of steps."""

    per_decade: int

    def __call__(self, step: int) -> bool:
        """Whether ``step`` is due."""
        if step <= 0:
            return step == 0
        exponent = len(str(step)) - 1
        marks = (round(10 ** (exponent + k / self.per_decade)) for k in range(self.per_decade + 1))
        return step in marks


@dataclass(frozen=True)
class At:
    """Due at the given steps alone."""

    steps: frozenset[int]

    def __call__(self, step: int) -> bool:
        """Whether ``step`` is due."""
        return step in self.steps


@dataclass(frozen=True)
class Budget:
    """Due whenever watching can afford it: no function of the step, but of what was measured until then."""

    fraction: float


def every(n: int, *, costly: int | None = None) -> Every:
    """Record every ``n`` steps.

    Args:
        n: Steps from one record to the next.
        costly: Steps from one record with probes of tier P to the next, a multiple of ``n``; by default ``n`` too.

    >>> [step for step in range(7) if every(3)(step)]
    [0, 3, 6]
    """
    schedule = Every(_positive("every", n), None if costly is None else _positive("every", costly))
    if costly is not None and costly % n:
        raise ConfigurationError(
            f"every({n}, costly={costly}) was asked for; costly probes join some of the records: give a multiple of {n}"
        )
    return schedule


def log_spaced(per_decade: int) -> LogSpaced:
    """Record ``per_decade`` times in each tenfold of steps: dense early, sparse late.

    >>> [step for step in range(101) if log_spaced(4)(step)]
    [0, 1, 2, 3, 6, 10, 18, 32, 56, 100]
    """
    return LogSpaced(_positive("log_spaced", per_decade))


def at(steps: Iterable[int]) -> At:
    """Record at the given steps, and at step 0.

    >>> [step for step in range(9) if at([2, 8])(step)]
    [2, 8]
    """
    given = list(steps) if isinstance(steps, Iterable) else [steps]
    if not isinstance(steps, Iterable) or any(not _is_whole(step) or step < 0 for step in given):
        raise ConfigurationError(f"at({steps!r}) was asked for; give a list of whole numbers from 0 on")
    return At(frozenset(given))


def budget(fraction: float) -> Budget:
    """Record as often as the cost that the monitor measures of itself stays near ``fraction`` of the training time.

    Half of it goes to records with the cheap probes, half to the costly ones, which are left out of most records: NaN
    there. Step 0 is recorded with every probe; the next record waits until training has earned that. Which steps are
    recorded depends on how fast the machine is, and differs between two runs of one training. What a step without a
    record costs cannot be spaced: where updates take less than a millisecond it is felt.

    >>> budget(0.01)
    Budget(fraction=0.01)
    """
    is_number = isinstance(fraction, int | float) and not isinstance(fraction, bool)
    if not is_number or not 0 < fraction <= 1:
        raise ConfigurationError(
            f"budget({fraction!r}) was asked for; give a share of the training time above 0 and up to 1, such as 0.01"
        )
    return Budget(float(fraction))


def told(schedule: Schedule | Budget) -> str:
    """The schedule in words, for the run: a frozen value as it is written, a function by its name."""
    name = getattr(schedule, "__qualname__", None)
    return repr(schedule) if name is None else f"{schedule.__module__}.{name}"


def _positive(name: str, value: int) -> int:
    if not _is_whole(value) or value < 1:
        raise ConfigurationError(f"{name}({value!r}) was asked for; give a whole number of at least 1")
    return value


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


DEFAULT: Final = every(100, costly=500)
"""Cheap probes every 100 steps; the costly ones, such as ranks, at every fifth record."""
