"""Carries a sweep out: a process per run, no more threads than cores, on from what is finished."""

from __future__ import annotations

import fcntl
import json
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from multiprocessing import connection, get_context, resource_tracker
from pathlib import Path
from typing import Any, Final

from plastikit.errors import ConfigurationError
from plastikit.record.dataset import is_run, read_attributes
from plastikit.record.provenance import provenance
from plastikit.record.store import RunStore, mark
from plastikit.schema import FAILED, FINISHED, INTERRUPTED, RUNNING
from plastikit.sweep.grid import PlannedRun
from plastikit.sweep.worker import work
from plastikit.train.balance import cores
from plastikit.train.loop import Progress, run_metadata
from plastikit.train.tasks import require_metaworld
from plastikit.watch.schedule import every

SET_ASIDE: Final = "set-aside"
"""Folder, inside the sweep's, to which the records of runs that are begun anew are moved."""

_GRACE_SECONDS: Final = 20.0
_MACHINE: Final = ("threads", "workers")
"""Settings that follow from the machine, and change no number."""


@dataclass(frozen=True, kw_only=True)
class Update:
    """What became of a run: started, further, or ended in a state."""

    name: str
    state: str
    progress: Progress | None = None
    error: str | None = None
    is_old: bool = False
    """Whether an earlier sweep into the same folder brought it to this state."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How the runs of a sweep ended, by name; an error for each that failed."""

    finished: tuple[str, ...]
    failed: dict[str, str]


@dataclass
class _Worker:
    run: PlannedRun
    process: Any
    messages: connection.Connection
    metadata: dict[str, Any]
    error: str | None = None


@dataclass
class _Ledger:
    tell: Callable[[Update], None]
    finished: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)

    def enter(self, update: Update) -> None:
        if update.state == FINISHED:
            self.finished.append(update.name)
        else:
            self.failed[update.name] = update.error or "no reason was recorded"
        self.tell(update)


def execute(
    runs: Sequence[PlannedRun],
    directory: str | os.PathLike[str],
    *,
    jobs: int | None = None,
    probe_interval: int = 100,
    retries_failed: bool = False,
    on_update: Callable[[Update], None] = lambda _: None,
) -> Outcome:
    """Carry out ``runs``, each into its own store in ``directory``.

    Runs that an earlier sweep finished, or that failed in it, are left as they are. The record of a run that was cut
    off moves to ``set-aside`` and the run begins anew. A run that fails keeps its record, with its error, and stops no
    other.

    Args:
        runs: What to do, as ``plan`` gives it.
        directory: Where the stores go.
        jobs: Runs at the same time; by default one per core. The cores are shared out evenly among them.
        probe_interval: Updates between two records.
        retries_failed: Whether to begin failed runs anew too.
        on_update: Told of each start, advance and end.

    Raises:
        ConfigurationError: the folder is in use by another sweep, or holds a run of the same name with other settings.
        MissingExtraError: Meta-World is not installed.
    """
    require_metaworld()
    place = Path(directory)
    ledger = _Ledger(on_update)
    with _only_sweep_in(place):
        todo = [
            run
            for run in runs
            if not _is_settled(run, place, ledger, probe_interval=probe_interval, retries_failed=retries_failed)
        ]
        if todo:
            at_once = max(1, min(jobs or cores(), len(todo)))
            threads = max(1, cores() // at_once)
            waiting = [
                replace(run, config=replace(run.config, threads=threads, workers=threads))
                for run in sorted(todo, key=lambda run: run.weight)
            ]
            _work_off(waiting, place, at_once, probe_interval, ledger)
    return Outcome(finished=tuple(sorted(ledger.finished)), failed=ledger.failed)


def _work_off(waiting: list[PlannedRun], place: Path, at_once: int, probe_interval: int, ledger: _Ledger) -> None:
    active: list[_Worker] = []
    try:
        while waiting or active:
            while waiting and len(active) < at_once:
                active.append(_start(waiting.pop(), place, probe_interval))
                ledger.tell(Update(name=active[-1].run.name, state=RUNNING))
            connection.wait([end for worker in active for end in (worker.messages, worker.process.sentinel)])
            for worker in list(active):
                _listen(worker, ledger)
                if not worker.process.is_alive():
                    _listen(worker, ledger)
                    active.remove(worker)
                    ledger.enter(_settle(worker, place))
    finally:
        _stop(active, place)


def _start(run: PlannedRun, place: Path, probe_interval: int) -> _Worker:
    context = get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    path = place / f"{run.name}.zarr"
    process = context.Process(target=work, args=(run.config, path, probe_interval, theirs), name=run.name)
    # Starting it lets SIGINT through again, in this process and so in the worker: it has to run before.
    resource_tracker.ensure_running()
    # A terminal's Ctrl-C goes to every process: blocked here, it stays blocked in the worker, from its first instant.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    theirs.close()
    return _Worker(run, process, ours, run_metadata(run.config, every(probe_interval)))


def _listen(worker: _Worker, ledger: _Ledger) -> None:
    try:
        while worker.messages.poll():
            message = worker.messages.recv()
            if isinstance(message, Progress):
                ledger.tell(Update(name=worker.run.name, state=RUNNING, progress=message))
            else:
                worker.error = message
    except (EOFError, ConnectionResetError):
        # The process is gone; its exit code says how.
        worker.process.join()


def _settle(worker: _Worker, place: Path) -> Update:
    """Make sure that the run's store says how it ended, also where its process could not."""
    path = place / f"{worker.run.name}.zarr"
    error = worker.error
    if error is None and worker.process.exitcode:
        error = f"the process ended with {_exit(worker.process.exitcode)}"
    if not path.exists():
        error = error or "the process ended without starting the run"
        RunStore(path, configuration=worker.metadata, provenance=provenance()).close(FAILED, error=error)
    state = read_attributes(path)["state"]
    if state == RUNNING:
        error = error or "the process ended without closing the run"
        state = FAILED
        mark(path, state, error=error)
    return Update(name=worker.run.name, state=state, error=error)


def _exit(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def _stop(active: Sequence[_Worker], place: Path) -> None:
    """Ask the processes that are left to close their runs, and end those that do not."""
    for worker in active:
        worker.process.terminate()
    for worker in active:
        worker.process.join(_GRACE_SECONDS)
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()
        path = place / f"{worker.run.name}.zarr"
        if is_run(path) and read_attributes(path)["state"] == RUNNING:
            mark(path, INTERRUPTED, error="the sweep was interrupted")


def _is_settled(run: PlannedRun, place: Path, ledger: _Ledger, *, probe_interval: int, retries_failed: bool) -> bool:
    path = place / f"{run.name}.zarr"
    if not path.exists():
        return False
    if not is_run(path):
        # A process that was killed in the instant in which it created its run.
        _set_aside(path)
        return False
    attributes = read_attributes(path)
    _check_settings(run, path, attributes["configuration"], probe_interval)
    state = attributes["state"]
    if state == FINISHED or (state == FAILED and not retries_failed):
        ledger.enter(Update(name=run.name, state=state, error=attributes.get("error"), is_old=True))
        return True
    _set_aside(path)
    return False


def _set_aside(path: Path) -> None:
    aside = path.parent / SET_ASIDE
    aside.mkdir(exist_ok=True)
    number = 1
    while (aside / f"{path.stem}-{number}.zarr").exists():
        number += 1
    path.rename(aside / f"{path.stem}-{number}.zarr")


def _check_settings(run: PlannedRun, path: Path, found: dict[str, Any], probe_interval: int) -> None:
    expected = json.loads(json.dumps(run_metadata(run.config, every(probe_interval))))
    differing = [key for key in expected if key not in _MACHINE and found.get(key) != expected[key]]
    if differing:
        key = differing[0]
        raise ConfigurationError(
            f"{path} was made with other settings: {key} is {found.get(key)!r} there and {expected[key]!r} here; "
            "sweep into another folder, or with the settings of the runs that are there"
        )


@contextmanager
def _only_sweep_in(place: Path) -> Iterator[None]:
    try:
        place.mkdir(parents=True, exist_ok=True)
        lock = (place / ".sweep.lock").open("w")
    except OSError as error:
        raise ConfigurationError(
            f"{place} cannot hold runs: {error.strerror}; choose a folder that you may write to"
        ) from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigurationError(
                f"another sweep is writing to {place}; wait for it to end, or choose another folder"
            ) from None
        yield
