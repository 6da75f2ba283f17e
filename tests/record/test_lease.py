"""Tests of one writer at a time behind a URL, against an object store that speaks S3."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, cast

import pytest

from oracles.object_store import READER_KEY, READER_SECRET, ObjectStore
from plastikit.errors import StoreAccessError, StoreInUseError
from plastikit.record import lease
from plastikit.record.address import Address
from plastikit.record.claim import LOCK, claim, is_claimed
from plastikit.record.lease import Lease, is_held
from plastikit.record.place import place_of
from plastikit.record.remote import Remote

HOLD = """
import sys, time
from plastikit.record import lease
from plastikit.record.claim import claim
from plastikit.record.place import place_of
lease._RENEWAL_SECONDS = 0.2
held = claim(place_of(sys.argv[1]))
print("held", flush=True)
while True:
    time.sleep(0.05)
    held.renew()
"""


@pytest.fixture
def place(prefix: str) -> Remote:
    """A run that nobody writes."""
    return cast("Remote", place_of(f"{prefix}/run.zarr"))


@pytest.fixture
def other(place: Remote) -> Iterator[subprocess.Popen[str]]:
    """A process that writes the run at ``place``."""
    process = subprocess.Popen([sys.executable, "-P", "-c", HOLD, place.location], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


@pytest.fixture
def far(monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine is another one than that of processes started from here, and time is short."""
    monkeypatch.setattr(lease, "_machine", lambda: "another")
    monkeypatch.setattr(lease, "LIFETIME_SECONDS", 2.0)
    monkeypatch.setattr(lease, "_WATCH_SECONDS", 0.2)


def _lock(place: Remote) -> dict[str, Any]:
    found = place.look(LOCK)
    assert found is not None
    return cast("dict[str, Any]", json.loads(found.data))


def test_a_second_writer_is_refused(place: Remote, other: subprocess.Popen[str]) -> None:
    """Where another process of this machine writes, the error comes at once and names it."""
    started = time.monotonic()
    with pytest.raises(StoreInUseError, match=f"process {other.pid} of this machine"):
        claim(place)
    assert time.monotonic() - started < 5
    assert is_claimed(place)


def test_a_second_writer_in_one_process_is_refused(place: Remote) -> None:
    """Two writers in one process are two writers; after the first ended the second may begin."""
    first = claim(place)
    with pytest.raises(StoreInUseError, match=f"process {os.getpid()} of this machine"):
        claim(place)
    first.release()
    first.release()
    assert not is_claimed(place)
    assert place.keys() == []
    claim(place).release()


def test_a_writer_that_was_killed_is_taken_over(place: Remote, other: subprocess.Popen[str]) -> None:
    """Where the other process is gone, even if its parent has not asked for it yet, its lease is over at once."""
    other.send_signal(signal.SIGKILL)
    while is_held(place, LOCK):
        time.sleep(0.01)
    assert other.returncode is None
    started = time.monotonic()
    held = claim(place)
    assert time.monotonic() - started < 5
    assert _lock(place)["process"] == os.getpid()
    held.release()


def test_one_number_does_not_make_one_process(place: Remote) -> None:
    """A process that got the number of one that is gone is not taken for it."""
    claim(place)
    place.write({LOCK: json.dumps(_lock(place) | {"started": "1"}).encode()})
    assert not is_claimed(place)
    claim(place).release()


def test_a_live_writer_elsewhere_is_refused(
    place: Remote, other: subprocess.Popen[str], far: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lease from another machine that is renewed while it is watched is in use."""
    other.send_signal(signal.SIGSTOP)
    threading.Timer(0.5, other.send_signal, [signal.SIGCONT]).start()
    monkeypatch.setattr(lease, "LIFETIME_SECONDS", 20.0)
    assert is_claimed(place)
    with pytest.raises(StoreInUseError, match="another machine"):
        claim(place)


def test_a_writer_elsewhere_that_is_gone_is_taken_over(place: Remote, other: subprocess.Popen[str], far: None) -> None:
    """A lease from another machine that nobody renews is over when its lifetime is, and not before."""
    other.kill()
    other.wait()
    assert is_claimed(place)
    started = time.monotonic()
    held = claim(place)
    assert 0.5 < time.monotonic() - started < 6
    assert place.sizes().keys() == {LOCK}
    held.release()


def test_an_old_lease_is_over_at_once(place: Remote, far: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lease that is older than its lifetime by the store's clock is not watched first."""
    claim(place)
    monkeypatch.setattr(lease, "_machine", lambda: "a third")
    time.sleep(3.1)
    assert not is_claimed(place)
    started = time.monotonic()
    claim(place).release()
    assert time.monotonic() - started < 1.5


def test_of_many_that_take_over_one_does(place: Remote, other: subprocess.Popen[str]) -> None:
    """Where several find the same lease over, one gets it and the others are refused."""
    other.kill()
    other.wait()
    won: list[object] = []

    def take() -> None:
        with suppress(StoreInUseError):
            won.append(claim(place))

    threads = [threading.Thread(target=take) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1


def test_who_lost_its_lease_stops(place: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer whose lease was taken over hears so, at each attempt, and leaves the other's lease alone."""
    monkeypatch.setattr(lease, "_RENEWAL_SECONDS", 0.0)
    first = claim(place)
    first.renew()
    monkeypatch.setattr(lease, "_Holder", _gone(lease._Holder))
    second = claim(place)
    monkeypatch.undo()
    monkeypatch.setattr(lease, "_RENEWAL_SECONDS", 0.0)
    for _ in range(2):
        with pytest.raises(StoreInUseError, match="taken over"):
            first.renew()
    first.release()
    assert place.look(LOCK) is not None
    second.release()


def _gone(holder: type) -> type:
    class Gone(holder):  # type: ignore[misc]
        def is_at_work(self) -> bool:
            return False

    return Gone


def test_a_lease_that_was_deleted_is_lost(place: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lease that is not there any more may have been another's in between: it is not made anew."""
    monkeypatch.setattr(lease, "_RENEWAL_SECONDS", 0.0)
    held = claim(place)
    place.remove(LOCK)
    with pytest.raises(StoreInUseError):
        held.renew()
    assert place.look(LOCK) is None


def test_a_renewal_whose_answer_was_lost_counts(place: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the store took a renewal and could not say so, the writer finds its own lease and goes on."""
    monkeypatch.setattr(lease, "_RENEWAL_SECONDS", 0.0)
    held = cast("Lease", claim(place))
    before = held._version
    held.renew()
    held._version = before
    held.renew()
    assert _lock(place)["renewals"] == 2
    held.renew()
    assert _lock(place)["renewals"] == 3
    held.release()


def test_a_first_attempt_whose_answer_was_lost_counts(place: Remote) -> None:
    """Where the store made the lease and could not say so, the writer finds that it is its own."""

    class Deaf(Remote):
        def create(self, key: str, data: bytes) -> None:
            super().create(key, data)

    held = claim(Deaf(Address.of(place.location)))
    held.renew()
    held.release()
    assert not is_claimed(place)


def test_renewals_come_seldom(place: Remote) -> None:
    """A writer that commits often renews once in a few seconds."""
    held = claim(place)
    for _ in range(100):
        held.renew()
    assert _lock(place)["renewals"] == 0
    held.release()


def test_a_store_that_is_away_takes_no_lease(
    place: Remote, object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A renewal that cannot be sent is an error of the place, and the lease is there when the store is back."""
    monkeypatch.setattr(lease, "_RENEWAL_SECONDS", 0.0)
    held = claim(place)
    object_store.stop()
    try:
        with pytest.raises(StoreAccessError):
            held.renew()
    finally:
        object_store.start()
    held.renew()
    held.release()
    assert not is_claimed(place)


def test_a_lease_given_up_while_the_store_was_away_is_over(place: Remote, object_store: ObjectStore) -> None:
    """A lease that could not be taken away when its writer ended does not keep the next one out."""
    held = claim(place)
    object_store.stop()
    try:
        held.release()
    finally:
        object_store.start()
    assert place.look(LOCK) is not None
    assert not is_claimed(place)
    claim(place).release()


def test_a_reader_can_ask(place: Remote, other: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether a run is being written can be asked with keys that may only read."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", READER_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", READER_SECRET)
    assert is_claimed(place_of(place.location))
    with pytest.raises(StoreAccessError):
        claim(place_of(place.location))


def test_a_forked_process_leaves_the_lease(place: Remote) -> None:
    """A child that was forked from the writer does not give up what is its parent's."""
    held = claim(place)
    child = os.fork()
    if child == 0:
        held.release()
        os._exit(0)
    os.waitpid(child, 0)
    assert is_claimed(place)
    held.release()


def test_a_lease_says_nothing_of_the_machine(place: Remote) -> None:
    """What lies in the store for all to see names neither the machine nor its user."""
    held = claim(place)
    assert set(_lock(place)) == {"token", "machine", "process", "started", "renewals"}
    assert os.uname().nodename not in json.dumps(_lock(place))
    held.release()
