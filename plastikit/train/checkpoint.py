"""Where a training is gone on from: checkpoints in a folder beside the run."""

from __future__ import annotations

import json
import os
import time
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import torch

from plastikit.errors import ConfigurationError, NoCheckpointError, StoreExistsError
from plastikit.train.config import CheckpointConfig
from plastikit.train.replay import Replay, Stretch
from plastikit.train.replay_log import SEGMENT, ReplayLog, Segment, read_segments
from plastikit.train.whole_file import TEMPORARY, Sealed, sync_folder, write_whole

FINAL: Final = "final.pt"
"""The networks of a finished run."""

FORMAT: Final = 1
_STATE: Final = "checkpoint-*.pt"
_MANIFEST: Final = "checkpoint-*.json"
_TOLD: Final = 3
"""Files that an error names of each checkpoint."""
_SPARING: Final = 20.0
"""A checkpoint is written at most once in so many times what the last one took: 5 % of the time."""


def checkpoints_of(store: str | os.PathLike[str]) -> Path:
    """Give the folder in which the checkpoints of a local run lie: beside it.

    >>> checkpoints_of("runs/mine.zarr").as_posix()
    'runs/mine.checkpoints'
    """
    return Path(store).with_suffix(".checkpoints")


def has_checkpoint(folder: str | os.PathLike[str]) -> bool:
    """Tell whether a training can be gone on with from ``folder``: it is not finished, and a checkpoint is intact."""
    place = Path(folder)
    return not (place / FINAL).exists() and _newest_intact(place)[0] is not None


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that is intact."""

    folder: Path
    step: int
    """Vector steps that were taken."""
    state: Mapping[str, Any]
    segments: tuple[Segment, ...]

    def stretches(self) -> Iterator[Stretch]:
        """Read the replay's transitions."""
        return read_segments(self.folder, self.segments)


def last_checkpoint(folder: str | os.PathLike[str]) -> Checkpoint:
    """Read the last checkpoint that is intact; a warning names later ones, and what is wrong with their files.

    Raises:
        ConfigurationError: the run is finished.
        NoCheckpointError: there is none to go on from; the error names the files that are missing or damaged.
    """
    place = Path(folder)
    if (place / FINAL).exists():
        raise ConfigurationError(
            f"{place} is that of a finished run, and nothing is left to go on with; its networks are in {FINAL}, for "
            "torch.load. Train anew under another name."
        )
    found, faults = _newest_intact(place)
    if found is None and not faults:
        raise NoCheckpointError(
            f"{place} holds no checkpoint. Give the folder that the training was given, or train anew, without resume."
        )
    told = "; ".join(faults)
    if found is None:
        raise NoCheckpointError(
            f"{place} holds no checkpoint that is whole: {told}. Put these files back from a copy and resume; where "
            "there is no copy, train anew under another name."
        )
    if faults:
        warnings.warn(
            f"{place}: {told}; the training goes on from {found.path.name}, the last that is whole, and takes the "
            "steps after it again",
            stacklevel=2,
        )
    state = torch.load(place / found.state.name, map_location="cpu", weights_only=True)
    return Checkpoint(place, found.step, state, found.segments)


class Checkpoints:
    """The checkpoints of a run in progress.

    Each is written beside the others and counts once its manifest has its name, which is last: at any instant the one
    before is whole. The replay's transitions are written once. Writing takes at most 5 % of the time.

    Args:
        folder: Where they lie; made where it is not.
        settings: How often one is written, and how many are kept.
        after: The checkpoint that the run is gone on from; None begins with none, and later ones are deleted.

    Raises:
        StoreExistsError: a run begins, and the folder holds checkpoints of another.
        ConfigurationError: the folder cannot be written to.
    """

    def __init__(
        self, folder: str | os.PathLike[str], settings: CheckpointConfig, *, after: Checkpoint | None = None
    ) -> None:
        self._folder = Path(folder)
        self._settings = settings
        self._log = ReplayLog(self._folder, () if after is None else after.segments)
        self._written = time.perf_counter()
        self._seconds = 0.0
        if after is None and ((self._folder / FINAL).exists() or _manifests(self._folder)):
            raise StoreExistsError(
                f"{self._folder} holds the checkpoints of another run and is left untouched; resume that one, delete "
                "the folder, or give another"
            )
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._tidy(_manifest_of(after.step) if after else "")
        except OSError as error:
            raise ConfigurationError(
                f"{self._folder} cannot hold checkpoints: {error.strerror}; give a folder that you may write to"
            ) from None

    @property
    def is_due(self) -> bool:
        """Whether the next checkpoint is to be written now."""
        passed = time.perf_counter() - self._written
        return passed >= max(self._settings.interval_seconds, _SPARING * self._seconds)

    def write(self, step: int, state: Mapping[str, Any], replay: Replay) -> None:
        """Write the checkpoint of a vector step, and delete what the last ones do not need.

        Where the disk fails a warning tells, the one before stays, and the next is tried in its time.
        """
        started = time.perf_counter()
        try:
            self._write(step, state, replay)
        except OSError as error:
            warnings.warn(
                f"{self._folder}: no checkpoint could be written at vector step {step}: {error}; the training goes on, "
                "and the next is tried in its time",
                stacklevel=2,
            )
        self._written = time.perf_counter()
        self._seconds = self._written - started

    def finish(self, networks: Mapping[str, Any]) -> None:
        """Keep the networks of the run, which is finished, and delete all else."""
        write_whole(self._folder / FINAL, lambda file: torch.save(dict(networks), file))
        for pattern in (_MANIFEST, _STATE, SEGMENT):
            for path in self._folder.glob(pattern):
                path.unlink(missing_ok=True)

    def _write(self, step: int, state: Mapping[str, Any], replay: Replay) -> None:
        segments = self._log.extend(replay)
        path = self._folder / _STATE.replace("*", f"{step:012d}")
        written = write_whole(path, lambda file: torch.save(dict(state), file))
        content = {
            "format": FORMAT,
            "step": step,
            "state": vars(written),
            "segments": [segment.to_dict() for segment in segments],
        }
        sealed = json.dumps({"digest": _digest(content), "content": content}, indent=1).encode()
        write_whole(self._folder / _manifest_of(step), lambda file: file.write(sealed))
        self._tidy(_manifest_of(step))

    def _tidy(self, newest: str) -> None:
        """Delete what the last checkpoints up to the newest do not need, manifests first."""
        manifests = _manifests(self._folder)
        kept = [path for path in manifests if path.name <= newest][: self._settings.kept]
        for path in manifests:
            if path not in kept:
                path.unlink()
        sync_folder(self._folder)
        needed = {name for path in kept for name in _Manifest.names(path)}
        for pattern in (_STATE, SEGMENT, f"*{TEMPORARY}"):
            for path in self._folder.glob(pattern):
                if path.name not in needed:
                    path.unlink(missing_ok=True)


@dataclass(frozen=True)
class _Manifest:
    """What makes a checkpoint one: which files it is made of."""

    path: Path
    step: int
    state: Sealed
    segments: tuple[Segment, ...]

    @classmethod
    def read(cls, path: Path) -> _Manifest | None:
        """Read one; None where it is not as it was written, or of a version that this one does not know."""
        try:
            told = json.loads(path.read_bytes())
            content = told["content"]
            if told["digest"] != _digest(content) or content["format"] != FORMAT:
                return None
            segments = tuple(map(Segment.of, content["segments"]))
            return cls(path, content["step"], Sealed(**content["state"]), segments)
        except (OSError, ValueError, KeyError, TypeError):
            return None

    @classmethod
    def names(cls, path: Path) -> set[str]:
        """Give the files that the manifest at ``path`` names, none where it cannot be read."""
        found = cls.read(path)
        return set() if found is None else {found.state.name, *(segment.file.name for segment in found.segments)}

    @property
    def faults(self) -> list[str]:
        """What is wrong with its files."""
        files = (self.state, *(segment.file for segment in self.segments))
        found = (file.fault(self.path.parent) for file in files)
        return [fault for fault in found if fault is not None]


def _manifests(folder: Path) -> list[Path]:
    """The newest first."""
    return sorted(folder.glob(_MANIFEST), reverse=True)


def _newest_intact(folder: Path) -> tuple[_Manifest | None, list[str]]:
    """Find the newest checkpoint whose files are as they were written, and say of each later one what is wrong."""
    told = []
    for path in _manifests(folder):
        manifest = _Manifest.read(path)
        if manifest is None:
            told.append(f"{path.name} itself is damaged, or of another version")
        elif faults := manifest.faults:
            more = f", and {len(faults) - _TOLD} more of its files are so" if len(faults) > _TOLD else ""
            told.append(f"{path.name} cannot be gone on from, since {', '.join(faults[:_TOLD])}{more}")
        else:
            return manifest, told
    return None, told


def _manifest_of(step: int) -> str:
    return _MANIFEST.replace("*", f"{step:012d}")


def _digest(content: Mapping[str, Any]) -> str:
    return sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
