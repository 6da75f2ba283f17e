"""The processes that step environments: what they give, and how they end."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest

from plastikit.errors import SimulatorError
from plastikit.train.crew import Crew
from zoo.environments import Counting, Crashing, Killed, Loaded, Raising, Slow, Unmakeable, crew, step_and_tell

TESTS = Path(__file__).resolve().parents[1]


def is_gone(process: int) -> bool:
    """Whether a process has ended, or has only its parent's notice to wait for."""
    try:
        return (Path("/proc") / str(process) / "stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except FileNotFoundError:
        return True


def wait_until_gone(processes: list[int]) -> bool:
    """Give processes ten seconds to end."""
    until = time.monotonic() + 10.0
    while not all(map(is_gone, processes)) and time.monotonic() < until:
        time.sleep(0.02)
    return all(map(is_gone, processes))


@pytest.fixture(scope="module")
def pair() -> Iterator[Crew]:
    """Two processes, the first with two environments."""
    with closing(crew(Counting, Counting, Counting)) as made:
        yield made


def begin(made: Crew) -> None:
    """Begin with goals 0, 1, 2; goals 10, 11, 12 come next."""
    rows = np.arange(len(made.board.goal))
    made.board.is_asked[:] = True
    made.board.goal[:] = rows
    made.begin()
    made.board.goal[:] = 10 + rows


def test_every_row_gets_its_action_and_gives_its_outcome(pair: Crew) -> None:
    """Rows are told apart whichever process steps them, and the processes are others than this one."""
    begin(pair)
    assert pair.board.observation.tolist() == [[0, 0, 0], [1, 0, 0], [2, 0, 0]]
    pair.board.action[:] = [[0.5], [0.25], [-1.0]]
    pair.step()
    assert pair.board.next_observation.tolist() == [[0, 1, 0.5], [1, 1, 0.25], [2, 1, -1.0]]
    first, second, third = pair.board.reward
    assert first == third != second
    assert os.getpid() not in {first, second}


def test_a_step_is_ordered_and_then_collected() -> None:
    """Ordering waits for nobody, and one step at a time is under way."""
    with closing(crew(Slow, Slow)) as made:
        begin(made)
        start = time.perf_counter()
        made.order()
        assert time.perf_counter() - start < 0.25
        with pytest.raises(RuntimeError, match=r"collect\(\)"):
            made.order()
        made.collect()
        assert time.perf_counter() - start > 0.5
        assert made.board.next_observation[:, 1].tolist() == [1, 1]


def test_a_lone_share_takes_its_step_when_it_is_collected() -> None:
    """What is ordered of this process is done when it has time."""
    with closing(crew(Counting, workers=1)) as made:
        begin(made)
        made.order()
        assert made.board.reward.tolist() == [0.0]
        made.collect()
        assert made.board.reward.tolist() == [os.getpid()]


def test_an_ended_episodes_successor_begins_within_the_step(pair: Crew) -> None:
    """At an end the last observation is kept apart from the next episode's first."""
    begin(pair)
    for _ in range(4):
        pair.step()
    assert pair.board.is_truncated.all()
    assert pair.board.next_observation[:, :2].tolist() == [[0, 4], [1, 4], [2, 4]]
    assert pair.board.observation[:, :2].tolist() == [[10, 0], [11, 0], [12, 0]]


def test_rows_that_are_not_asked_rest(pair: Crew) -> None:
    """An environment takes a step only when it is asked, and an episode without a successor stays ended."""
    begin(pair)
    pair.board.is_asked[:] = [False, True, False]
    pair.board.goal[:] = -1
    for _ in range(4):
        pair.step()
    assert pair.board.observation[1, :2].tolist() == [1, 0]
    pair.board.is_asked[:] = [True, False, True]
    pair.step()
    assert pair.board.next_observation[:, 1].tolist() == [1, 4, 1]


def test_one_share_is_stepped_by_this_process() -> None:
    """No process is started for a lone share."""
    with closing(crew(Counting, Counting, workers=1)) as made:
        begin(made)
        made.step()
        assert made.board.reward.tolist() == [os.getpid()] * 2


def test_success_ends_an_episode_where_it_is_to() -> None:
    """A row that ends at success begins its next episode there."""
    made = Crew(
        [Counting, Counting], ["a", "b"], [[0, 1]], ends_at_success=frozenset({1}), observation_size=3, action_size=1
    )
    begin(made)
    made.step()
    made.step()
    assert made.board.is_success.all()
    made.step()
    assert made.board.next_observation[:, :2].tolist() == [[0, 3], [11, 1]]


def test_a_process_that_steps_holds_no_torch() -> None:
    """Stepping needs the simulator alone, so that many processes fit in memory."""
    with closing(crew(Loaded, Loaded)) as made:
        begin(made)
        made.step()
        assert made.board.reward.tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (Raising, ["the process that steps Raising ended with exit code 1", "through the table", "in step"]),
        (Crashing, ["Crashing was ended by signal SIGSEGV", "Segmentation fault", "in step"]),
        (Killed, ["Killed was ended by signal SIGKILL", "no traceback"]),
        (Unmakeable, ["Unmakeable ended with exit code 1", "no model of the arm"]),
    ],
)
def test_a_process_that_ends_too_early_says_why(kind: type[Counting], words: list[str]) -> None:
    """The error names the environments, how their process ended, and its traceback where it left one."""
    with closing(crew(Counting, kind)) as made:
        with pytest.raises(SimulatorError) as caught:  # noqa: PT012  which of the steps fails depends on the kind
            begin(made)
            for _ in range(3):
                made.step()
        for word in (*words, "workers=1"):
            assert word in str(caught.value)


@contextmanager
def stepping(call: str) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """A process that steps a crew in a session of its own, and the numbers that it prints of others."""
    run = subprocess.Popen(
        [sys.executable, "-P", "-c", f"from zoo.environments import step_until_ended; {call}"],
        env=os.environ | {"PYTHONPATH": str(TESTS)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        text=True,
    )
    assert run.stdout is not None
    try:
        yield run, [int(word) for word in run.stdout.readline().split()]
    finally:
        run.kill()
        run.communicate(timeout=20)


@pytest.mark.parametrize("target", ["the run's process", "all processes of the terminal"])
@pytest.mark.parametrize(("ending", "code"), [(signal.SIGKILL, -9), (signal.SIGINT, -2), (signal.SIGTERM, -15)])
def test_nothing_stays_behind(ending: signal.Signals, code: int, target: str) -> None:
    """However a run's process ends, its processes end with it, and no shared memory has a name."""
    named = set(Path("/dev/shm").iterdir())
    with stepping("step_until_ended()") as (run, processes):
        assert len(set(processes)) == 2
        (os.kill if target == "the run's process" else os.killpg)(run.pid, ending)
        _, errors = run.communicate(timeout=20)
        assert run.returncode == code
        assert wait_until_gone(processes)
        assert set(Path("/dev/shm").iterdir()) <= named
        assert errors.count("Traceback") == (ending is signal.SIGINT)
        assert "SimulatorError" not in errors


def test_a_forked_process_keeps_none_alive() -> None:
    """What the run's process forked may outlive it with all its pipes open; the processes that step still end."""
    with stepping("step_until_ended(forks=True)") as (run, [*processes, forked]):
        try:
            run.kill()
            assert wait_until_gone(processes)
            assert not is_gone(forked)
        finally:
            os.kill(forked, signal.SIGKILL)


def test_a_daemon_may_have_processes_that_step() -> None:
    """What multiprocessing refuses its daemons, a run in one of them can do."""
    context = multiprocessing.get_context("spawn")
    answers: multiprocessing.SimpleQueue[list[float]] = context.SimpleQueue()
    daemon = context.Process(target=step_and_tell, args=(answers,), daemon=True)
    daemon.start()
    daemon.join(30)
    assert daemon.exitcode == 0
    stepped = answers.get()
    assert len({*stepped, float(os.getpid()), float(daemon.pid or 0)}) == 4


def test_waiting_for_a_step_costs_no_processor_time() -> None:
    """The run's process sleeps while others step."""
    with closing(crew(Slow, Slow)) as made:
        begin(made)
        before = time.process_time()
        made.step()
        assert time.process_time() - before < 0.05


def test_waiting_for_an_order_costs_no_processor_time(pair: Crew) -> None:
    """Processes without an order sleep."""
    begin(pair)
    pair.step()
    processes = {int(number) for number in pair.board.reward}

    def used() -> float:
        stats = [
            (Path("/proc") / str(process) / "stat").read_text().rpartition(")")[2].split() for process in processes
        ]
        return sum(int(stat[11]) + int(stat[12]) for stat in stats) / os.sysconf("SC_CLK_TCK")

    time.sleep(0.1)
    before = used()
    time.sleep(1.0)
    assert used() - before <= 0.02
