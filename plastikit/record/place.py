"""Where a run lies: files under one folder, or objects under one prefix, each replaced as a whole."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Protocol
from urllib.parse import unquote, urlsplit

from plastikit.errors import ConfigurationError, MissingExtraError
from plastikit.record.address import Address, is_url

Location = str | os.PathLike[str]


class Place(Protocol):
    """Bytes by key; keys are relative, with slashes, such as ``diagnostics/step/c/0``.

    They raise ``OSError`` where the place cannot be reached or is not what it was.
    """

    @property
    def location(self) -> str:
        """The path or URL, as it is named to people: it holds no credentials."""
        ...

    def read(self, keys: Sequence[str]) -> list[bytes | None]:
        """What lies at each key; None where nothing does."""
        ...

    def write(self, items: Mapping[str, bytes]) -> None:
        """Put each where it belongs: at any instant a reader finds the old bytes of a key, or the new ones."""
        ...

    def keys(self, prefix: str = "") -> list[str]:
        """Every key that begins with ``prefix``, which ends in a slash or is empty, sorted."""
        ...

    def sizes(self, prefix: str = "") -> dict[str, int]:
        """Bytes by key, for every key that begins with ``prefix``."""
        ...

    def remove(self, prefix: str) -> None:
        """Delete what lies at ``prefix``, or below it; nothing where nothing does."""
        ...

    def exists(self) -> bool:
        """Whether anything lies here."""
        ...

    def child(self, name: str) -> Place:
        """The place below this one that ``name`` names."""
        ...


class Folder:
    """A place on a file system."""

    def __init__(self, path: Path) -> None:
        """``path`` need not exist yet; it is that below the folder in which the process is now, also later."""
        self.path = path.expanduser().absolute()
        self._shown = path

    @property
    def location(self) -> str:
        """The path, as it was given."""
        return str(self._shown)

    def read(self, keys: Sequence[str]) -> list[bytes | None]:
        """What lies at each key; None where nothing does."""
        return [_read(self.path / key) for key in keys]

    def write(self, items: Mapping[str, bytes]) -> None:
        """Replace each file in one step; a process that is killed leaves at most a file that ends in ``.partial``."""
        for key, data in items.items():
            target = self.path / key
            fresh = target.with_name(f"{target.name}.partial")
            try:
                fresh.write_bytes(data)
            except FileNotFoundError:
                target.parent.mkdir(parents=True, exist_ok=True)
                fresh.write_bytes(data)
            fresh.replace(target)

    def keys(self, prefix: str = "") -> list[str]:
        """Every key that begins with ``prefix``, sorted."""
        return sorted(self.sizes(prefix))

    def sizes(self, prefix: str = "") -> dict[str, int]:
        """Bytes by key, for every key that begins with ``prefix``."""
        found = {}
        for folder, _, names in os.walk(self.path / prefix):
            for name in names:
                file = Path(folder, name)
                found[file.relative_to(self.path).as_posix()] = file.stat().st_size
        return found

    def remove(self, prefix: str) -> None:
        """Delete what lies at ``prefix``, or below it; nothing where nothing does."""
        target = self.path / prefix
        if target.is_dir():
            shutil.rmtree(target)
        else:
            target.unlink(missing_ok=True)

    def exists(self) -> bool:
        """Whether anything lies here."""
        return self.path.exists()

    def child(self, name: str) -> Folder:
        """The folder ``name`` inside this one."""
        child = Folder(self.path / name)
        child._shown = self._shown / name
        return child


def place_of(location: Location) -> Place:
    """The place that a path or a URL names.

    Raises:
        ConfigurationError: it is neither, or a URL that carries credentials, or names no bucket.
        MissingExtraError: what reads URLs is not installed.
    """
    name = os.fspath(location) if isinstance(location, str | os.PathLike) else location
    if not isinstance(name, str) or not name or "\0" in name:
        raise ConfigurationError(f"{location!r} was given, where the path or the URL of a run was expected")
    if name.startswith("file://"):
        return Folder(Path(unquote(urlsplit(name).path)))
    return _remote(name).Remote(Address.of(name)) if is_url(name) else Folder(Path(location))


def places_matching(pattern: str) -> list[Place]:
    """The places that a URL with ``*``, ``?`` or ``[]`` in it names, sorted; each stands for a part of one level.

    Raises:
        ConfigurationError: the URL carries credentials, or names no bucket.
        MissingExtraError: what reads URLs is not installed.
        OSError: the place cannot be reached.
    """
    return list(_remote(pattern).matching(pattern))


def _remote(url: str) -> ModuleType:
    address = Address.of(url, is_pattern=True)
    try:
        from plastikit.record import remote
    except ModuleNotFoundError as error:
        if error.name != "obstore":
            raise
        raise MissingExtraError.of(f"a run behind a URL, {address.url}", "remote") from None
    return remote


def _read(file: Path) -> bytes | None:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        return None
    except IsADirectoryError:
        # Nobody wrote that.
        return b""
