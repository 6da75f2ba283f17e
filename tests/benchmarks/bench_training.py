"""A whole training beside the published one: environment steps a second with updates, evaluations and probes.

Each runs in a process of its own, in slices that take turns. Needed are a Python with mtrl's dependencies, Meta-World
and JAX among them (``PLASTIKIT_BENCH_JAX``), and a checkout of mtrl (``PLASTIKIT_BENCH_MTRL``). With a GPU all take it,
in TF32, which is JAX's default there; ours are compiled, and how long the GPU waits for the rest is printed.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import torch
from benchmarks.own_training import WARM_UP

from plastikit.record.dataset import open_run

WIDTH = int(os.environ.get("PLASTIKIT_BENCH_WIDTH", "400"))
ROUNDS = int(os.environ.get("PLASTIKIT_BENCH_ROUNDS", "3"))
SLICE = 1_000
"""Vector steps: from one record with the costly probes to the next."""
EPISODES = 2
INTERVAL = 20_000
"""Vector steps between two evaluations, as published."""

HERE = Path(__file__).parent
HAS_GPU = torch.cuda.is_available()
SETTINGS = ("tf32", "compiled") if HAS_GPU else ("float32", "written")
"""Of our updates."""


@contextmanager
def training(command: Sequence[str]) -> Iterator[Callable[[str], float]]:
    """A training in a process: for each line that it is told, how many seconds that took."""
    sizes = [str(number) for number in (WIDTH, SLICE, EPISODES)]
    with subprocess.Popen(
        [*command, *sizes],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"},
    ) as process:
        orders, answers = process.stdin, process.stdout
        assert orders is not None
        assert answers is not None

        def tell(line: str) -> float:
            print(line, file=orders, flush=True)
            return float(answers.readline())

        try:
            answers.readline()
            yield tell
            process.wait(60.0)
        finally:
            process.kill()


def test_environment_steps_a_second(tmp_path: Path) -> None:
    """MT10 at the published settings: with the default probes, without any, and the published training."""
    python, checkout = (os.environ.get(f"PLASTIKIT_BENCH_{name}") for name in ("JAX", "MTRL"))
    if not python or not checkout:
        pytest.skip("set PLASTIKIT_BENCH_JAX to a Python with mtrl's dependencies and PLASTIKIT_BENCH_MTRL to mtrl")
    store = tmp_path / "run.zarr"
    own = [sys.executable, str(HERE / "own_training.py")]
    commands = {
        "watched": [*own, str(store), *SETTINGS],
        "plain": [*own, "-", *SETTINGS],
        "published": [python, str(HERE / "jax_training.py"), checkout],
    }
    with ExitStack() as stack:
        sides = {name: stack.enter_context(training(command)) for name, command in commands.items()}
        times: dict[str, list[float]] = {name: [] for name in sides}
        for _ in range(ROUNDS):
            for name, tell in sides.items():
                times[name].append(tell("train"))
        waits = {name: sides[name]("profile") for name in ("watched", "plain") if HAS_GPU}
        evaluations = {name: tell("evaluate") for name, tell in sides.items()}

    print(f"\nMT10, width {WIDTH}, {ROUNDS} slices of {SLICE} vector steps; 50 episodes evaluated every {INTERVAL}")
    rates = {}
    for name, found in times.items():
        step = statistics.median(found) / SLICE
        evaluation = evaluations[name] * 50 / EPISODES
        rates[name] = 10 * INTERVAL / (INTERVAL * step + evaluation)
        slices = ", ".join(f"{seconds:.1f}" for seconds in found)
        print(f"  {name:10} {rates[name]:7.1f} steps/s; slices {slices} s; an evaluation {evaluation:.0f} s")
    print(f"  watched over published {rates['watched'] / rates['published']:.3f}")
    print(f"  watching costs {100 * (1 - rates['watched'] / rates['plain']):.2f} % by the speed")
    first = SLICE - WARM_UP
    spent = open_run(store)["diagnostics"]["probe_seconds"].sel(step=slice(first, first + ROUNDS * SLICE - 1))
    print(f"  and {100 * float(spent.sum()) / sum(times['watched']):.2f} % by its own account")
    for name, share in waits.items():
        print(f"  the GPU of {name} does nothing for {100 * share:.0f} % of the time")
