"""Writes a run: buffered rows, made visible all at once by one atomic replacement of the root's metadata."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import zarr

from plastikit.errors import ConfigurationError, StoreClosedError, StoreExistsError
from plastikit.record.table import Column, Packed, Table, Values
from plastikit.schema import (
    DIAGNOSTICS,
    EVALUATION,
    EVENT,
    EVENTS,
    FINISHED,
    RUNNING,
    SCHEMA_VERSION,
    STEP,
    TRAINING,
)

_BUFFERED_ROWS: Final = 1024
_BUFFERED_BYTES: Final = 16 * 2**20
_COMMIT_SECONDS: Final = 10.0
_WALL_TIME: Final = Column(
    dtype="float64",
    attrs={"long_name": "wall time", "units": "seconds since 1970-01-01"},
    coordinate=True,
)


class RunStore:
    """One run being written.

    Rows are gathered in memory and reach the disk together: after 1024 of them or 16 MiB, 10 seconds after the last
    time, on ``commit`` and on ``close``. Readers see whole rows only, in all variables alike.
    """

    def __init__(
        self,
        path: Path,
        *,
        configuration: Mapping[str, Any],
        provenance: Mapping[str, Any],
        watching: Mapping[str, Any] | None = None,
    ) -> None:
        """Start a run at ``path``; ``watching`` says what is measured in it, and when.

        Raises:
            ConfigurationError: ``configuration`` holds something that JSON cannot say.
            StoreExistsError: something lies at ``path`` already; it is left untouched.
        """
        self.path = path
        configuration = _plain(configuration, "metadata")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.mkdir()
        except NotADirectoryError:
            raise ConfigurationError(f"{path} lies inside a file; choose a path whose folders are folders") from None
        except FileExistsError:
            if not path.exists():
                raise ConfigurationError(
                    f"{path.parent} is no folder, so no run can lie in it; choose another path"
                ) from None
            raise StoreExistsError(
                f"{path} exists already and is left untouched; choose another path, or delete it first"
            ) from None
        except OSError as error:
            raise ConfigurationError(
                f"{path} cannot be written: {error.strerror}; choose a path in a folder that you may write to"
            ) from None
        self._root = zarr.open_group(path, mode="w", zarr_format=3)
        self._attributes: dict[str, Any] = {
            "schema_version": SCHEMA_VERSION,
            "state": RUNNING,
            "configuration": configuration,
            "provenance": dict(provenance),
        }
        if watching is not None:
            self._attributes["watching"] = _plain(watching, "watching")
        self._tables = {
            name: Table(self._root.create_group(name), leading, path / name)
            for name, leading in ((DIAGNOSTICS, STEP), (TRAINING, STEP), (EVALUATION, STEP), (EVENTS, EVENT))
        }
        for table in self._tables.values():
            table.declare("wall_time", _WALL_TIME)
        events = self._tables[EVENTS]
        events.declare("kind", Column(dtype="str", attrs={"long_name": "kind of event"}))
        events.declare("message", Column(dtype="str", attrs={"long_name": "what happened"}))
        events.declare("event_step", Column(dtype="int64", attrs={"long_name": "step of the event"}))
        self.commit()

    @property
    def state(self) -> str:
        """``running``, ``finished``, ``failed`` or ``interrupted``."""
        return str(self._attributes["state"])

    def table(self, group: str) -> Table:
        """The rows of one group: ``diagnostics``, ``training``, ``evaluation`` or ``events``."""
        return self._tables[group]

    def append(
        self, group: str, index: int, values: Mapping[str, Values | float | str], packed: Packed | None = None
    ) -> None:
        """Hand over one row, in part as a packed vector; its wall time is now.

        Raises:
            StoreClosedError: the run was closed before.
        """
        if self.state != RUNNING:
            raise StoreClosedError(f"the run {self.path} is {self.state}; start a new run to record more")
        self._tables[group].append(
            index,
            {name: np.asarray(value) for name, value in values.items()} | {"wall_time": np.asarray(time.time())},
            packed,
        )
        self._waiting += 1
        self._waiting_bytes += 0 if packed is None else packed[1].nbytes
        is_full = self._waiting >= _BUFFERED_ROWS or self._waiting_bytes >= _BUFFERED_BYTES
        if is_full or time.monotonic() - self._committed_at >= _COMMIT_SECONDS:
            self.commit()

    def event(self, kind: str, message: str, step: int) -> None:
        """Note that something happened: a warning, an interruption, a resumption."""
        rows = self._tables[EVENTS].rows
        self.append(EVENTS, rows, {"kind": kind, "message": message, "event_step": step})

    def commit(self) -> None:
        """Make every row handed over so far visible to readers, in one step."""
        for table in self._tables.values():
            table.write()
            if self.state != RUNNING:
                table.settle()
        metadata = {key: value for table in self._tables.values() for key, value in table.documents().items()}
        root = {
            "attributes": self._attributes,
            "zarr_format": 3,
            "node_type": "group",
            "consolidated_metadata": {"kind": "inline", "must_understand": False, "metadata": metadata},
        }
        _replace_root(self.path, root)
        self._waiting, self._waiting_bytes = 0, 0
        self._committed_at = time.monotonic()

    def close(self, state: str = FINISHED, *, error: str | None = None) -> None:
        """Write what is left and say how the run ended; a second call changes nothing."""
        if self.state != RUNNING:
            return
        running = self._attributes
        ended = {"ended": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
        self._attributes = running | {"state": state, "provenance": running["provenance"] | ended}
        if error is not None:
            self._attributes["error"] = error
        try:
            self.commit()
        except BaseException:
            # Interrupted, or out of space: the run is as open as it was, and can be closed again.
            self._attributes = running
            raise


def _plain(value: Any, name: str) -> Any:
    """``value`` in JSON's own types; NumPy's numbers and paths are turned into them."""
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, np.generic) or (isinstance(value, np.ndarray) and value.ndim == 0):
        return _plain(value.item(), name)
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(entry, f"{name}[{key!r}]") for key, entry in value.items()}
    if isinstance(value, list | tuple | set | np.ndarray):
        return [_plain(entry, f"{name}[{position}]") for position, entry in enumerate(value)]
    raise ConfigurationError(
        f"{name} is a {type(value).__name__}, which a store cannot hold; "
        "give numbers, texts, and lists or mappings of them"
    )


def mark(path: Path, state: str, *, error: str) -> None:
    """Say in a run whose writer is gone how it ended; what it had committed stays as it is."""
    root = json.loads((path / "zarr.json").read_text(encoding="utf-8"))
    root["attributes"] |= {"state": state, "error": error}
    _replace_root(path, root)


def _replace_root(path: Path, root: Mapping[str, Any]) -> None:
    fresh = path / "zarr.json.partial"
    fresh.write_text(json.dumps(root), encoding="utf-8")
    fresh.replace(path / "zarr.json")
