"""One run, one folder of checkpoints: whoever writes there holds it, so that no second run tidies it away."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from plastikit.errors import ConfigurationError, StoreInUseError


@contextmanager
def held(folder: str | os.PathLike[str] | None, *, is_new: bool = False) -> Iterator[None]:
    """Hold a folder of checkpoints within the block; the process's end lets go of it, however it comes.

    Args:
        folder: Which; None, or one that is not there, is nothing to hold.
        is_new: Whether it is made where it is not there; what raises and has written nothing there leaves none.

    Raises:
        StoreInUseError: another run holds it.
        ConfigurationError: it cannot be made.
    """
    place = None if folder is None else Path(folder)
    if place is None or not (is_new or place.is_dir()):
        yield
        return
    was_there = place.is_dir()
    try:
        place.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(place, os.O_RDONLY)
    except OSError as error:
        raise ConfigurationError(
            f"{place} cannot hold checkpoints: {error.strerror}; give a folder that you may write to"
        ) from None
    try:
        _lock(descriptor, place)
        try:
            yield
        except BaseException:
            if not was_there:
                # What failed before its first checkpoint leaves nothing behind.
                with suppress(OSError):
                    place.rmdir()
            raise
    finally:
        os.close(descriptor)


def _lock(descriptor: int, place: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # One that failed meanwhile may have taken the folder away that both had opened.
        is_held = os.path.samestat(os.fstat(descriptor), place.stat())
    except (BlockingIOError, FileNotFoundError):
        is_held = False
    if not is_held:
        raise StoreInUseError(
            f"{place} is in use by a training that is going on; wait for its end, or give another folder"
        )
