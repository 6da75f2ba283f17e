"""The root's document: sealed, read back, and never taken for another."""

from __future__ import annotations

import json
import random

import pytest

from plastikit.errors import DamagedError
from plastikit.record.root import seal, unseal

DOCUMENT = {
    "attributes": {
        "schema_version": 2,
        "state": "running",
        "configuration": {"ü": 1.5, "nan": float("nan"), "n": None},
    },
    "zarr_format": 3,
    "node_type": "group",
    "consolidated_metadata": {"kind": "inline", "must_understand": False, "metadata": {"a": {"shape": [7, 3]}}},
}


def test_what_was_sealed_comes_back() -> None:
    """Equal in every value, without the checksum; plain JSON reads it too."""
    assert str(unseal(seal(DOCUMENT))) == str(json.loads(json.dumps(DOCUMENT, sort_keys=True)))
    assert json.loads(seal(DOCUMENT))["attributes"]["checksum"].startswith("crc32c:")
    assert seal(unseal(seal(DOCUMENT))) == seal(DOCUMENT)


def test_no_damage_passes() -> None:
    """Any flipped bit, any missing end: an error, never another document."""
    sound = seal(DOCUMENT)
    generator = random.Random(0)
    for _ in range(2000):
        place = generator.randrange(len(sound))
        damaged = bytearray(sound)
        damaged[place] ^= 1 << generator.randrange(8)
        with pytest.raises(DamagedError):
            unseal(bytes(damaged))
    for length in range(len(sound)):
        with pytest.raises(DamagedError):
            unseal(sound[:length])


def test_the_first_layout_had_no_checksum() -> None:
    """A version 1 root is read as it is; a version 2 root without a checksum is damaged."""
    first = {"attributes": {"schema_version": 1}, "zarr_format": 3}
    assert unseal(json.dumps(first).encode()) == first
    with pytest.raises(DamagedError, match="checksum"):
        unseal(json.dumps(DOCUMENT).encode())
    with pytest.raises(DamagedError, match="checksum"):
        unseal(b'{"attributes": {"schema_version": 1, "checksum": "crc32c:00000000"}}')
