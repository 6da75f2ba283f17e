"""A run held in memory: the plainest place there is, quick to copy and to damage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path


class Memory:
    """Bytes by key; what is asked for is noted."""

    def __init__(self, files: Mapping[str, bytes], location: str = "run.zarr") -> None:
        self.files = dict(files)
        self.location = location
        self.asked: list[list[str]] = []

    @classmethod
    def of(cls, folder: Path) -> Memory:
        files = sorted(file for file in folder.rglob("*") if file.is_file())
        return cls({file.relative_to(folder).as_posix(): file.read_bytes() for file in files})

    def read(self, keys: Sequence[str]) -> list[bytes | None]:
        self.asked.append(list(keys))
        return [self.files.get(key) for key in keys]

    def write(self, items: Mapping[str, bytes]) -> None:
        self.files.update(items)

    def keys(self, prefix: str = "") -> list[str]:
        return sorted(key for key in self.files if key.startswith(prefix))

    def sizes(self, prefix: str = "") -> dict[str, int]:
        return {key: len(self.files[key]) for key in self.keys(prefix)}

    def remove(self, prefix: str) -> None:
        self.files = {
            key: data for key, data in self.files.items() if key != prefix and not key.startswith(f"{prefix}/")
        }

    def exists(self) -> bool:
        return bool(self.files)

    def child(self, name: str) -> Memory:
        start = f"{name}/"
        return Memory({key.removeprefix(start): self.files[key] for key in self.keys(start)}, f"{self.location}/{name}")

    def put_into(self, folder: Path) -> Path:
        """The same on disk."""
        for key, data in self.files.items():
            (folder / key).parent.mkdir(parents=True, exist_ok=True)
            (folder / key).write_bytes(data)
        return folder
