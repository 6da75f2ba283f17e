"""A replay on disk: files of transitions, each written once and deleted when no checkpoint needs it any more."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch

from plastikit.train.replay import Replay, Stretch
from plastikit.train.whole_file import Sealed, write_whole

SEGMENT: Final = "replay-*.pt"
"""The names of the files."""
_LARGEST: Final = 32 << 20
"""Bytes of transitions in a file, at most."""


@dataclass(frozen=True)
class Segment:
    """A file of transitions of consecutive vector steps, and which: from ``first`` to before ``end``."""

    first: int
    end: int
    file: Sealed

    def to_dict(self) -> dict[str, Any]:
        """Give it as a JSON mapping."""
        return dataclasses.asdict(self)

    @classmethod
    def of(cls, told: dict[str, Any]) -> Segment:
        """Read what ``to_dict`` gave."""
        return cls(told["first"], told["end"], Sealed(**told["file"]))


class ReplayLog:
    """The files of one replay, in a folder.

    Args:
        folder: Where they lie.
        segments: Those that lie there already, in order.
    """

    def __init__(self, folder: Path, segments: Sequence[Segment] = ()) -> None:
        self._folder = folder
        self._segments = list(segments)

    def extend(self, replay: Replay) -> list[Segment]:
        """Write what was added since the last time; gives the files that hold all that the replay holds."""
        begin = self._segments[-1].end if self._segments else 0
        longest = max(1, _LARGEST // replay.step_nbytes)
        for stretch in replay.stretches(begin, longest):
            self._segments.append(_written(self._folder, stretch))
        oldest = replay.added - replay.size
        self._segments = [segment for segment in self._segments if segment.end > oldest]
        return list(self._segments)


def read_segments(folder: Path, segments: Iterable[Segment]) -> Iterator[Stretch]:
    """Read files that are intact, one at a time."""
    for segment in segments:
        told = torch.load(folder / segment.file.name, map_location="cpu", weights_only=True)
        yield Stretch(**told)


def _written(folder: Path, stretch: Stretch) -> Segment:
    path = folder / SEGMENT.replace("*", f"{stretch.first:012d}-{stretch.end:012d}")
    told = {field.name: getattr(stretch, field.name) for field in dataclasses.fields(stretch)}
    return Segment(stretch.first, stretch.end, write_whole(path, lambda file: torch.save(told, file)))
