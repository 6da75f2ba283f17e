"""Tests of places behind URLs, against an object store that speaks S3."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import cast

import pytest

from oracles.object_store import KEY, READER_KEY, READER_SECRET, SECRET, ObjectStore
from plastikit.errors import StoreAccessError
from plastikit.record import remote
from plastikit.record.place import Place, place_of, places_matching
from plastikit.record.remote import Remote


def _place(url: str) -> Remote:
    return cast("Remote", place_of(url))


def _filled(prefix: str) -> Remote:
    place = _place(f"{prefix}/run.zarr")
    place.write({"zarr.json": b"root", "a/c/0": b"1", "a/c/1": b"22", "ab/c/0": b"333", "writer.lock": b""})
    return place


def test_it_does_what_a_folder_does(prefix: str, tmp_path: Path) -> None:
    """Every method of a place gives behind a URL what it gives in a folder."""
    answers = []
    for place in (place_of(tmp_path / "run.zarr"), place_of(f"{prefix}/run.zarr")):
        told: list[object] = [place.exists(), place.keys(), place.read(["zarr.json"])]
        place.write({"zarr.json": b"old", "a/c/0": b"1"})
        place.write({"zarr.json": b"root", "a/c/1": b"22", "ab/c/0": b"333", "empty": b""})
        told += [place.exists(), place.keys(), place.keys("a/"), place.sizes(), place.sizes("ab/"), place.keys("none/")]
        told += [
            place.read(["a/c/1", "none", "zarr.json", "empty"]),
            place.child("a").keys(),
            place.child("x").exists(),
        ]
        place.remove("a")
        told += [place.keys()]
        place.remove("zarr.json")
        place.remove("none")
        told += [place.keys()]
        place.remove("")
        told += [place.read(["zarr.json"])]
        answers.append(told)
    folder, url = answers
    assert url == folder


def test_its_location_is_its_url(prefix: str) -> None:
    """A place is named by its URL, without a slash at its end."""
    assert place_of(f"{prefix}/run.zarr/").location == f"{prefix}/run.zarr"
    assert place_of(prefix).child("run.zarr").location == f"{prefix}/run.zarr"


def test_many_and_large_objects(prefix: str) -> None:
    """A thousand objects and one of twenty megabytes come back bit for bit."""
    place = place_of(prefix)
    items = {f"many/{number}": os.urandom(number) for number in range(1000)} | {"large": os.urandom(20 * 2**20)}
    place.write(items)
    assert place.read(list(items)) == list(items.values())
    assert place.sizes() == {key: len(data) for key, data in items.items()}


def test_objects_are_made_where_nothing_lies(prefix: str) -> None:
    """Of many that create one object at once, one does."""
    place = _place(prefix)
    versions: list[object] = []
    threads = [
        threading.Thread(target=lambda number=number: versions.append(place.create("lock", b"%d" % number)))
        for number in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(version is not None for version in versions) == 1


@pytest.mark.parametrize("conditional", ["etag", "disabled"])
def test_objects_are_replaced_where_they_are_what_they_were(
    prefix: str, conditional: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One version follows another, whether the store takes conditions or not; one that is gone is not replaced."""
    monkeypatch.setenv("AWS_CONDITIONAL_PUT", conditional)
    place = _place(prefix)
    first = place.create("lock", b"1")
    assert first is not None
    assert place.create("lock", b"2") is None
    second = place.replace("lock", b"2", first)
    assert second is not None
    assert place.replace("lock", b"3", first) is None
    found = place.look("lock")
    assert found is not None
    assert (found.data, found.version) == (b"2", second)
    place.remove("lock")
    assert place.replace("lock", b"3", second) is None
    assert place.look("lock") is None


def test_patterns_find_what_is_there(prefix: str) -> None:
    """A pattern names what lies there, level by level, and nothing that only begins alike."""
    for name in ("one.zarr", "two.zarr", "two.zarr.old", "deep/three.zarr", "[odd].zarr"):
        place_of(f"{prefix}/{name}").write({"zarr.json": b"", "a/c/0": b""})
    assert _matching(f"{prefix}/*.zarr") == [f"{prefix}/{name}" for name in ("[odd].zarr", "one.zarr", "two.zarr")]
    assert _matching(f"{prefix}/t?o.zarr") == [f"{prefix}/two.zarr"]
    assert _matching(f"{prefix}/*/*.zarr") == [f"{prefix}/deep/three.zarr"]
    assert _matching(f"{prefix}/d*/three.zarr") == [f"{prefix}/deep/three.zarr"]
    assert _matching(f"{prefix}/d*/none.zarr") == []
    assert _matching(f"{prefix}/one.zarr") == [f"{prefix}/one.zarr"]
    assert _matching(f"{prefix}/none*.zarr") == []


def _matching(pattern: str) -> list[str]:
    return [place.location for place in places_matching(pattern)]


REQUESTS: dict[str, Callable[[Place], object]] = {
    "read": lambda place: place.read(["zarr.json"]),
    "write": lambda place: place.write({"zarr.json": b""}),
    "list": lambda place: place.keys(),
    "exists": lambda place: place.exists(),
    "remove": lambda place: place.remove(""),
    "create": lambda place: cast("Remote", place).create("lock", b""),
    "look": lambda place: cast("Remote", place).look("lock"),
    "children": lambda place: cast("Remote", place).children(),
}


@pytest.mark.parametrize("request_of", REQUESTS.values(), ids=REQUESTS)
@pytest.mark.parametrize(
    "wrong", [{"AWS_SECRET_ACCESS_KEY": "hidden+secret"}, {"AWS_ACCESS_KEY_ID": "AKIAHIDDEN"}], ids=["secret", "key"]
)
def test_wrong_credentials_are_one_plain_error(
    prefix: str, request_of: Callable[[Place], object], wrong: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With credentials that are wrong every request says which to check, and repeats none of them."""
    for name, value in wrong.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(StoreAccessError, match="AWS_SECRET_ACCESS_KEY, and what they allow") as refusal:
        request_of(place_of(prefix))
    told = f"{refusal.value} {refusal.value!r}"
    assert not any(secret in told for secret in (*wrong.values(), SECRET, KEY))
    assert str(refusal.value).startswith(f"{prefix}: the server refused access (403 ")
    assert refusal.value.__suppress_context__


def test_no_credentials_are_told_from_wrong_ones(prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no credentials are set, that is what the error says."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    # Where a machine in a cloud would ask for its own.
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        monkeypatch.setenv("AWS_METADATA_ENDPOINT", f"http://127.0.0.1:{nobody.getsockname()[1]}")
    with pytest.raises(StoreAccessError, match="no credentials were found; set AWS_ACCESS_KEY_ID"):
        place_of(prefix).keys()


def test_a_missing_bucket_is_told(prefix: str) -> None:
    """Writing to a bucket that is not there says so; reading from it finds nothing."""
    place = place_of("s3://nowhere/run.zarr")
    with pytest.raises(StoreAccessError, match="s3://nowhere is not there"):
        place.write({"zarr.json": b""})
    assert place.read(["zarr.json"]) == [None]


def test_who_may_only_read_reads(prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With keys that may only read, reading works and writing is refused."""
    _filled(prefix)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", READER_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", READER_SECRET)
    place = place_of(f"{prefix}/run.zarr")
    assert place.read(["a/c/1"]) == [b"22"]
    assert place.exists()
    with pytest.raises(StoreAccessError, match="what they allow"):
        place.write({"zarr.json": b"mine"})
    assert place.read(["zarr.json"]) == [b"root"]


def test_a_server_that_is_away_is_told_soon(prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody at the other end is an error within seconds, for a hundred objects as for one."""
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    started = time.monotonic()
    with pytest.raises(StoreAccessError, match="AWS_ENDPOINT_URL"):
        place_of(prefix).write({f"{number}": b"" for number in range(100)})
    assert time.monotonic() - started < 15


def test_a_server_that_is_silent_is_given_up(prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that takes a request and never answers is an error in the end."""
    monkeypatch.setattr(remote, "_REQUEST", timedelta(seconds=1))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(StoreAccessError):
            place_of(prefix).read(["zarr.json"])


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    """A web server of the files of one folder."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_web_server_is_read(web: str, tmp_path: Path) -> None:
    """Files behind a plain web server are read; that they cannot be listed or written is a plain error."""
    place_of(tmp_path / "run.zarr").write({"zarr.json": b"root", "a/c/0": b"1"})
    place = place_of(f"{web}/run.zarr")
    assert place.exists()
    assert not place_of(f"{web}/none.zarr").exists()
    assert place.read(["a/c/0", "none"]) == [b"1", None]
    with pytest.raises(StoreAccessError, match="runs are only read there"):
        place.keys()
    with pytest.raises(StoreAccessError, match="runs are only read there"):
        place.write({"b": b""})


def test_a_server_that_comes_back_has_all(prefix: str, object_store: ObjectStore) -> None:
    """What was written is there after the server was killed and started again, and more can be written."""
    place = _filled(prefix)
    object_store.stop()
    try:
        with pytest.raises(StoreAccessError):
            place.write({"zarr.json": b"lost"})
    finally:
        object_store.start()
    assert place.read(["zarr.json", "a/c/1"]) == [b"root", b"22"]
    place.write({"zarr.json": b"more"})
    assert place.read(["zarr.json"]) == [b"more"]


def test_a_process_ends_well_after_its_last_request(prefix: str) -> None:
    """A process that ends as soon as its requests are answered ends without an error of its own."""
    code = (
        "import sys; from plastikit.record.place import place_of\n"
        "place = place_of(sys.argv[1]); place.write({str(number): bytes(9000) for number in range(50)})\n"
        "place.read(place.keys())"
    )
    command = [sys.executable, "-P", "-c", code, prefix]
    assert [subprocess.run(command, check=False).returncode for _ in range(10)] == [0] * 10


def test_the_extra_is_wanted_for_urls_alone(tmp_path: Path) -> None:
    """Where the extra is not installed, paths work, and a URL says what to install."""
    code = (
        "import sys; sys.modules['obstore'] = None\n"
        "from plastikit.record.place import place_of\n"
        "import plastikit.record.store, plastikit.record.dataset\n"
        "place_of('run.zarr').write({'a': b''})\n"
        "place_of('s3://bucket/run.zarr')"
    )
    answer = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert "MissingExtraError" in answer.stderr.splitlines()[-1]
    assert "pip install 'plastikit[remote]'" in answer.stderr
    assert (tmp_path / "run.zarr" / "a").exists()
