"""One writer at a time where no system holds locks: an object that the writer renews as long as it lives."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from plastikit.errors import StoreInUseError

if TYPE_CHECKING:
    # What they share with it is its methods: an object store's client comes with an extra.
    from obstore import UpdateVersion

    from plastikit.record.remote import Found, Remote

LIFETIME_SECONDS: Final = 60.0
"""For how long a lease holds that is not renewed; its writer does so at every commit."""

_RENEWAL_SECONDS: Final = 5.0
"""One that was renewed so lately need not be renewed again."""
_WATCH_SECONDS: Final = 2.0
_ATTEMPTS: Final = 10
_held: Final[set[str]] = set()
"""The tokens of this process."""


class Lease:
    """The right to write a run, as long as it is renewed.

    Whoever wants it from a writer on this machine looks whether that process is there. From another machine, it asks
    how old the object is by the store's own clock and, where that leaves it open, watches whether it is renewed: no
    two clocks are compared.
    """

    def __init__(self, place: Remote, key: str, holder: _Holder, version: UpdateVersion) -> None:
        self._place = place
        self._key = key
        self._holder = holder
        self._version = version
        self._renewed_at = time.monotonic()
        self._is_over = False
        _held.add(holder.token)

    @classmethod
    def acquire(cls, place: Remote, key: str) -> Self:
        """Take the lease that lies at ``key``; where its holder may be gone, this waits until that is known.

        Raises:
            StoreInUseError: another writer is at work.
            OSError: the place cannot be reached, or not be written to.
        """
        holder = _Holder.of_this_process()
        for _ in range(_ATTEMPTS):
            version = place.create(key, holder.to_bytes())
            if version is not None:
                return cls(place, key, holder, version)
            found = place.look(key)
            if found is None:
                continue
            if _Holder.of(found).token == holder.token:
                # The answer to the first attempt was lost.
                return cls(place, key, holder, found.version)
            if _is_live(place, key, found):
                break
            version = place.replace(key, holder.to_bytes(), found.version)
            if version is not None:
                return cls(place, key, holder, version)
        raise StoreInUseError(
            f"{place.location} is being written by {_writer(place, key)}; wait for it to end, or choose another URL"
        )

    def renew(self) -> None:
        """Go on holding it.

        Raises:
            StoreInUseError: another writer took the run over.
            OSError: the place cannot be reached; it can be tried again.
        """
        if not self._is_over and time.monotonic() - self._renewed_at < _RENEWAL_SECONDS:
            return
        holder = self._holder.renewed()
        version = None if self._is_over else self._place.replace(self._key, holder.to_bytes(), self._version)
        if version is None and not self._is_over:
            found = self._place.look(self._key)
            if found is not None and _Holder.of(found).token == holder.token:
                # The answer to an earlier renewal was lost.
                holder = _Holder.of(found).renewed()
                version = self._place.replace(self._key, holder.to_bytes(), found.version)
        if version is None:
            self._is_over = True
            _held.discard(holder.token)
            raise StoreInUseError(
                f"{self._place.location} was taken over by another writer, after {LIFETIME_SECONDS:.0f} seconds "
                "without a sign of this one; record on at another URL"
            )
        self._holder, self._version, self._renewed_at = holder, version, time.monotonic()

    def release(self) -> None:
        """Give it up; a second call changes nothing."""
        # In a forked process it is the parent's.
        if self._is_over or self._holder.process != os.getpid():
            return
        self._is_over = True
        _held.discard(self._holder.token)
        # One that is left behind is over in a minute; the run itself is safe.
        with contextlib.suppress(OSError):
            found = self._place.look(self._key)
            if found is not None and _Holder.of(found).token == self._holder.token:
                self._place.remove(self._key)


def is_held(place: Remote, key: str) -> bool:
    """Whether a writer is at work, as far as one look tells: a reader may not write, so it asks its own clock."""
    found = place.look(key)
    if found is None:
        return False
    is_here = _Holder.of(found).is_at_work()
    return _age(found, datetime.now(UTC)) < LIFETIME_SECONDS if is_here is None else is_here


@dataclass(frozen=True, kw_only=True)
class _Holder:
    """Who holds a lease."""

    token: str
    machine: str
    """A digest that is the same in every process that can see this one; empty where there is none."""
    process: int
    started: str
    renewals: int = 0

    @classmethod
    def of_this_process(cls) -> Self:
        process = os.getpid()
        return cls(token=secrets.token_hex(16), machine=_machine(), process=process, started=_start_of(process) or "")

    @classmethod
    def of(cls, found: Found) -> Self:
        try:
            return cls(**json.loads(found.data))
        except (ValueError, TypeError):
            return cls(token="", machine="", process=0, started="")

    def to_bytes(self) -> bytes:
        return json.dumps(asdict(self)).encode("ascii")

    def renewed(self) -> _Holder:
        return _Holder(**asdict(self) | {"renewals": self.renewals + 1})

    def is_at_work(self) -> bool | None:
        """Whether the process is there; None where it cannot be seen from here."""
        if not self.machine or self.machine != _machine():
            return None
        try:
            os.kill(self.process, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            # Another user's, of which no more may be seen.
            pass
        started = _start_of(self.process)
        if started != self.started or self.process != os.getpid():
            return None if started is None else started == self.started
        # This process: one that it could not take away when it gave it up is over too.
        return self.token in _held


def _is_live(place: Remote, key: str, found: Found) -> bool:
    is_here = _Holder.of(found).is_at_work()
    if is_here is not None:
        return is_here
    left = LIFETIME_SECONDS - _age(found, _now(place, key))
    deadline = time.monotonic() + left
    while (wait := deadline - time.monotonic()) > 0:
        time.sleep(min(wait, _WATCH_SECONDS))
        again = place.look(key)
        if again is None or again.version != found.version:
            return again is not None
    return False


def _age(found: Found, now: datetime) -> float:
    return max(0.0, (now - found.modified).total_seconds())


def _now(place: Remote, key: str) -> datetime:
    """The time by the store's clock: that of an object just put there."""
    probe = f"{key}.{secrets.token_hex(4)}.partial"
    place.write({probe: b""})
    try:
        found = place.look(probe)
    finally:
        # Some may put and not delete; whatever ends so is no data.
        with contextlib.suppress(OSError):
            place.remove(probe)
    return datetime.now(UTC) if found is None else found.modified


@cache
def _machine() -> str:
    """This machine since it was started, as far as this process sees it: a container is one of its own."""
    try:
        started = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
        seen = Path("/proc/self/ns/pid").readlink()
    except OSError:
        return ""
    return hashlib.sha256(f"{started.strip()} {seen}".encode()).hexdigest()[:16]


def _start_of(process: int) -> str | None:
    """When a process was started, in the system's own count; empty where it has ended, None where it is not seen."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return "" if fields[0] in "ZX" else fields[19]


def _writer(place: Remote, key: str) -> str:
    found = place.look(key)
    holder = None if found is None else _Holder.of(found)
    return f"process {holder.process} of this machine" if holder and holder.is_at_work() else "another machine"
