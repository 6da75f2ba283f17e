"""The URL of a run, taken apart: one that carries credentials is refused before anything can repeat it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Self

from plastikit.errors import ConfigurationError, UnknownNameError

SCHEMES: Final = ("s3", "gs", "az", "abfs", "https", "http")

_URL: Final = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<server>[^/]*)/*(?P<path>.*)", re.DOTALL)
_FLATTENED: Final = re.compile(r"(s3|gs|az|abfs|https?):/[^/]")


@dataclass(frozen=True)
class Address:
    """A bucket or a server, and the path in it.

    >>> Address.of("s3://bucket/runs/a.zarr/")
    Address(root='s3://bucket', path='runs/a.zarr')
    """

    root: str
    path: str

    @classmethod
    def of(cls, url: str, *, is_pattern: bool = False) -> Self:
        """Take ``url`` apart; in a pattern, ``?`` stands for one character.

        Raises:
            ConfigurationError: it holds credentials, or names no bucket.
            UnknownNameError: no object store goes by that scheme.
        """
        match = _URL.fullmatch(url)
        if match is None:
            raise ConfigurationError("a URL was expected, such as s3://bucket/run.zarr; give one")
        scheme, server, path = match["scheme"].lower(), match["server"], match["path"].rstrip("/")
        if scheme not in SCHEMES:
            raise UnknownNameError.of("kind of URL", scheme, SCHEMES)
        user, at, host = server.rpartition("@")
        # abfs has the container there, as in abfs://container@account.dfs.core.windows.net/run.zarr
        if at and (scheme != "abfs" or ":" in user):
            raise ConfigurationError(
                f"the URL {scheme}://…@{host}/… carries credentials, which are not taken from there; "
                "take them out of the URL and set them in the environment"
            )
        _, mark, query = path.partition("?")
        if (mark and (not is_pattern or "=" in query)) or "#" in path:
            raise ConfigurationError(
                f"the URL {scheme}://{server}/… has a part after '?' or '#', which can carry credentials; "
                "give the URL of the run alone, and credentials in the environment"
            )
        if not server:
            raise ConfigurationError(f"the URL {url} names no bucket; {scheme}://bucket/run.zarr was expected")
        return cls(root=f"{scheme}://{server}", path=re.sub("/+", "/", path))

    @property
    def scheme(self) -> str:
        """What the URL begins with, such as ``s3``."""
        return self.root.partition(":")[0]

    @property
    def is_web(self) -> bool:
        """Whether this is a plain web server, which can neither list nor be written to."""
        return self.scheme.startswith("http")

    @property
    def url(self) -> str:
        """The whole of it."""
        return f"{self.root}/{self.path}" if self.path else self.root

    def child(self, name: str) -> Address:
        """The address below this one that ``name`` names."""
        return Address(root=self.root, path=f"{self.path}/{name}".lstrip("/"))


def is_url(location: str) -> bool:
    """Whether ``location`` is meant as a URL.

    Raises:
        ConfigurationError: it was one, before it was made a path.
    """
    if _FLATTENED.match(location):
        raise ConfigurationError(f"{location} is a URL that was made a Path, which joins its slashes; give it as text")
    return _URL.fullmatch(location) is not None
