"""What the tests of the measuring half share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from plastikit.watch import compiled


@pytest.fixture(autouse=True)
def _nobody_watches() -> Iterator[None]:
    """A network that a test left armed is let go of before the next one."""
    yield
    for watcher in list(compiled._WATCHERS):
        watcher.disarm()
