"""Writes a run: rows are handed over at once, and reach the disk from another thread, all of a commit in one step."""

from __future__ import annotations

import os
import secrets
import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, Final, Literal, get_args

import numpy as np

from plastikit.errors import ConfigurationError, StoreClosedError, StoreExistsError, StoreWriteError
from plastikit.record.claim import claim
from plastikit.record.columns import Columns
from plastikit.record.committed import read_root
from plastikit.record.place import Folder, Location, Place, place_of
from plastikit.record.resuming import Resumption, restored
from plastikit.record.root import COPY, ROOT, seal, unseal
from plastikit.record.table import Column, Packed, Row, Table, Values
from plastikit.record.values import plain, printable
from plastikit.record.writer import KEPT_BYTES, Writer
from plastikit.schema import (
    DIAGNOSTICS,
    EVALUATION,
    EVENT,
    EVENTS,
    FINISHED,
    RUNNING,
    SCHEMA_VERSION,
    STEP,
    TRAINING,
)

OnError = Literal["warn", "raise"]

_LEADING: Final = {DIAGNOSTICS: STEP, TRAINING: STEP, EVALUATION: STEP, EVENTS: EVENT}
_HURRY_ROWS: Final = 1024
_HURRY_BYTES: Final = 16 * 2**20
_WALL_TIME: Final = Column(
    dtype="float64",
    attrs={"long_name": "wall time", "units": "seconds since 1970-01-01"},
    coordinate=True,
)
_OF_EVENTS: Final = {
    "kind": Column(dtype="str", attrs={"long_name": "kind of event"}),
    "message": Column(dtype="str", attrs={"long_name": "what happened"}),
    "event_step": Column(dtype="int64", attrs={"long_name": "step of the event"}),
}


class RunStore:
    """One run being written.

    Rows are gathered in memory and reach the disk together, from a thread of their own: within 10 seconds, after 1024
    of them or 16 MiB, on ``commit`` and on ``close``. Readers see whole rows only, in all variables alike.

    A disk that fails does not end the training: it is told, rows are kept and tried again, the oldest are given up
    where they grow beyond 128 MiB, and the run says which. With ``on_error="raise"`` the next row raises instead.
    """

    def __init__(
        self,
        location: Location,
        *,
        configuration: Mapping[str, Any],
        provenance: Mapping[str, Any],
        watching: Mapping[str, Any] | None = None,
        resume: Resumption | None = None,
        on_error: OnError = "warn",
        tell: Callable[[str], None] = warnings.warn,
    ) -> None:
        """Start a run at ``location``, or go on with the one that lies there.

        Args:
            location: A path, or a URL.
            configuration: What the run is about.
            provenance: Where it comes from.
            watching: What is measured in it, and when.
            resume: From where the run that lies there is gone on with; None for a new run.
            on_error: Whether a disk that fails is told, or raised.
            tell: Takes what the user should hear.

        Raises:
            ConfigurationError: ``configuration`` holds something that JSON cannot say or, resumed, is another; or no
                run can lie there.
            DamagedError: the run to be resumed is damaged.
            NotARunError: there is no run to be resumed.
            StoreExistsError: something lies there already; it is left untouched.
            StoreInUseError: another process writes the run to be resumed.
            StoreWriteError: it cannot be written there.
        """
        if not isinstance(configuration, Mapping):
            raise ConfigurationError(
                f"metadata is {configuration!r}, where a mapping was expected, such as {{'width': 400, 'seed': 1}}"
            )
        if on_error not in get_args(OnError):
            raise ConfigurationError(f"on_error is {on_error!r}, where {' or '.join(get_args(OnError))} was expected")
        attributes: dict[str, Any] = {
            "id": secrets.token_hex(8),
            "schema_version": SCHEMA_VERSION,
            "state": RUNNING,
            "configuration": plain(configuration, "metadata"),
            "provenance": dict(provenance),
        }
        if watching is not None:
            attributes["watching"] = plain(watching, "watching")
        self._place = place = place_of(location)
        self._tables = _empty_tables()
        self._columns = [Columns(name, table) for name, table in self._tables.items()]
        self._on_error = on_error
        self._tell = tell
        self._process = os.getpid()
        self._handed_bytes = self._rows_since = self._bytes_since = 0
        self._is_closing = False
        self._stuck_at = -1
        """What the writer had taken when it did not answer in time."""
        if resume is None:
            _make_room(place)
        else:
            read_root(place)
        right = claim(place)
        try:
            if resume is not None:
                attributes, excess = restored(place, resume, self._tables, self._columns, attributes)
            self._writer = Writer(place, right, self._columns, attributes)
            if resume is not None:
                self.event("resumed", f"{excess} rows of later steps were taken out", resume.step)
                self._tell_missing(resume)
            self._writer.start()
        except BaseException:
            right.release()
            if resume is None:
                # Nothing was recorded; what is left would keep the next attempt from this place.
                with suppress(OSError):
                    place.remove("")
            raise

    @property
    def location(self) -> str:
        """The path or URL of the run."""
        return self._place.location

    @property
    def id(self) -> str:
        """What tells this run from every other."""
        return str(self._writer.attributes["id"])

    @property
    def state(self) -> str:
        """``running``, ``finished``, ``failed`` or ``interrupted``."""
        return str(self._writer.attributes["state"])

    @property
    def committed(self) -> Mapping[str, int]:
        """Rows that readers see, by group."""
        return {columns.name: columns.rows for columns in self._columns}

    def table(self, group: str) -> Table:
        """The rows of one group: ``diagnostics``, ``training``, ``evaluation`` or ``events``."""
        return self._tables[group]

    def append(
        self, group: str, index: int, values: Mapping[str, Values | float | str], packed: Packed | None = None
    ) -> None:
        """Hand over one row, in part as a packed vector; its wall time is now.

        Raises:
            StoreClosedError: the run was closed before.
            StoreWriteError: rows cannot be written, and ``on_error`` is ``"raise"``; this one is kept with the others.
        """
        if self.state != RUNNING or self._is_closing:
            raise StoreClosedError(f"the run {self.location} is {self.state}; start a new run to record more")
        if self._process != os.getpid():
            # A forked process has no writer; the run is its parent's.
            return
        arrays = {name: np.asarray(value) for name, value in values.items()}
        row = Row(index, arrays | {"wall_time": np.asarray(time.time())}, packed)
        if self._is_full():
            self.lose(group, index, "the disk did not answer")
        else:
            self._tables[group].append(row)
            self._handed_bytes += row.nbytes
        self._rows_since += 1
        self._bytes_since += row.nbytes
        if self._rows_since >= _HURRY_ROWS or self._bytes_since >= _HURRY_BYTES:
            self._rows_since = self._bytes_since = 0
            self._writer.hurry()
        if self._writer.news or self._writer.trouble is not None:
            self._hear()

    def lose(self, group: str, index: int, reason: str) -> None:
        """Note that a row was lost on the way here; the run says so among what it lacks."""
        self._writer.lost.append((group, index, reason))

    def event(self, kind: str, message: str, step: int) -> None:
        """Note that something happened: a warning, an interruption, a resumption."""
        told: dict[str, str | float] = {"kind": printable(kind), "message": printable(message), "event_step": step}
        self.append(EVENTS, self._tables[EVENTS].rows, told)

    def commit(self) -> None:
        """Make every row handed over so far visible to readers, in one step, and wait until they are.

        Raises:
            StoreWriteError: they cannot be written, and ``on_error`` is ``"raise"``; they are kept either way.
        """
        if self.state == RUNNING and self._process == os.getpid():
            self._answer_for(self._writer.commit)

    def close(self, state: str = FINISHED, *, error: str | None = None) -> None:
        """Write what is left and say how the run ended; a second call changes nothing.

        Where that cannot be written the run stays open, and can be closed again.

        Raises:
            StoreWriteError: it cannot be written, and ``on_error`` is ``"raise"``.
        """
        if self.state != RUNNING or self._process != os.getpid():
            return
        running = self._writer.attributes
        ended = {"ended": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
        final = running | {"state": state, "provenance": running["provenance"] | ended}
        while self._writer.news:
            self._tell(self._writer.news.popleft())
        # What another thread hands over from now on would come too late.
        self._is_closing = True
        self._answer_for(partial(self._writer.finish, final if error is None else final | {"error": printable(error)}))
        self._is_closing = self.state != RUNNING

    def _tell_missing(self, resume: Resumption) -> None:
        """Say what a run should hold before the step that it is gone on from, and does not."""
        for group, rows in resume.rows.items():
            missing = rows - self._tables[group].rows
            if group != EVENTS and missing > 0:
                self._writer.news.append(
                    f"{self.location} lacks the last {missing} rows of {group} before step {resume.step}: "
                    "it was not written to its end before it was resumed"
                )

    def _is_full(self) -> bool:
        """Whether more waits than memory may hold, and the disk does not take it."""
        taken = self._writer.taken_bytes
        if self._handed_bytes - taken <= KEPT_BYTES:
            return False
        if self._stuck_at == taken or not self._writer.catch_up():
            self._stuck_at = taken
        return self._handed_bytes - self._writer.taken_bytes > KEPT_BYTES

    def _hear(self) -> None:
        """Pass on what the writer has to say."""
        trouble = self._writer.trouble
        if trouble is not None and self._on_error == "raise":
            self._writer.news.clear()
            raise StoreWriteError(
                f"{self.location} cannot be written: {trouble}; what was recorded is kept until the run is closed. "
                'Mend the path, or attach with on_error="warn" to train on without it'
            ) from trouble
        while self._writer.news:
            self._tell(self._writer.news.popleft())

    def _answer_for(self, request: Callable[[], None]) -> None:
        """Ask the writer for something, and tell or raise where it fails."""
        try:
            request()
        except StoreWriteError as error:
            if self._on_error == "raise":
                raise
            self._writer.news.clear()
            self._tell(str(error))


def mark(location: Location, state: str, *, error: str) -> None:
    """Say in a run whose writer is gone how it ended; what it had committed stays as it is."""
    place = place_of(location)
    (data,) = place.read([ROOT])
    root = unseal(data or b"")
    root["attributes"] |= {"state": state, "error": error}
    for key in (ROOT, COPY):
        place.write({key: seal(root)})


def _empty_tables() -> dict[str, Table]:
    """The groups of a run, with what each of them always holds."""
    tables = {name: Table(leading) for name, leading in _LEADING.items()}
    for table in tables.values():
        table.declare("wall_time", _WALL_TIME)
    for name, column in _OF_EVENTS.items():
        tables[EVENTS].declare(name, column)
    return tables


def _make_room(place: Place) -> None:
    """An empty folder for a new run."""
    if not isinstance(place, Folder):
        if place.exists():
            raise StoreExistsError(f"{place.location} exists already and is left untouched; choose another URL")
        return
    path = place.path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir()
    except NotADirectoryError:
        raise ConfigurationError(f"{path} lies inside a file; choose a path whose folders are folders") from None
    except FileExistsError:
        if not path.exists():
            raise ConfigurationError(
                f"{path.parent} is no folder, so no run can lie in it; choose another path"
            ) from None
        raise StoreExistsError(
            f"{path} exists already and is left untouched; choose another path, delete it first, or resume it"
        ) from None
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be written: {error.strerror}; choose a path in a folder that you may write to"
        ) from None
