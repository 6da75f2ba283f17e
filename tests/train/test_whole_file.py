"""Files that are there whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import IO

import pytest

from plastikit.train.whole_file import write_whole


def test_a_file_is_known_again_until_it_changes(tmp_path: Path) -> None:
    """Its size and digest are those of what was written; what is wrong with it is said."""
    sealed = write_whole(tmp_path / "a", lambda file: [file.write(b"one"), file.write(b"two")])
    assert (tmp_path / "a").read_bytes() == b"onetwo"
    assert sealed.fault(tmp_path) is None
    for other, fault in (
        (b"onetwi", "a holds other bytes than were written"),
        (b"onetw", "a has 5 bytes and was written with 6"),
        (b"onetwoo", "a has 7 bytes and was written with 6"),
    ):
        (tmp_path / "a").write_bytes(other)
        assert sealed.fault(tmp_path) == fault
    (tmp_path / "a").unlink()
    assert sealed.fault(tmp_path) == "a is missing"
    (tmp_path / "a").mkdir()
    assert sealed.fault(tmp_path) == "a cannot be read (Is a directory)"


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    """The old file stays, and no half of the new one."""
    sealed = write_whole(tmp_path / "a", lambda file: file.write(b"old"))

    def fail(file: IO[bytes]) -> None:
        file.write(b"new")
        raise OSError("no room")

    with pytest.raises(OSError, match="no room"):
        write_whole(tmp_path / "a", fail)
    assert sealed.fault(tmp_path) is None
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
