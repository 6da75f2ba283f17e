"""A whole training beside the published one: environment steps a second with updates, evaluations and probes.

The published one runs in a process of its own, in slices that take turns with ours. Needed are a Python with mtrl's
dependencies, Meta-World and JAX among them (``PLASTIKIT_BENCH_JAX``), and a checkout (``PLASTIKIT_BENCH_MTRL``).
"""

from __future__ import annotations

import os
import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from plastikit.record.dataset import open_run
from plastikit.train.config import EvaluationConfig, NetworkConfig, SacConfig, TrainingConfig
from plastikit.train.evaluate import Evaluator
from plastikit.train.loop import Progress, train
from plastikit.train.sac import SoftActorCritic
from plastikit.train.workers import Simulators

WIDTH = int(os.environ.get("PLASTIKIT_BENCH_WIDTH", "400"))
ROUNDS = int(os.environ.get("PLASTIKIT_BENCH_ROUNDS", "3"))
SLICE = 500
"""Vector steps: from one record with the costly probes to the next."""
EPISODES = 2
INTERVAL = 20_000
"""Vector steps between two evaluations, as published."""


class Slices:
    """A training in a thread, a slice at a time."""

    def __init__(self, store: Path | None) -> None:
        network = NetworkConfig(width=WIDTH)
        self.config = TrainingConfig(
            env_steps_per_task=(ROUNDS + 2) * SLICE,
            actor=network,
            critic=network,
            sac=SacConfig(warm_up_vector_steps=200),
            evaluation=EvaluationConfig(interval_env_steps_per_task=10**9, episodes_per_task=1),
            log_interval_vector_steps=SLICE,
        )
        self._go, self._done = threading.Semaphore(0), threading.Semaphore(0)
        self._seconds = 0.0
        self._started = time.perf_counter()
        self._thread = threading.Thread(
            target=lambda: train(self.config, store=store, on_progress=self._wait), daemon=True
        )
        self._thread.start()
        self._done.acquire()

    def __call__(self) -> float:
        """Train for a slice; the seconds that it took."""
        self._started = time.perf_counter()
        self._go.release()
        self._done.acquire()
        return self._seconds

    def finish(self) -> None:
        """Train to the end."""
        self._go.release(ROUNDS + 2)
        self._thread.join()

    def _wait(self, _progress: Progress) -> None:
        self._seconds = time.perf_counter() - self._started
        self._done.release()
        self._go.acquire()


@contextmanager
def published() -> Iterator[Callable[[str], float]]:
    """The published training: for each line that it is told, how many seconds it took."""
    python, checkout = (os.environ.get(f"PLASTIKIT_BENCH_{name}") for name in ("JAX", "MTRL"))
    if not python or not checkout:
        pytest.skip("set PLASTIKIT_BENCH_JAX to a Python with mtrl's dependencies and PLASTIKIT_BENCH_MTRL to mtrl")
    script = Path(__file__).with_name("jax_training.py")
    command = [python, str(script), checkout, str(WIDTH), str(SLICE), str(EPISODES)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        orders, answers = process.stdin, process.stdout
        assert orders is not None
        assert answers is not None
        answers.readline()

        def tell(line: str) -> float:
            print(line, file=orders, flush=True)
            return float(answers.readline())

        try:
            yield tell
            process.wait(60.0)
        finally:
            process.kill()


def evaluation_seconds(config: TrainingConfig) -> float:
    """What an evaluation takes of ours, once its environments are made."""
    agent = SoftActorCritic(config, observation_size=39, action_size=4)
    simulators = Simulators(config.task_names, config.seed, None)
    evaluator = Evaluator(simulators, EPISODES)
    evaluator.evaluate(agent.exploit, env_step=0)
    start = time.perf_counter()
    evaluator.evaluate(agent.exploit, env_step=0)
    seconds = time.perf_counter() - start
    simulators.close()
    return seconds


def test_environment_steps_a_second(tmp_path: Path) -> None:
    """MT10 at the published settings: with the default probes, without any, and the published training."""
    with published() as tell:
        watched, plain = Slices(tmp_path / "run.zarr"), Slices(None)
        times: dict[str, list[float]] = {"watched": [], "plain": [], "published": []}
        for _ in range(ROUNDS):
            times["watched"].append(watched())
            times["plain"].append(plain())
            times["published"].append(tell("train"))
        evaluations = {"published": tell("evaluate"), "plain": evaluation_seconds(plain.config)}
    watched.finish()
    plain.finish()
    evaluations["watched"] = evaluations["plain"]

    print(
        f"\nMT10, width {WIDTH}, {ROUNDS} slices of {SLICE} vector steps; evaluations of 50 episodes every {INTERVAL}"
    )
    rates = {}
    for name, found in times.items():
        step = statistics.median(found) / SLICE
        evaluation = evaluations[name] * 50 / EPISODES
        rates[name] = 10 * INTERVAL / (INTERVAL * step + evaluation)
        slices = ", ".join(f"{seconds:.1f}" for seconds in found)
        print(f"  {name:10} {rates[name]:7.1f} steps/s; slices {slices} s; an evaluation {evaluation:.0f} s")
    print(f"  watched over published {rates['watched'] / rates['published']:.3f}")
    print(f"  watching costs {100 * (1 - rates['watched'] / rates['plain']):.2f} % by the speed")
    spent = open_run(tmp_path / "run.zarr")["diagnostics"]["probe_seconds"]
    trained = sum(times["watched"]) * (ROUNDS + 2) / ROUNDS
    print(f"  and {100 * float(spent.sum()) / trained:.2f} % by its own account")
