"""Files that are there whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import IO

import pytest

from plastikit.train.whole_file import write_whole


def test_a_file_is_known_again_until_it_changes(tmp_path: Path) -> None:
    """Its size and digest are those of what was written."""
    sealed = write_whole(tmp_path / "a", lambda file: [file.write(b"one"), file.write(b"two")])
    assert (tmp_path / "a").read_bytes() == b"onetwo"
    assert sealed.is_intact(tmp_path)
    for other in (b"onetwi", b"onetw", b"onetwoo"):
        (tmp_path / "a").write_bytes(other)
        assert not sealed.is_intact(tmp_path)
    (tmp_path / "a").unlink()
    assert not sealed.is_intact(tmp_path)


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    """The old file stays, and no half of the new one."""
    sealed = write_whole(tmp_path / "a", lambda file: file.write(b"old"))

    def fail(file: IO[bytes]) -> None:
        file.write(b"new")
        raise OSError("no room")

    with pytest.raises(OSError, match="no room"):
        write_whole(tmp_path / "a", fail)
    assert sealed.is_intact(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
