"""Carries a sweep out: a process per run, no more threads than cores, on from what is finished."""

from __future__ import annotations

import fcntl
import json
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from multiprocessing import connection, get_context, resource_tracker
from pathlib import Path
from typing import Any, Final

from plastikit.errors import ConfigurationError
from plastikit.record.dataset import is_run, read_attributes
from plastikit.record.provenance import provenance
from plastikit.record.store import RunStore, mark
from plastikit.schema import FAILED, FINISHED, INTERRUPTED, RUNNING
from plastikit.sweep.concurrency import concurrency
from plastikit.sweep.grid import PlannedRun
from plastikit.sweep.requirements import devices_of
from plastikit.sweep.worker import Order, store_of, work
from plastikit.train.balance import cores
from plastikit.train.checkpoint import checkpoints_of, has_checkpoint
from plastikit.train.hold import held
from plastikit.train.loop import Progress
from plastikit.train.origin import MACHINE
from plastikit.train.tasks import require_simulators
from plastikit.train.watching import run_metadata, usual
from plastikit.watch.schedule import Every

SET_ASIDE: Final = "set-aside"
"""Folder, inside the sweep's, to which the records of runs that are begun anew are moved."""

_GRACE_SECONDS: Final = 20.0
_ENDED: Final = "the process ended with"
"""How the error of a run begins whose process was ended from without."""


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
    order: Order
    process: Any
    messages: connection.Connection
    error: str | None = None

    @property
    def name(self) -> str:
        return self.order.run.name


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
    schedule: Every | None = None,
    keeps_checkpoints: bool = True,
    retries_failed: bool = False,
    on_update: Callable[[Update], None] = lambda _: None,
) -> Outcome:
    """Carry out ``runs``, each into its own store in ``directory``.

    Runs that an earlier sweep finished, or that failed in it, are left as they are. A run that was cut off goes on from
    its last checkpoint, and ends as one that was not; without a checkpoint its record moves to ``set-aside`` and the
    run begins anew. A run that fails keeps its record, with its error, and stops no other.

    Args:
        runs: What to do, as ``plan`` gives it.
        directory: Where the stores go.
        jobs: Runs at the same time; by default one per core, or two where they train on a GPU, all on the same one.
            The cores are shared out evenly among them.
        schedule: At which updates the probes look; as usual in a training where none is given.
        keeps_checkpoints: Whether checkpoints are written, beside each run.
        retries_failed: Whether failed runs are tried again too: one whose process was ended goes on from its last
            checkpoint, one that failed by itself, as by diverging, begins anew.
        on_update: Told of each start, advance and end.

    Raises:
        ConfigurationError: the folder is in use by another sweep, or holds a run of the same name with other settings;
            or a device or a compiler that is asked for is not there, or a probe set cannot be.
        MissingExtraError: what simulates the tasks is not installed.
    """
    require_simulators([task for run in runs for task in run.config.task_names])
    place = Path(directory)
    is_on_gpu = "cuda" in devices_of([run for run in runs if not _is_finished(store_of(place, run.name))])
    ledger = _Ledger(on_update)
    with _only_sweep_in(place):
        todo = []
        for run in runs:
            order = Order(
                run=run, folder=place, schedule=schedule or usual(), keeps_checkpoints=keeps_checkpoints, resumes=False
            )
            left = _settled(order, ledger, retries_failed=retries_failed)
            todo += [] if left is None else [left]
        if todo:
            shared = concurrency(jobs, left=len(todo), cores=cores(), is_on_gpu=is_on_gpu)
            todo.sort(key=lambda order: order.run.weight)
            _work_off([_with_cores(order, shared.cores) for order in todo], shared.runs, ledger)
    return Outcome(finished=tuple(sorted(ledger.finished)), failed=ledger.failed)


def _is_finished(store: Path) -> bool:
    return is_run(store) and read_attributes(store)["state"] == FINISHED


def _with_cores(order: Order, count: int) -> Order:
    config = order.run.config
    threads = count if config.threads is None else config.threads
    return replace(order, run=replace(order.run, config=replace(config, threads=threads, workers=count)))


def _work_off(waiting: list[Order], at_once: int, ledger: _Ledger) -> None:
    active: list[_Worker] = []
    try:
        while waiting or active:
            while waiting and len(active) < at_once:
                active.append(_start(waiting.pop()))
                ledger.tell(Update(name=active[-1].name, state=RUNNING))
            connection.wait([end for worker in active for end in (worker.messages, worker.process.sentinel)])
            for worker in list(active):
                _listen(worker, ledger)
                if not worker.process.is_alive():
                    _listen(worker, ledger)
                    active.remove(worker)
                    ledger.enter(_settle(worker))
    finally:
        _stop(active)


def _start(order: Order) -> _Worker:
    context = get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=work, args=(order, theirs), name=order.run.name)
    # Starting it lets SIGINT through again, in this process and so in the worker: it has to run before.
    resource_tracker.ensure_running()
    # A terminal's Ctrl-C goes to every process: blocked here, it stays blocked in the worker, from its first instant.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    theirs.close()
    return _Worker(order, process, ours)


def _listen(worker: _Worker, ledger: _Ledger) -> None:
    try:
        while worker.messages.poll():
            message = worker.messages.recv()
            if isinstance(message, Progress):
                ledger.tell(Update(name=worker.name, state=RUNNING, progress=message))
            else:
                worker.error = message
    except (EOFError, ConnectionResetError):
        # The process is gone; its exit code says how.
        worker.process.join()


def _settle(worker: _Worker) -> Update:
    """Make sure that the run's store says how it ended, also where its process could not."""
    order, path = worker.order, worker.order.store
    error = worker.error
    if error is None and worker.process.exitcode:
        error = f"{_ENDED} {_exit(worker.process.exitcode)}"
    if not path.exists():
        error = error or "the process ended without starting the run"
        metadata = run_metadata(order.run.config, order.schedule)
        RunStore(path, configuration=metadata, provenance=provenance()).close(FAILED, error=error)
    state = read_attributes(path)["state"]
    if state == RUNNING:
        # A run that could not even be opened again has not failed: it can still be gone on with.
        state = INTERRUPTED if order.resumes and worker.error is not None else FAILED
        error = error or "the process ended without closing the run"
        mark(path, state, error=error)
    return Update(name=worker.name, state=state, error=error)


def _exit(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def _stop(active: Sequence[_Worker]) -> None:
    """Ask the processes that are left to close their runs, and end those that do not."""
    for worker in active:
        worker.process.terminate()
    for worker in active:
        worker.process.join(_GRACE_SECONDS)
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()
        path = worker.order.store
        if is_run(path) and read_attributes(path)["state"] == RUNNING:
            mark(path, INTERRUPTED, error="the sweep was interrupted")


def _settled(order: Order, ledger: _Ledger, *, retries_failed: bool) -> Order | None:
    """See what an earlier sweep left of the run: nothing remains to be done, it goes on, or it begins anew."""
    path = order.store
    if not path.exists():
        return order
    if not is_run(path):
        # A process that was killed in the instant in which it created its run.
        _set_aside(order)
        return order
    attributes = read_attributes(path)
    _check_settings(order, attributes["configuration"])
    # Refused where the run goes on at this moment.
    with held(order.checkpoints):
        can_go_on = order.checkpoints is not None and has_checkpoint(order.checkpoints)
    state, error = attributes["state"], attributes.get("error")
    # Killed in its last instant, a run is finished and its networks are not put away yet.
    if (state == FINISHED and not can_go_on) or (state == FAILED and not retries_failed):
        ledger.enter(Update(name=order.run.name, state=state, error=error, is_old=True))
        return None
    is_cut_off = state != FAILED or str(error).startswith(_ENDED)
    if is_cut_off and can_go_on:
        # With as many threads as before, or sums would be rounded in another order.
        threads = attributes["configuration"].get("threads")
        return replace(order, run=replace(order.run, config=replace(order.run.config, threads=threads)), resumes=True)
    _set_aside(order)
    return order


def _set_aside(order: Order) -> None:
    """Make room for a run that begins anew."""
    aside = order.folder / SET_ASIDE
    aside.mkdir(exist_ok=True)
    number = 1
    while store_of(aside, f"{order.run.name}-{number}").exists():
        number += 1
    place = store_of(aside, f"{order.run.name}-{number}")
    order.store.rename(place)
    with suppress(FileNotFoundError):
        checkpoints_of(order.store).rename(checkpoints_of(place))


def _check_settings(order: Order, found: dict[str, Any]) -> None:
    """Refuse to take a run of other settings for this one; settings that its version did not have are at defaults."""
    expected = json.loads(json.dumps(run_metadata(order.run.config, order.schedule)))
    differing = [key for key in expected if key not in MACHINE and found.get(key, expected[key]) != expected[key]]
    if differing:
        key = differing[0]
        raise ConfigurationError(
            f"{order.store} was made with other settings: {key} is {found.get(key)!r} there and {expected[key]!r} "
            "here; sweep into another folder, or with the settings of the runs that are there"
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
