"""What runs in a process of its own: one training run, which ends when the sweep that started it is gone."""

from __future__ import annotations

import _thread
import signal
import threading
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing import connection, parent_process
from pathlib import Path
from typing import NoReturn

from plastikit.sweep.grid import PlannedRun
from plastikit.train.checkpoint import checkpoints_of
from plastikit.train.loop import train
from plastikit.watch.schedule import Every


@dataclass(frozen=True, kw_only=True)
class Order:
    """What a process is to do."""

    run: PlannedRun
    folder: Path
    """The sweep's."""
    schedule: Every
    keeps_checkpoints: bool
    resumes: bool
    """Whether the run goes on from its last checkpoint."""

    @property
    def store(self) -> Path:
        """Where the run's record lies."""
        return store_of(self.folder, self.run.name)

    @property
    def checkpoints(self) -> Path | None:
        """The folder of its checkpoints; None where none are kept."""
        return checkpoints_of(self.store) if self.keeps_checkpoints else None


def store_of(folder: Path, name: str) -> Path:
    """Where the record of a sweep's run lies."""
    return folder / f"{name}.zarr"


def work(order: Order, messages: connection.Connection) -> None:
    """Train, sending each ``Progress``, and the error's text where the run fails.

    The sweep alone answers Ctrl-C: it starts its workers with SIGINT blocked, and stops them with SIGTERM.
    """
    signal.signal(signal.SIGTERM, _stop_once)
    # A terminal that is closed ends the sweep, and the run is closed because the sweep is gone.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    try:
        train(
            order.run.config,
            store=order.store,
            schedule=order.schedule,
            checkpoints=order.checkpoints,
            resume=order.resumes,
            on_progress=partial(_tell, messages),
        )
    except KeyboardInterrupt:
        outcome = "interrupted"
    except Exception as error:  # noqa: BLE001  whatever it is, it becomes the run's record and stops no other run
        outcome = f"{type(error).__name__}: {error}"
    else:
        return
    with suppress(KeyboardInterrupt):
        _tell(messages, outcome)


def _tell(messages: connection.Connection, message: object) -> None:
    """Send to the sweep; where it is gone, the run ends as one interrupted."""
    try:
        messages.send(message)
    except OSError:
        raise KeyboardInterrupt from None


def _leave_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        _thread.interrupt_main(signal.SIGTERM)


def _stop_once(*_: object) -> NoReturn:
    """Let the run be closed as an interrupted one; a second signal must not cut the closing short."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt
