"""A run behind a URL: objects under one prefix of an object store, or files of a web server, which are only read."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from functools import lru_cache
from glob import has_magic
from typing import TYPE_CHECKING, Final

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError
from obstore.store import HTTPStore, ObjectStore, from_url

from plastikit.record.address import Address
from plastikit.record.batch import each
from plastikit.record.refusals import plain
from plastikit.record.root import ROOT

if TYPE_CHECKING:
    # Types without a class at run time.
    from obstore import ObjectMeta, PutResult, UpdateVersion
    from obstore.store import ClientConfig, RetryConfig

_SETTINGS: Final = ("AWS_", "AZURE_", "GOOGLE_")
_REQUEST: Final = timedelta(seconds=120)
"""The longest that one request may take: a large chunk on a slow line."""
_CONNECT: Final = timedelta(seconds=5)
_RETRIES: Final = 5


@dataclass(frozen=True, kw_only=True)
class Found:
    """One object as it was met; ``modified`` is by the clock of the store."""

    data: bytes
    version: UpdateVersion
    modified: datetime


class Remote:
    """A place behind a URL. Credentials and endpoint come from the environment; neither is kept in ``location``."""

    def __init__(self, address: Address) -> None:
        """Nothing is sent before something is read or written."""
        self._address = address
        with self._told():
            self._store = _store(address.root, tuple(sorted(_settings())))
        self._prefix = f"{address.path}/" if address.path else ""

    def __repr__(self) -> str:
        """The URL."""
        return f"Remote({self.location!r})"

    @property
    def location(self) -> str:
        """The URL."""
        return self._address.url

    def read(self, keys: Sequence[str]) -> list[bytes | None]:
        """What lies at each key; None where nothing does."""

        def one(key: str) -> bytes | None:
            try:
                return obstore.get(self._store, self._prefix + key).bytes().to_bytes()
            except FileNotFoundError:
                return None

        with self._told():
            return each(keys, one)

    def write(self, items: Mapping[str, bytes]) -> None:
        """Put each as a whole; all are there when this returns, and where it raises, any of them may be."""

        def one(item: tuple[str, bytes]) -> None:
            key, data = item
            # In one request: parts of a large object, left behind by a killed process, would lie there unseen.
            obstore.put(self._store, self._prefix + key, data, use_multipart=False)

        with self._told():
            each(items.items(), one)

    def keys(self, prefix: str = "") -> list[str]:
        """Every key that begins with ``prefix``, sorted."""
        return sorted(self.sizes(prefix))

    def sizes(self, prefix: str = "") -> dict[str, int]:
        """Bytes by key, for every key that begins with ``prefix``."""
        with self._told():
            found = obstore.list(self._store, self._prefix + prefix).collect()
        return {entry["path"].removeprefix(self._prefix): entry["size"] for entry in found}

    def remove(self, prefix: str) -> None:
        """Delete what lies at ``prefix``, or below it; nothing where nothing does."""
        below = self.keys(f"{prefix.rstrip('/')}/" if prefix else "")
        found = [prefix, *below] if prefix and self.look(prefix) else below
        with self._told():
            obstore.delete(self._store, [self._prefix + key for key in found])

    def exists(self) -> bool:
        """Whether anything lies here; of a web server, which cannot list, whether a run does."""
        if self.read([ROOT]) != [None]:
            return True
        return not self._address.is_web and bool(self.sizes())

    def child(self, name: str) -> Remote:
        """The place below this one that ``name`` names."""
        return Remote(self._address.child(name))

    def children(self) -> list[str]:
        """The names right below this place that hold something themselves, sorted."""
        with self._told():
            found = obstore.list_with_delimiter(self._store, self._prefix or None)
        return sorted(path.rpartition("/")[2] for path in found["common_prefixes"])

    def look(self, key: str) -> Found | None:
        """One object, with which writing of it this is; None where there is none."""
        with self._told():
            try:
                met = obstore.get(self._store, self._prefix + key)
                data = met.bytes().to_bytes()
            except FileNotFoundError:
                return None
            return Found(data=data, version=_version(met.meta), modified=met.meta["last_modified"])

    def create(self, key: str, data: bytes) -> UpdateVersion | None:
        """Put ``data`` where nothing lies; None where something does, which is left alone."""
        with self._told():
            try:
                return _version(obstore.put(self._store, self._prefix + key, data, mode="create"))
            except AlreadyExistsError:
                return None
            except NotImplementedError:
                # A store without conditions: whoever asks at the same instant may get the same answer.
                return None if self.look(key) else _version(obstore.put(self._store, self._prefix + key, data))

    def replace(self, key: str, data: bytes, version: UpdateVersion) -> UpdateVersion | None:
        """Put ``data`` in the place of that ``version``; None where it is gone, and what lies there is left alone."""
        with self._told():
            try:
                return _version(obstore.put(self._store, self._prefix + key, data, mode=version))
            except (PreconditionError, FileNotFoundError):
                return None
            except NotImplementedError:
                found = self.look(key)
                is_there = found is not None and found.version == version
                return _version(obstore.put(self._store, self._prefix + key, data)) if is_there else None

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (BaseError, FileNotFoundError) as error:
            # Not chained: the text of a refusal can repeat keys and signatures.
            raise plain(error, self._address) from None


def matching(pattern: str) -> list[Remote]:
    """The places that a pattern such as ``s3://bucket/runs/*.zarr`` names, sorted; ``*`` stays within one level."""
    address = Address.of(pattern, is_pattern=True)
    *folders, last = address.path.split("/")
    found = [Remote(Address(root=address.root, path=""))]
    for part in folders:
        found = [below for above in found for below in _fitting(above, part)]
    named = [below for above in found for below in _fitting(above, last)]
    return sorted(named if has_magic(last) else filter(Remote.exists, named), key=lambda place: place.location)


def _fitting(above: Remote, part: str) -> list[Remote]:
    names = [name for name in above.children() if fnmatchcase(name, part)] if has_magic(part) else [part]
    return [above.child(name) for name in names]


def _settings() -> Iterator[tuple[str, str]]:
    return ((name, value) for name, value in os.environ.items() if name.upper().startswith(_SETTINGS))


@lru_cache(maxsize=16)
def _store(root: str, settings: tuple[tuple[str, str], ...]) -> ObjectStore:
    """One client for all places under ``root``: they share connections and credentials."""
    endpoints = [value for name, value in settings if "ENDPOINT" in name.upper()]
    client: ClientConfig = {
        "allow_http": any(url.startswith("http:") for url in (root, *endpoints)),
        "connect_timeout": _CONNECT,
        "timeout": _REQUEST,
    }
    retry: RetryConfig = {
        "max_retries": _RETRIES,
        "retry_timeout": _REQUEST,
        "backoff": {"base": 2, "init_backoff": timedelta(seconds=0.1), "max_backoff": timedelta(seconds=2)},
    }
    if root.startswith("http"):
        return HTTPStore(root, client_options=client, retry_config=retry)
    return from_url(root, client_options=client, retry_config=retry)


def _version(written: PutResult | ObjectMeta) -> UpdateVersion:
    version: UpdateVersion = {}
    if written["e_tag"] is not None:
        version["e_tag"] = written["e_tag"]
    if written["version"] is not None:
        version["version"] = written["version"]
    return version
