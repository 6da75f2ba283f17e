"""Whole runs behind URLs, against an object store that speaks S3: written, killed, cut off, and read."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
import zarr
from obstore.store import S3Store
from torch import nn

import plastikit
from oracles import writing
from oracles.object_store import BUCKET, KEY, SECRET, ObjectStore
from oracles.writing import check, declare, hand_over, resumed
from plastikit.errors import NotARunError, StoreAccessError, StoreExistsError, StoreInUseError, StoreWriteError
from plastikit.record import lease
from plastikit.record.claim import is_claimed
from plastikit.record.place import place_of
from plastikit.record.store import RunStore
from plastikit.record.table import Layout

WRITE_ON = """
import random, sys
from oracles.writing import declare, hand_over, layout_of, resumed
from plastikit.record.store import RunStore

url, at = sys.argv[1], int(sys.argv[2])
store = RunStore(url, configuration={}, provenance={}, resume=resumed(url, at if at >= 0 else None))
layout = layout_of() if at >= 0 else declare(store)
step = at + 1
while True:
    for _ in range(random.Random(step).randrange(1, 20)):
        hand_over(store, layout, step, is_noted=False)
        step += 1
    store.commit()
    print(step - 1, flush=True)
"""


def _start(url: str, **options: object) -> RunStore:
    return RunStore(url, configuration={}, provenance={}, **options)


def _plain(url: str) -> xr.DataTree:
    """The run as xarray reads it without plastikit."""
    path = url.removeprefix(f"s3://{BUCKET}/")
    objects = zarr.storage.ObjectStore(
        S3Store(BUCKET, prefix=path, client_options={"allow_http": True}), read_only=True
    )
    return xr.open_datatree(objects, engine="zarr")


@contextmanager
def _away(object_store: ObjectStore) -> Iterator[None]:
    object_store.stop()
    try:
        yield
    finally:
        object_store.start()


def test_a_run_is_written_and_read(prefix: str) -> None:
    """A run behind a URL is seen while it grows and when it is finished, by plastikit and by plain xarray alike."""
    url = f"{prefix}/run.zarr"
    store = _start(url)
    layout = declare(store)
    for step in range(50):
        hand_over(store, layout, step)
    store.commit()
    assert check(plastikit.open_run(url)) == check(_plain(url)) == {"diagnostics": 50, "training": 50, "events": 5}
    assert plastikit.open_run(url).attrs["state"] == "running"
    assert is_claimed(place_of(url))
    for step in range(50, 2100):
        hand_over(store, layout, step)
    store.close()
    tree = plastikit.open_run(url)
    assert check(tree) == check(_plain(url)) == {"diagnostics": 2100, "training": 2100, "events": 210}
    assert tree.attrs["state"] == "finished"
    assert place_of(url).read(["writer.lock"]) == [None]


def test_runs_are_found(prefix: str) -> None:
    """A folder of runs and a pattern name the runs behind a URL; what is no run says so."""
    for name in ("one", "two"):
        store = _start(f"{prefix}/{name}.zarr")
        hand_over(store, declare(store), 0)
        store.close()
    for paths in (prefix, f"{prefix}/", f"{prefix}/*.zarr", [f"{prefix}/one.zarr", f"{prefix}/two.zarr"]):
        assert plastikit.open_runs(paths)["run"].values.tolist() == ["one", "two"]
    assert plastikit.open_runs(f"{prefix}/t*.zarr")["diagnostics"]["norm"].values.tolist() == [[0.0]]
    for paths in (f"{prefix}/none.zarr", f"{prefix}/none*.zarr"):
        with pytest.raises(NotARunError, match="none"):
            plastikit.open_runs(paths)
    with pytest.raises(NotARunError, match="does not exist"):
        plastikit.open_run(f"{prefix}/none.zarr")


@pytest.mark.slow
def test_killed_and_resumed(prefix: str) -> None:
    """Ten writers of one run killed by SIGKILL: each time all that was acknowledged is there, and the next goes on."""
    url = f"{prefix}/run.zarr"
    generator = random.Random(0)
    environment = os.environ | {"PYTHONPATH": str(Path(writing.__file__).parents[1])}
    acknowledged = -1
    for number in range(10):
        command = [sys.executable, "-P", "-c", WRITE_ON, url, str(acknowledged)]
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            # Now and then while it starts.
            told = [process.stdout.readline()] if number % 3 != 2 else []
            time.sleep(generator.uniform(0, 0.3) + (0.5 if not told else 0))
            process.kill()
            told += process.stdout.read().splitlines()
        acknowledged = max([acknowledged, *(int(line) for line in told)])
        found = check(plastikit.open_run(url), is_noted=False)
        assert found["diagnostics"] == found["training"] > acknowledged
        assert check(_plain(url), is_noted=False) == found
        assert not is_claimed(place_of(url))
    _start(url, resume=resumed(url, acknowledged)).close()
    tree = plastikit.open_run(url)
    assert check(tree, is_noted=False)["diagnostics"] == acknowledged + 1
    assert len(tree.attrs["provenance"]["resumed"]) >= 7
    assert (tree.attrs["state"], "dropped" in tree.attrs) == ("finished", False)


def test_a_server_that_goes_away_and_comes_back(prefix: str, object_store: ObjectStore) -> None:
    """While the server is away, training is not held up, and when it is back the run has all rows."""
    url = f"{prefix}/run.zarr"
    told: list[str] = []
    store = _start(url, tell=told.append)
    layout = declare(store)
    for step in range(20):
        hand_over(store, layout, step)
    store.commit()
    with _away(object_store):
        slowest = 0.0
        for step in range(20, 2020):
            started = time.perf_counter()
            hand_over(store, layout, step)
            slowest = max(slowest, time.perf_counter() - started)
        store.commit()
        assert any("no server answers" in text for text in told)
        assert slowest < 1
    store.commit()
    hand_over(store, layout, 2020)
    assert "is written again; no rows were lost" in told[-1]
    store.close()
    tree = plastikit.open_run(url)
    assert check(tree)["diagnostics"] == 2021
    assert (tree.attrs["state"], "dropped" in tree.attrs) == ("finished", False)


@pytest.mark.slow
def test_a_server_that_is_killed_at_any_instant(prefix: str, object_store: ObjectStore) -> None:
    """A server killed in the middle of commits leaves the run whole: all that was acknowledged, then all there was."""
    url = f"{prefix}/run.zarr"
    store = _start(url, on_error="raise")
    layout = declare(store)
    generator = random.Random(1)
    step = 0
    for _ in range(3):
        killer = threading.Timer(generator.uniform(0.05, 0.4), object_store.stop)
        killer.start()
        acknowledged = _write_until_refused(store, layout, step)
        killer.join()
        object_store.start()
        assert check(plastikit.open_run(url), is_noted=False)["diagnostics"] > acknowledged
        store._writer.commit()
        store._writer.news.clear()
        step = store.table("training").rows
    store.close()
    assert check(plastikit.open_run(url), is_noted=False)["diagnostics"] == step


def _write_until_refused(store: RunStore, layout: Layout, step: int) -> int:
    """The last step that was acknowledged; those behind it are kept."""
    acknowledged = -1
    try:
        while True:
            hand_over(store, layout, step, is_noted=False)
            store.commit()
            acknowledged = step
            step += 1
    except StoreWriteError:
        return acknowledged


def test_wrong_credentials_at_attach(prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With wrong credentials attach is one error, which names none of them, and nothing is left behind."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hidden+secret")
    with pytest.raises(StoreAccessError, match="check the credentials in the environment") as refusal:
        plastikit.attach(nn.Sequential(nn.Linear(2, 2), nn.ReLU()), store=f"{prefix}/run.zarr")
    assert not any(secret in f"{refusal.getrepr(style='short')}" for secret in ("hidden", KEY, SECRET))
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    assert not place_of(prefix).exists()


def test_no_secret_is_stored_or_told(prefix: str, object_store: ObjectStore) -> None:
    """No object of a run, no warning on its way and no name of its parts holds a key, a secret or the server."""
    url = f"{prefix}/run.zarr"
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        with plastikit.attach(model, optimizer=optimizer, store=url, schedule=plastikit.every(1)) as monitor:
            for step in range(6):
                if step == 3:
                    object_store.stop()
                optimizer.zero_grad()
                model(torch.ones(3, 4)).sum().backward()
                optimizer.step()
                if step == 3:
                    monitor._store.commit()
                    object_store.start()
            named = [repr(monitor), repr(monitor._store), repr(monitor._store._place)]
    place = place_of(url)
    objects = place.read(place.keys())
    tree = plastikit.open_run(url)
    assert tree["diagnostics"].sizes["step"] == 6
    texts = [str(value) for value in np.ravel(tree["events"]["message"].values)]
    assert any("no server answers" in str(warning.message) for warning in warned)
    told = [*named, *texts, *(str(warning.message) for warning in warned), *place.keys(), str(tree.attrs)]
    for hidden in (KEY, SECRET, object_store.environment["AWS_ENDPOINT_URL"]):
        assert not any(hidden in text for text in told)
        assert not any(hidden.encode() in (data or b"") for data in objects)


def test_one_run_at_one_url(prefix: str) -> None:
    """Where a run lies none begins; of several that begin at once, one does, and the others leave it alone."""
    url = f"{prefix}/run.zarr"
    begun: list[RunStore] = []
    refused: list[type] = []

    def begin() -> None:
        try:
            begun.append(_start(url))
        except (StoreExistsError, StoreInUseError) as error:
            refused.append(type(error))

    threads = [threading.Thread(target=begin) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (store,) = begun
    assert len(refused) == 5
    hand_over(store, declare(store), 0)
    with pytest.raises(StoreExistsError, match="choose another URL"):
        _start(url)
    with pytest.raises(StoreInUseError):
        _start(url, resume=resumed(url, 0))
    store.close()
    assert check(plastikit.open_run(url))["diagnostics"] == 1


def test_a_writer_that_lost_its_run_stops(prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer that was taken for gone writes no more: what the next one records stays as it is."""
    monkeypatch.setattr(lease, "_RENEWAL_SECONDS", 0.0)
    url = f"{prefix}/run.zarr"
    told: list[str] = []
    first = _start(url, tell=told.append)
    layout = declare(first)
    for step in range(10):
        hand_over(first, layout, step)
    first.commit()
    lease._held.clear()
    second = _start(url, resume=resumed(url, 9))
    for step in range(10, 20):
        hand_over(second, layout, step)
    second.commit()
    hand_over(first, layout, 10)
    first.commit()
    assert "was taken over by another writer" in told[-1]
    second.close()
    first.close()
    assert plastikit.open_run(url)["training"]["loss"].values.tolist() == [step / 7 for step in range(20)]


def test_a_run_of_the_web_is_read(prefix: str, tmp_path: Path) -> None:
    """A run that a plain web server offers opens by its URL."""
    store = RunStore(tmp_path / "run.zarr", configuration={}, provenance={})
    layout = declare(store)
    for step in range(30):
        hand_over(store, layout, step)
    store.close()
    handler = type("Quiet", (SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(tmp_path))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        assert check(plastikit.open_run(f"http://127.0.0.1:{server.server_port}/run.zarr"))["training"] == 30
        server.shutdown()
