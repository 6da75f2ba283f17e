"""The thread that writes a run: it takes rows from the tables and commits them, however often that fails."""

from __future__ import annotations

import _thread
import json
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, Final

from plastikit.errors import StoreWriteError
from plastikit.record.claim import Claim
from plastikit.record.columns import Columns, Dropped
from plastikit.record.encoding import Document, group_document
from plastikit.record.place import Place
from plastikit.record.root import COPY, ROOT, seal

COMMIT_SECONDS: Final = 8.0
"""From one commit to the next, where rows wait: with the commit itself, readers are less than 10 seconds behind."""

KEPT_BYTES: Final = 128 * 2**20
"""What rows that cannot be written may take up in memory; beyond it the oldest are given up."""
_LOOK_SECONDS: Final = 0.5
_PATIENCE_SECONDS: Final = 10.0
"""How long the training waits for a disk that is slower than it, before rows are refused."""


class _Ticket:
    """A request to commit. Without Python's own locks: a signal may come while one is held."""

    def __init__(self, final: Mapping[str, Any] | None = None) -> None:
        self.final = final
        """The root's attributes at the end of the run; None where it goes on."""
        self.error: Exception | None = None
        self._lock = _thread.allocate_lock()
        self._lock.acquire()

    def settle(self) -> None:
        self._lock.release()

    def wait(self, seconds: float) -> bool:
        """Whether it was settled in time."""
        is_settled = self._lock.acquire(timeout=seconds)
        if is_settled:
            self._lock.release()
        return is_settled


class Writer:
    """Writes what the tables hold: when asked, when much waits, and every few seconds.

    A commit is one replacement of the root's metadata after all chunks are there. Where it fails the rows are kept and
    tried again; ``news`` says so.
    """

    def __init__(self, place: Place, claim: Claim, columns: Sequence[Columns], attributes: Mapping[str, Any]) -> None:
        """``attributes`` are the root's."""
        self.attributes = dict(attributes)
        """The root's attributes as they are written; replaced as a whole at the end."""
        self.news: deque[str] = deque()
        """What the user should hear: that writing fails, and that it works again."""
        self.trouble: Exception | None = None
        """Why the last commit failed; None where it did not."""
        self.lost: deque[tuple[str, int, str]] = deque()
        """Group and index of rows that never came here, and why."""
        self.taken_bytes = 0
        """Size of the rows taken so far."""
        self._place = place
        self._claim = claim
        self._columns = columns
        self._requests: SimpleQueue[_Ticket | None] = SimpleQueue()
        self._dropped: list[Dropped] = list(self.attributes.get("dropped", ()))
        self._lost_before = len(self._dropped)
        self._is_new = True
        self._last: _Ticket | None = None
        self._thread = threading.Thread(target=self._work, name="plastikit-writer", daemon=True)

    def start(self) -> None:
        """Commit for the first time, in this thread, and go on in another.

        Raises:
            StoreWriteError: it cannot be written here.
        """
        try:
            for columns in self._columns:
                columns.take()
            self._commit()
        except OSError as error:
            raise StoreWriteError(f"{self._place.location} cannot be written: {_reason(error)}") from error
        self._thread.start()

    def hurry(self) -> None:
        """Commit soon: much waits."""
        self._requests.put(None)

    def catch_up(self) -> bool:
        """Let the training wait for a disk that is slower than it; whether the disk answered in time."""
        ticket = _Ticket()
        self._requests.put(ticket)
        return ticket.wait(_PATIENCE_SECONDS)

    def commit(self) -> None:
        """Commit, and wait until it is done.

        Raises:
            StoreWriteError: it failed; the rows are kept.
        """
        ticket = _Ticket()
        self._requests.put(ticket)
        self._await(ticket)
        self._answer(ticket)

    def finish(self, attributes: Mapping[str, Any]) -> None:
        """Commit a last time, with these attributes and all metadata up to date, and give the run up.

        Where that fails it goes on. One that was interrupted while it waited is waited for by the next, and counts.

        Raises:
            StoreWriteError: it failed; the rows are kept.
        """
        if self._last is None:
            self._last = _Ticket(attributes)
            self._requests.put(self._last)
        ticket = self._last
        self._await(ticket)
        if ticket.error is not None:
            self._last = None
        self._answer(ticket)

    def _await(self, ticket: _Ticket) -> None:
        # Asked beside a last commit in another thread, the writer may be gone before it reads the request.
        while not ticket.wait(_LOOK_SECONDS) and self._thread.is_alive():
            pass

    def _answer(self, ticket: _Ticket) -> None:
        if ticket.error is not None:
            waiting = sum(columns.waiting for columns in self._columns)
            raise StoreWriteError(
                f"{self._place.location} cannot be written: {_reason(ticket.error)}; {waiting} rows are kept in "
                "memory. Make room or mend the path, and close the run again"
            ) from ticket.error

    def _work(self) -> None:
        committed_at = time.monotonic()
        while True:
            wait = COMMIT_SECONDS - (time.monotonic() - committed_at)
            try:
                request = self._requests.get(timeout=max(0.0, wait))
            except Empty:
                request = None
            final = None if request is None else request.final
            error = self._attempt(final, is_asked=request is not None)
            committed_at = time.monotonic()
            if final is not None and error is None:
                # All is written; a claim that is not given up ends with the process.
                with suppress(OSError):
                    self._claim.release()
                self.attributes = dict(final)
            if request is not None:
                request.error = error
                request.settle()
            if final is not None and error is None:
                return

    def _attempt(self, final: Mapping[str, Any] | None, *, is_asked: bool) -> Exception | None:
        try:
            self.taken_bytes += sum(columns.take() for columns in self._columns)
            is_lost = self._note_lost()
            if is_asked or is_lost or any(columns.waiting for columns in self._columns):
                self._commit(final)
            else:
                self._claim.renew()
        except Exception as error:  # noqa: BLE001  whatever it is, the rows are kept and the training goes on
            self._suffer(error)
            return error
        if self.trouble is not None:
            self.trouble = None
            lost = sum(entry["rows"] for entry in self._dropped[self._lost_before :])
            self.news.append(f"{self._place.location} is written again; {lost or 'no'} rows were lost in the meantime")
            self._lost_before = len(self._dropped)
        return None

    def _suffer(self, error: Exception) -> None:
        """Note that a commit failed, and keep what waits within its bound."""
        reason = _reason(error)
        if self.trouble is None or _reason(self.trouble) != reason:
            self.news.append(
                f"{self._place.location} cannot be written: {reason}. Training goes on; records are kept in memory, up "
                f"to {KEPT_BYTES // 2**20} MiB, and writing is tried again every {COMMIT_SECONDS:.0f} seconds"
            )
        self.trouble = error
        excess = sum(columns.waiting_bytes for columns in self._columns) - KEPT_BYTES
        if excess > 0:
            largest = max(self._columns, key=lambda columns: columns.waiting_bytes)
            lost = largest.drop(largest.waiting_bytes - excess, reason)
            if lost is not None:
                self._lose(lost)

    def _note_lost(self) -> bool:
        count = 0
        while self.lost:
            group, index, reason = self.lost.popleft()
            self._lose(Dropped(group=group, rows=1, first=index, last=index, reason=reason))
            count += 1
        if count:
            self.news.append(f"{count} rows were lost, because {reason}; {self._place.location} says which")
        return bool(count)

    def _lose(self, lost: Dropped) -> None:
        """Add to what the run says was lost; what follows the last entry without a commit between joins it."""
        last = next(
            (entry for entry in reversed(self._dropped[self._lost_before :]) if entry["group"] == lost["group"]), None
        )
        if last is None or last["reason"] != lost["reason"]:
            self._dropped.append(lost)
        else:
            last["rows"] += lost["rows"]
            last["last"] = lost["last"]

    def _commit(self, final: Mapping[str, Any] | None = None) -> None:
        self._claim.renew()
        is_last = final is not None
        attributes = dict(self.attributes if final is None else final)
        if self._dropped:
            attributes["dropped"] = list(self._dropped)
        try:
            items: dict[str, bytes] = {}
            for columns in self._columns:
                items |= columns.stage()
            own: dict[str, Document] = {}
            for columns in self._columns:
                own |= columns.own_documents(fresh_alone=not is_last)
            documents = {key: document for columns in self._columns for key, document in columns.documents().items()}
            if self._is_new or is_last:
                own |= {columns.name: documents[columns.name] for columns in self._columns}
            self._place.write(items | {f"{key}/{ROOT}": _plain(document) for key, document in own.items()})
            root = seal(
                group_document(attributes)
                | {"consolidated_metadata": {"kind": "inline", "must_understand": False, "metadata": documents}}
            )
            # Chunks can take long on a slow line: the run may be another's by now.
            self._claim.renew()
            self._place.write({ROOT: root})
        except BaseException:
            for columns in self._columns:
                columns.discard()
            raise
        for columns in self._columns:
            columns.accept()
        self._is_new = False
        self._place.write({COPY: root})


def _plain(document: Document) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode("ascii")


def _reason(error: Exception) -> str:
    """In a few words, such as ``No space left on device``."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
