"""Numbers in the user's cache folder, in small files that are there whole or not at all.

``PLASTIKIT_CACHE`` names another folder; ``PLASTIKIT_CACHE=off`` keeps and reads nothing.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Final

_DIGEST_BYTES: Final = hashlib.sha256().digest_size


def folder(kind: str) -> Path | None:
    """Where what is of one kind is kept; None where nothing is."""
    chosen = os.environ.get("PLASTIKIT_CACHE", "")
    if chosen == "off":
        return None
    if chosen:
        return Path(chosen) / kind
    # The XDG rules call a relative path invalid, to be passed over.
    home = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if not home.is_absolute():
        try:
            home = Path.home() / ".cache"
        except RuntimeError:  # a user without a home folder
            return None
    return home / "plastikit" / kind


def read(place: Path | None, key: str) -> bytes | None:
    """Give what was written to ``place`` under ``key``; None where nothing was, or where the file is another."""
    if place is None:
        return None
    try:
        data = place.read_bytes()
    except OSError:
        return None
    digest, numbers = data[:_DIGEST_BYTES], data[_DIGEST_BYTES:]
    return numbers if digest == _digest(key, numbers) else None


def write(place: Path | None, key: str, numbers: bytes) -> None:
    """Keep numbers, so that they are read under ``key`` alone; several processes may do so at once."""
    if place is None:
        return
    # A cache that cannot be written costs the next run a second a task, and this one nothing.
    with suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=place.parent, suffix=".partial", delete=False) as file:
            try:
                file.write(_digest(key, numbers) + numbers)
                file.close()
                Path(file.name).replace(place)
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise


def _digest(key: str, numbers: bytes) -> bytes:
    return hashlib.sha256(key.encode() + numbers).digest()
