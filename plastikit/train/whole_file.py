"""Files that are there whole or not at all, and that are known again by their digest."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

TEMPORARY: Final = ".part"
"""How the name of a file ends that is being written."""
_PIECE: Final = 1 << 20


@dataclass(frozen=True)
class Sealed:
    """A file as it was written."""

    name: str
    size: int
    digest: str

    def fault(self, folder: Path) -> str | None:
        """Say what is wrong with the file in ``folder``; None where it lies there as it was written."""
        try:
            with (folder / self.name).open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                if size != self.size:
                    return f"{self.name} has {size} bytes and was written with {self.size}"
                if hashlib.file_digest(file, "sha256").hexdigest() != self.digest:
                    return f"{self.name} holds other bytes than were written"
        except FileNotFoundError:
            return f"{self.name} is missing"
        except OSError as error:
            return f"{self.name} cannot be read ({error.strerror})"
        return None


class _Counted:
    """What is written passes through here on its way to the file."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.digest = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        written = self._file.write(data)
        self.size += written
        return written

    def flush(self) -> None:
        self._file.flush()


def write_whole(path: Path, write: Callable[[Any], object]) -> Sealed:
    """Have ``write`` fill a file, and give it its name once it lies on the disk; one of that name is replaced."""
    part = path.with_name(path.name + TEMPORARY)
    try:
        with part.open("wb", buffering=_PIECE) as file:
            counted = _Counted(file)
            write(counted)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)
    return Sealed(path.name, counted.size, counted.digest.hexdigest())


def sync_folder(folder: Path) -> None:
    """Have the names in a folder outlive a loss of power."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
