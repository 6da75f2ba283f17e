"""The root's metadata: the one document that says what is committed, sealed with a checksum."""

from __future__ import annotations

import json
from typing import Any, Final, cast

import google_crc32c

from plastikit.errors import DamagedError

ROOT: Final = "zarr.json"
COPY: Final = "zarr.copy.json"
"""The same document once more, written after the root: what a damaged root is repaired from."""

_ZEROS: Final = "crc32c:00000000"
_PREFIX: Final = b'{"attributes":{"checksum":"crc32c:'
"""How every sealed document begins: the keys are sorted, and no attribute stands before the checksum."""


def seal(document: dict[str, Any]) -> bytes:
    """``document`` as it is written; its checksum is that of all bytes, with zeros in its own place."""
    plain = document | {"attributes": document["attributes"] | {"checksum": _ZEROS}}
    data = json.dumps(plain, sort_keys=True, separators=(",", ":")).encode("ascii")
    start = len(_PREFIX)
    return data[:start] + b"%08x" % google_crc32c.value(data) + data[start + 8 :]


def unseal(data: bytes) -> dict[str, Any]:
    """The document that was sealed, without its checksum; one of version 1 never had one.

    Raises:
        DamagedError: it is not what was written.
    """
    start = len(_PREFIX)
    is_sealed = data.startswith(_PREFIX)
    zeroed = data[:start] + b"0" * 8 + data[start + 8 :]
    if is_sealed and data[start : start + 8] != b"%08x" % google_crc32c.value(zeroed):
        raise DamagedError("the root's metadata does not fit its checksum")
    try:
        document = json.loads(data)
        attributes = document["attributes"]
        version = attributes["schema_version"]
    except (ValueError, KeyError, TypeError):
        raise DamagedError("the root's metadata cannot be read") from None
    # Bits that turn the version or the checksum's name into something else must not pass for the first layout.
    if not is_sealed and (version != 1 or "checksum" in attributes):
        raise DamagedError("the root's metadata has no checksum")
    attributes.pop("checksum", None)
    return cast("dict[str, Any]", document)
