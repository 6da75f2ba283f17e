"""Which runs are meant: a folder of them, a pattern, or the runs themselves, on a disk or behind URLs."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from plastikit.errors import NotARunError
from plastikit.record.address import is_url
from plastikit.record.place import Folder, Location, Place, place_of, places_matching
from plastikit.record.root import COPY, ROOT

_SUFFIX: Final = ".zarr"


def find_runs(directory: Location) -> list[Path]:
    """The runs right inside ``directory``, in the order of their names."""
    return sorted(path for path in Path(directory).glob(f"*{_SUFFIX}") if path.is_dir())


def places_of(paths: Location | Iterable[Location]) -> list[Place]:
    """Where the runs lie that ``paths`` names, which may be a folder of runs, a pattern, or the runs themselves.

    Raises:
        NotARunError: nothing was found.
    """
    if not isinstance(paths, str | os.PathLike):
        found = [place_of(path) for path in paths]
    elif is_url(os.fspath(paths)):
        found = _behind(os.fspath(paths))
    elif glob.has_magic(os.fspath(paths)):
        names = sorted(glob.glob(os.fspath(paths)))  # noqa: PTH207  a whole path, maybe absolute
        found = [Folder(Path(name)) for name in names]
    elif Path(paths).is_dir() and not any((Path(paths) / name).exists() for name in (ROOT, COPY)):
        found = [Folder(path) for path in find_runs(paths)]
    else:
        found = [place_of(paths)]
    if not found:
        raise NotARunError(
            f"no run found at {paths}; give a folder that holds runs, or a pattern such as 'runs/*.zarr'"
        )
    # A run that is named twice is one run.
    return list({str(place.path) if isinstance(place, Folder) else place.location: place for place in found}.values())


def name_of(place: Place) -> str:
    """What the run at ``place`` is called: the last part of its path, without the ``.zarr``."""
    return place.location.replace(os.sep, "/").rstrip("/").rpartition("/")[2].removesuffix(_SUFFIX)


def _behind(url: str) -> list[Place]:
    if glob.has_magic(url):
        return places_matching(url)
    place = place_of(url)
    if any(data is not None for data in place.read([ROOT, COPY])):
        return [place]
    return places_matching(f"{url.rstrip('/')}/*{_SUFFIX}") or [place]
