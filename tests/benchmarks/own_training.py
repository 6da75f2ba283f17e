"""Our training, a slice on demand, as jax_training.py does the published one.

Started with the run's store, or ``-`` for none, the precision, ``compiled`` or ``written``, the width, the vector steps
of a slice and the episodes of an evaluation. A process of its own for each training: threads of two that share one
would wait for each other. For the line ``profile`` it trains for a slice too, and answers with the share of the time in
which the GPU did nothing.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable

from torch.autograd.profiler_util import FunctionEvent
from torch.profiler import ProfilerActivity, profile

from plastikit.train.balance import cores
from plastikit.train.config import EvaluationConfig, NetworkConfig, SacConfig, TrainingConfig
from plastikit.train.evaluate import Evaluator
from plastikit.train.loop import Progress, train
from plastikit.train.sac import SoftActorCritic
from plastikit.train.workers import Simulators

WARM_UP = 200
"""Vector steps of random actions, in the first slice, which is not counted."""


class Enough(KeyboardInterrupt):
    """Ends the training as Ctrl-C would, so that its record is closed."""


class Slices:
    """Stops the training after every slice, until a line allows the next."""

    def __init__(self) -> None:
        self._profile: profile | None = None
        self._started = time.perf_counter()

    def __call__(self, _progress: Progress) -> None:
        """Answer with the seconds of the slice that is over, or with what its profile says."""
        answer = time.perf_counter() - self._started
        if self._profile is not None:
            self._profile.stop()
            answer = 1.0 - busy_seconds(self._profile.events()) / answer
            self._profile = None
        print(answer, flush=True)
        order = sys.stdin.readline().strip()
        if order == "evaluate":
            raise Enough
        if order == "profile":
            # The host's work is not looked at, which would slow it down.
            self._profile = profile(activities=[ProfilerActivity.CUDA])
            self._profile.start()
        self._started = time.perf_counter()


def busy_seconds(events: Iterable[FunctionEvent]) -> float:
    """Seconds that a GPU spent on kernels and copies; named spans, which hold several of them, are left out."""
    of_gpu = (event for event in events if event.device_type.name == "CUDA" and not event.is_user_annotation)
    return 1e-6 * sum(event.time_range.elapsed_us() for event in of_gpu)


def evaluation_seconds(config: TrainingConfig) -> float:
    """What an evaluation takes, once its environments are made."""
    agent = SoftActorCritic(config, observation_size=39, action_size=4)
    simulators = Simulators(config.task_names, config.seed, config.workers)
    evaluator = Evaluator(simulators, config.evaluation.episodes_per_task)
    evaluator.evaluate(agent.exploit, env_step=0)
    start = time.perf_counter()
    evaluator.evaluate(agent.exploit, env_step=0)
    seconds = time.perf_counter() - start
    simulators.close()
    return seconds


def main() -> None:
    """Train, and evaluate once at the end."""
    store, precision, compiled = sys.argv[1:4]
    width, slice_steps, episodes = map(int, sys.argv[4:7])
    network = NetworkConfig(width=width)
    config = TrainingConfig(
        actor=network,
        critic=network,
        sac=SacConfig(warm_up_vector_steps=WARM_UP),
        evaluation=EvaluationConfig(interval_env_steps_per_task=10**9, episodes_per_task=episodes),
        log_interval_vector_steps=slice_steps,
        # What the tests ask of torch, one thread, is not what a training begins with.
        threads=cores(),
        precision=precision,
        is_compiled=compiled == "compiled",
    )
    try:
        train(config, store=None if store == "-" else store, on_progress=Slices())
    except Enough:
        print(evaluation_seconds(config), flush=True)


if __name__ == "__main__":
    main()
