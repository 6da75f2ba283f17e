"""The rules that every probe keeps, one check each: for the tests of whoever writes one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from plastikit.testing import behaviour, declarations, training
from plastikit.watch.probe import Probe

Given = Probe | Callable[[], Probe]
"""A probe, or the class or function without arguments that makes one."""

_MEMBERS: Final = ("name", "tier", "needs", "definitions", "axes", "__call__")


@dataclass(frozen=True)
class Rule:
    """What every probe keeps; called with one, it raises AssertionError where that one does not."""

    name: str
    """What holds, as a test's name."""
    broken_by: Callable[[Probe], Iterable[str]]
    """The complaints about a probe; none where it keeps the rule."""

    def __call__(self, given: Given) -> None:
        """Hold a probe against the rule.

        Raises:
            AssertionError: it breaks the rule; the message says how.
        """
        probe = _made(given)
        for complaint in self.broken_by(probe):
            raise AssertionError(f"{type(probe).__name__} breaks the rule '{self.name}': {complaint}")

    def __str__(self) -> str:
        return self.name


def check_probe(given: Given) -> None:
    """Hold a probe against every rule: all that a test of one needs.

    A capture of a real training step, and captures that are harder (all zero, NaN, one sample, none, one unit, half
    precision, nothing captured, ...), are handed to the probe, and it watches a short training.
    ``@pytest.mark.parametrize("rule", RULES, ids=str)`` and ``rule(MyProbe)`` make a test of each rule instead.

    Args:
        given: A probe, or the class or function without arguments that makes one.

    Raises:
        AssertionError: it breaks a rule; the message names the rule and what was found.

    >>> from plastikit.probes import FeatureRank
    >>> check_probe(FeatureRank(delta=0.05))
    """
    for rule in RULES:
        rule(given)


def _made(given: Given) -> Probe:
    probe: Any = given
    if isinstance(given, type) or not isinstance(given, Probe):
        _complete(given, _MEMBERS[-1:])
        try:
            probe = given()
        except TypeError as error:
            raise AssertionError(f"{given!r} cannot be made without arguments: {error}") from error
    _complete(probe, _MEMBERS)
    checked: Probe = probe
    return checked


def _complete(given: object, members: tuple[str, ...]) -> None:
    lacking = [name for name in members if not hasattr(given, name)]
    if lacking:
        raise AssertionError(f"{given!r} is no probe: it has no {', '.join(lacking)}")


RULES: Final = (
    Rule("its members are of their types", declarations.types),
    Rule("its names are its own", declarations.names),
    Rule("its passports are complete", declarations.passports),
    Rule("its dimensions are known", declarations.dimensions),
    Rule("its readings fit their passports", behaviour.readings),
    Rule("every passport has its value", behaviour.used),
    Rule("its values lie in their ranges", behaviour.ranges),
    Rule("it looks at what it needs and no more", behaviour.needs),
    Rule("what is not measured has no value", behaviour.missing),
    Rule("it gives the same again and draws no random numbers", behaviour.determined),
    Rule("it writes nothing into the capture", behaviour.untouched),
    Rule("it leaves a training as it is", training.differences),
)
"""Every rule; in this order, since each leans on those before it."""
