"""An object store on this machine, for the tests of runs behind URLs."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from oracles.object_store import BUCKET, ObjectStore


@pytest.fixture(scope="session")
def object_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    """It runs from the first test that wants it to the last test."""
    store = ObjectStore(tmp_path_factory.mktemp("objects"))
    try:
        store.start()
        yield store
    finally:
        store.stop()


@pytest.fixture
def prefix(object_store: ObjectStore, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> str:
    """A URL under which nothing lies, with the writer's keys in the environment."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in object_store.environment.items():
        monkeypatch.setenv(name, value)
    return f"s3://{BUCKET}/{tmp_path_factory.mktemp('prefix').name}"
