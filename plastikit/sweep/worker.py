"""What runs in a process of its own: one training run, which ends when the sweep that started it is gone."""

from __future__ import annotations

import _thread
import threading
from multiprocessing import connection, parent_process
from pathlib import Path

from plastikit.train.config import TrainingConfig
from plastikit.train.loop import train
from plastikit.watch.schedule import every


def work(config: TrainingConfig, path: Path, probe_interval: int, messages: connection.Connection) -> None:
    """Train, sending each ``Progress``, and the error's text where the run fails."""
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    try:
        train(config, store=path, schedule=every(probe_interval), on_progress=messages.send)
    except KeyboardInterrupt:
        messages.send("interrupted")
    except Exception as error:  # noqa: BLE001  whatever it is, it becomes the run's record and stops no other run
        messages.send(f"{type(error).__name__}: {error}")


def _leave_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        _thread.interrupt_main()
