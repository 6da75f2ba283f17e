"""Which probes there are by name: plastikit's own, and those that installed distributions offer as entry points."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint, entry_points
from typing import Final

from plastikit.errors import ConfigurationError, UnknownNameError
from plastikit.probes import PROBES
from plastikit.schema import OBSERVED, PROBE_BATCH, Definition
from plastikit.watch.ledger import PROBE_SECONDS
from plastikit.watch.probe import Needs, Probe

ENTRY_POINTS: Final = "plastikit.probes"
"""The group of entry points by which a distribution offers a probe: its name, and what makes it without arguments."""

OWN: Final = "plastikit"


@dataclass(frozen=True)
class Known:
    """A probe that can be named, and the distribution that brings it."""

    name: str
    origin: str
    probe: Probe


@dataclass(frozen=True)
class Passport:
    """The definition of a variable, and the probe that gives it; none where the monitor does."""

    definition: Definition
    given_by: Known | None


def make_probe(name: str) -> Probe:
    """The probe that ``name`` stands for; plastikit's own come first.

    Raises:
        ConfigurationError: a distribution offers it and it cannot be made, or two distributions offer it.
        UnknownNameError: a name that stands for no probe.
    """
    offers = _offers().get(name, [])
    if name in PROBES:
        if offers:
            warnings.warn(_clash(name, offers), stacklevel=2)
        return PROBES[name]()
    if not offers:
        raise UnknownNameError.of("probe", name, probe_names())
    return _make(name, offers)


def probe_names() -> list[str]:
    """Every name that a probe can be asked for by, plastikit's own first."""
    return [*PROBES, *(name for name in _offers() if name not in PROBES)]


def known_probes() -> tuple[list[Known], list[str]]:
    """Every probe that can be had by name; and what is wrong with the offers of other distributions."""
    known = [Known(name, OWN, make()) for name, make in PROBES.items()]
    problems = []
    for name, offers in _offers().items():
        if name in PROBES:
            problems.append(_clash(name, offers))
            continue
        try:
            known.append(Known(name, _distribution(offers[0]), _make(name, offers)))
        except ConfigurationError as error:
            problems.append(str(error))
    return known, problems


def find_passports(name: str) -> list[Passport]:
    """What ``name`` means: the passport of a variable, as recorded in training or by ``observe``; or all of a probe.

    Raises:
        UnknownNameError: neither a variable nor a probe is called that.
    """
    known, _ = known_probes()
    passports = [Passport(definition, entry) for entry in known for definition in entry.probe.definitions]
    passports.append(Passport(PROBE_SECONDS, None))
    of_batches = [
        replace(passport, definition=observed(passport.definition))
        for passport in passports
        if passport.given_by is not None and is_of_features(passport.given_by.probe)
    ]
    variables: dict[str, list[Passport]] = {}
    for passport in (*passports, *of_batches):
        variables.setdefault(passport.definition.variable, []).append(passport)
    if name in variables:
        return variables[name]
    found = [passport for passport in passports if passport.given_by is not None and passport.given_by.name == name]
    if not found:
        near = {variable for variable in variables if variable.startswith(OBSERVED) is name.startswith(OBSERVED)}
        raise UnknownNameError.of("metric", name, near | {entry.name for entry in known})
    return found


def is_of_features(probe: Probe) -> bool:
    """Whether the probe measures activations, so that a batch of the user's can be measured outside training."""
    return bool(probe.needs & (Needs.FEATURES | Needs.PRE_ACTIVATIONS)) and Needs.UPDATES not in probe.needs


def observed(definition: Definition) -> Definition:
    """The passport of the same quantity on a batch of the user's."""
    return replace(
        definition,
        variable=f"{OBSERVED}{definition.variable}",
        long_name=f"{definition.long_name} on a probe batch",
        source=PROBE_BATCH,
    )


def _offers() -> dict[str, list[EntryPoint]]:
    """What other distributions offer, by name; nothing of it is loaded yet."""
    offers: dict[str, list[EntryPoint]] = {}
    for entry in entry_points(group=ENTRY_POINTS):
        offers.setdefault(entry.name, []).append(entry)
    return dict(sorted(offers.items()))


def _make(name: str, offers: Sequence[EntryPoint]) -> Probe:
    origin = _distribution(offers[0])
    if len(offers) > 1:
        origins = " and ".join(sorted(_distribution(entry) for entry in offers))
        raise ConfigurationError(
            f"the probe {name!r} is offered by {origins}; uninstall all but one, or give the probe object itself"
        )
    try:
        make: Callable[[], object] = offers[0].load()
        probe = make()
    except Exception as error:
        raise ConfigurationError(
            f"the probe {name!r} of the distribution {origin} cannot be made ({type(error).__name__}: {error}); "
            f"mend {origin}, or uninstall it"
        ) from error
    if not isinstance(probe, Probe) or isinstance(probe, type):
        raise ConfigurationError(
            f"the probe {name!r} of the distribution {origin} is a {type(probe).__name__}, which is no probe; "
            "its entry point has to name a class, or a function without arguments, that gives one"
        )
    if probe.name != name:
        raise ConfigurationError(
            f"the probe {name!r} of the distribution {origin} calls itself {probe.name!r}; "
            "its entry point has to have the name of the probe"
        )
    return probe


def _clash(name: str, offers: Sequence[EntryPoint]) -> str:
    origins = " and ".join(sorted(_distribution(entry) for entry in offers))
    return (
        f"the distribution {origins} offers a probe {name!r}, which is the name of one of plastikit's own; "
        "plastikit's own is used: give the other as an object"
    )


def _distribution(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist is not None else f"of {entry.value}"
