"""The processes that step a run's environments, each its share, and what is done when one of them ends too early."""

from __future__ import annotations

import json
import mmap
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import IO, Final

from plastikit.errors import SimulatorError
from plastikit.train.board import Board, nameless_file
from plastikit.train.serving import BEGIN, DONE, STEP, Assignment
from plastikit.train.share import Maker, Share

_START: Final = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from plastikit.train.serving import serve; serve(*map(int, sys.argv[2:]))"
)
_GRACE_SECONDS: Final = 5.0


class Crew:
    """Environments on a board, stepped by one process for each of their shares; a lone share is stepped in this one.

    The processes are started anew, not forked: they hold neither torch nor its threads, and a daemon may have them too.

    Args:
        makers: Makes each row's environment; with several shares they are pickled.
        names: What the rows are called in errors.
        parts: The rows of each share.
        ends_at_success: The rows whose episodes end at success too.
        observation_size: Numbers in an observation.
        action_size: Numbers in an action.
    """

    def __init__(
        self,
        makers: Sequence[Maker],
        names: Sequence[str],
        parts: Sequence[Sequence[int]],
        *,
        ends_at_success: frozenset[int],
        observation_size: int,
        action_size: int,
    ) -> None:
        sizes = (len(makers), observation_size, action_size)
        file = nameless_file(Board.size(*sizes))
        self._members: list[_Member] = []
        self._share: Share | None = None
        self._work: Callable[[], None] | None = None
        self._awaited: list[_Member] = []
        try:
            self.board = Board(mmap.mmap(file, 0), *sizes)
            if len(parts) == 1:
                self._share = Share(dict(enumerate(makers)), self.board, ends_at_success)
            for part in parts if self._share is None else ():
                assignment = Assignment({row: makers[row] for row in part}, ends_at_success, *sizes)
                self._members.append(_Member(part, [names[row] for row in part], file, assignment))
        except BaseException:
            self.close()
            raise
        finally:
            os.close(file)

    def begin(self) -> None:
        """Begin an episode in every environment that the board asks.

        Raises:
            SimulatorError: a process ended; the error holds its traceback.
        """
        self._order(BEGIN)
        self.collect()

    def order(self) -> None:
        """Have every environment that the board asks take a step, and wait for none; a lone share steps in ``collect``.

        Until then the board is theirs who step: nothing on it may be changed.
        """
        self._order(STEP)

    def collect(self) -> None:
        """Wait until what was ordered is done.

        Raises:
            SimulatorError: a process ended; the error holds its traceback.
        """
        work, self._work = self._work, None
        if work is not None:
            work()
        awaited, self._awaited = self._awaited, []
        for member in awaited:
            member.await_answer()

    def step(self) -> None:
        """Take a step in every environment that the board asks.

        Raises:
            SimulatorError: a process ended; the error holds its traceback.
        """
        self.order()
        self.collect()

    def close(self) -> None:
        """End the processes and release the environments."""
        if self._share is not None:
            self._share.close()
        for member in self._members:
            member.dismiss()
        for member in self._members:
            member.see_off()

    def _order(self, order: bytes) -> None:
        if self._work is not None or self._awaited:
            raise RuntimeError("a step was ordered and is not collected; one at a time is. Call collect() first.")
        if self._share is not None:
            self._work = {BEGIN: self._share.begin, STEP: self._share.step}[order]
            return
        is_asked = self.board.is_asked
        self._awaited = [member for member in self._members if is_asked[member.rows].any()]
        for member in self._awaited:
            member.tell(order)


class _Member:
    """One process, its rows, and the pipes to and from it."""

    def __init__(self, rows: Sequence[int], names: Sequence[str], memory_file: int, assignment: Assignment) -> None:
        self.rows = list(rows)
        self._names = list(dict.fromkeys(names))
        told = pickle.dumps(assignment)
        their_orders, orders = os.pipe()
        answers, their_answers = os.pipe()
        self._orders: IO[bytes] = os.fdopen(orders, "wb", buffering=0)
        self._answers: IO[bytes] = os.fdopen(answers, "rb", buffering=0)
        # What a terminal or a scheduler sends to all processes is the run's to answer, and ends this one by it.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
        try:
            numbers = map(str, (os.getpid(), memory_file, their_answers, len(told)))
            self._process = subprocess.Popen(  # noqa: S603  this Python itself
                [sys.executable, "-P", "-c", _START, json.dumps(sys.path), *numbers],
                stdin=their_orders,
                pass_fds=(memory_file, their_answers),
                env=os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            os.close(their_orders)
            os.close(their_answers)
        self.tell(told)

    def tell(self, order: bytes) -> None:
        # One that is gone is noticed where its answer is awaited.
        with suppress(BrokenPipeError):
            while order:
                order = order[os.write(self._orders.fileno(), order) :]

    def await_answer(self) -> None:
        answer = os.read(self._answers.fileno(), 1)
        if answer == DONE:
            return
        text = (answer + self._answers.read()).decode(errors="replace").strip()
        code = self._process.wait()
        how = f"was ended by signal {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        found = f"its traceback:\n{text}" if text else "it left no traceback; the machine may be short of memory."
        raise SimulatorError(
            f"the process that steps {', '.join(self._names)} {how} before the run did. "
            f"With workers=1 the run's own process steps, where a debugger sees it; {found}"
        )

    def dismiss(self) -> None:
        self._orders.close()

    def see_off(self) -> None:
        try:
            self._process.wait(_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._answers.close()
