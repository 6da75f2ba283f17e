"""What a process does that steps environments for a run: it waits for an order, carries it out, says so.

Orders come through standard input, one byte each; answers leave through a pipe of their own. Both close with the
run's process, however that ends, and this process with them.
"""

from __future__ import annotations

import faulthandler
import mmap
import os
import pickle
import select
import time
import traceback
from typing import Final

from plastikit.train.board import Board
from plastikit.train.share import Maker, Share

BEGIN: Final = b"b"
STEP: Final = b"s"
DONE: Final = b"."
"""The answer to an order that was carried out; any other is the beginning of a traceback."""

_ORDERS: Final = 0
_SPINS_SECONDS: Final = 100e-6
_LOOKS_MILLISECONDS: Final = 1_000


class Assignment:
    """What such a process is told first."""

    def __init__(
        self,
        makers: dict[int, Maker],
        ends_at_success: frozenset[int],
        rows: int,
        observation_size: int,
        action_size: int,
    ) -> None:
        self.makers = makers
        self.ends_at_success = ends_at_success
        self.sizes = (rows, observation_size, action_size)


def serve(run: int, memory_file: int, answers: int, length: int) -> None:
    """Serve until the orders end.

    Args:
        run: The run's process.
        memory_file: The file of the board.
        answers: The pipe that answers go into.
        length: Bytes of the pickled ``Assignment`` that standard input begins with.
    """
    # A crash of the simulator itself leaves its traceback where one of Python does.
    faulthandler.enable(file=answers)
    try:
        assignment = pickle.loads(_read_whole(length))  # noqa: S301  from the process that started this one
        board = Board(mmap.mmap(memory_file, 0), *assignment.sizes)
        os.close(memory_file)
        share = Share(assignment.makers, board, assignment.ends_at_success)
        work = {BEGIN: share.begin, STEP: share.step}
        os.set_blocking(_ORDERS, False)
        while order := _next_order(run):
            work[order]()
            os.write(answers, DONE)
        share.close()
    except BrokenPipeError:
        return
    except Exception:  # noqa: BLE001  whatever it is, the run's process raises it
        with os.fdopen(answers, "w") as pipe:
            pipe.write(traceback.format_exc())
        raise SystemExit(1) from None


def _next_order(run: int) -> bytes:
    """Wait for an order: awake for as long as waking up would take, then asleep; empty where none will come."""
    until = time.perf_counter() + _SPINS_SECONDS
    while time.perf_counter() < until:
        try:
            return os.read(_ORDERS, 1)
        except BlockingIOError:
            os.sched_yield()
    poll = select.poll()
    poll.register(_ORDERS, select.POLLIN)
    while not poll.poll(_LOOKS_MILLISECONDS):
        # A process that the run's forked may hold the pipe open after it.
        if os.getppid() != run:
            return b""
    return os.read(_ORDERS, 1)


def _read_whole(length: int) -> bytes:
    data = b""
    while len(data) < length:
        piece = os.read(_ORDERS, length - len(data))
        if not piece:
            raise BrokenPipeError
        data += piece
    return data
