"""One writer at a time: a run on a file system belongs to the process that holds the lock of its ``writer.lock``."""

from __future__ import annotations

import fcntl
import os
import time
import weakref
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, Protocol, cast

from plastikit.errors import StoreInUseError
from plastikit.record.lease import Lease, is_held
from plastikit.record.place import Folder, Place

if TYPE_CHECKING:
    # Its client comes with an extra.
    from plastikit.record.remote import Remote

LOCK: Final = "writer.lock"

_PATIENCE_SECONDS: Final = 0.5
"""How long to try: whoever asks whether a run is claimed holds its lock for an instant."""


class Claim(Protocol):
    """The right to write a run."""

    def renew(self) -> None:
        """Go on holding it.

        Raises:
            OSError: the run is gone, or belongs to another by now.
        """
        ...

    def release(self) -> None:
        """Give it up; a second call changes nothing."""
        ...


def claim(place: Place) -> Claim:
    """Take the right to write the run at ``place``, which exists; that of a process that is gone is taken over.

    Raises:
        StoreInUseError: another writer is at work.
    """
    if isinstance(place, Folder):
        return _Lock(place.path / LOCK)
    return Lease.acquire(cast("Remote", place), LOCK)


def is_claimed(place: Place) -> bool:
    """Whether a writer is at work on the run at ``place``."""
    if isinstance(place, Folder):
        return _is_locked(place.path / LOCK)
    return is_held(cast("Remote", place), LOCK)


class _Lock:
    """The system gives it back when the process ends, however it ends."""

    def __init__(self, file: Path) -> None:
        self._path = file
        self._file: IO[str] | None = _locked(file)
        _held.add(self)

    def renew(self) -> None:
        if self._file is None or not _is_at(self._file, self._path):
            raise FileNotFoundError(f"{self._path.parent} was deleted or moved while it was written")

    def release(self) -> None:
        if self._file is not None:
            if _is_at(self._file, self._path):
                self._path.unlink(missing_ok=True)
            self.let_go()

    def let_go(self) -> None:
        """Close the file alone: in a forked process it is the parent's lock."""
        if self._file is not None:
            self._file.close()
            self._file = None


_held: Final[weakref.WeakSet[_Lock]] = weakref.WeakSet()


def _locked(path: Path) -> IO[str]:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        file = path.open("a+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            owner = file.read().strip()
            file.close()
            if time.monotonic() > deadline:
                if owner == str(os.getpid()):
                    raise StoreInUseError(
                        f"{path.parent} is being written by this process; close the monitor that writes it"
                    ) from None
                who = f"process {owner}" if owner else "another process"
                raise StoreInUseError(
                    f"{path.parent} is being written by {who}; wait for it to end, or choose another path"
                ) from None
            time.sleep(0.01)
            continue
        except OSError:
            # A file system that has no locks.
            return file
        if _is_at(file, path):
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            return file
        # Its owner took it away in the meantime.
        file.close()


def _is_locked(path: Path) -> bool:
    try:
        with path.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _is_at(file: IO[str], path: Path) -> bool:
    try:
        found = path.stat()
    except OSError:
        return False
    return os.path.samestat(found, os.fstat(file.fileno()))


def _let_go_of_all() -> None:
    for lock in list(_held):
        lock.let_go()


os.register_at_fork(after_in_child=_let_go_of_all)
