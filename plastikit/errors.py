"""One tree of errors; each also inherits the builtin that a caller would catch.

Every message says what was found, what was expected and the next move.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Self


class PlastikitError(Exception):
    """The root of every error that plastikit raises on purpose."""


class UnknownNameError(PlastikitError, ValueError):
    """A name that stands for nothing: a task, a metric, a probe, a layer."""

    @classmethod
    def of(cls, kind: str, found: str, known: Iterable[str]) -> Self:
        """Name what was asked for, and the nearest names there are."""
        names = sorted(known)
        folded = {name.casefold(): name for name in names}
        near = [folded[name] for name in difflib.get_close_matches(found.casefold(), folded, n=3, cutoff=0.5)]
        if near:
            return cls(f"unknown {kind} {found!r}. Did you mean {_either(near)}?")
        if not names:
            return cls(f"unknown {kind} {found!r}. There is none to choose from.")
        return cls(f"unknown {kind} {found!r}. There is: {', '.join(names)}.")


class ConfigurationError(PlastikitError, ValueError):
    """A setting outside what it can be."""


class StoreExistsError(PlastikitError, FileExistsError):
    """A run would be written where something already lies."""


class ExportExistsError(PlastikitError, FileExistsError):
    """An export would be written where something already lies."""


class StoreClosedError(PlastikitError, RuntimeError):
    """A record was handed to a run that is closed."""


class StoreInUseError(PlastikitError, BlockingIOError):
    """A run that another process is writing."""


class StoreWriteError(PlastikitError, OSError):
    """Records that could not be written."""


class StoreAccessError(PlastikitError, OSError):
    """A store behind a URL that refused a request, or did not answer it."""

    @classmethod
    def of(cls, location: str, reason: str) -> Self:
        """As the system's own errors have it, ``strerror`` is the reason without the location."""
        error = cls(f"{location}: {reason}")
        error.strerror = reason
        return error


class DamagedError(PlastikitError, ValueError):
    """A file of a run that is not what was written."""


class NotARunError(PlastikitError, FileNotFoundError):
    """A path that holds no plastikit run."""


class SchemaVersionError(PlastikitError, ValueError):
    """A run written in a layout that this version does not read."""


class DefinitionMismatchError(PlastikitError, ValueError):
    """Two variables of one name whose definitions differ."""


class NothingToWatchError(PlastikitError, ValueError):
    """A model in which no layer or parameter was found to measure."""


class UnitAxisError(PlastikitError, ValueError):
    """A tensor whose unit axis cannot be told."""


class NotTogetherError(PlastikitError, RuntimeError):
    """Processes that train one model and do not come to the same record."""


class DivergedError(PlastikitError, ArithmeticError):
    """A training loss that is no longer finite."""


class SimulatorError(PlastikitError, RuntimeError):
    """A process that steps environments and came to an end before its run did."""


class NoCheckpointError(PlastikitError, FileNotFoundError):
    """A folder without a checkpoint that a training could go on from."""


class UnrepeatableError(PlastikitError, RuntimeError):
    """An environment that gives other numbers when the same is done in it again."""


class MissingExtraError(PlastikitError, ImportError):
    """An optional part of plastikit that is not installed."""

    @classmethod
    def of(cls, feature: str, extra: str) -> Self:
        """Say which extra brings ``feature``, and how to install it."""
        return cls(f"{feature} needs the extra {extra!r}, which is not installed: pip install 'plastikit[{extra}]'")


def _either(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
