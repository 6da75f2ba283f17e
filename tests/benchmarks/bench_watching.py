"""What watching costs: training with a monitor over the same training without one, in steady state."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

import pytest
import torch
from benchmarks.pairs import paired_ratios, seconds, table
from benchmarks.trainings import Training, Watcher, bare_decompositions, bare_everything, bare_passes, by_hand, peers

import plastikit
from plastikit.probes import PROBES
from plastikit.watch.probe import Tier
from plastikit.watch.schedule import DEFAULT, Schedule

FAR: Final = 10**9
STEPS, ROUNDS = 100, 7


def _named(*tiers: Tier) -> list[str]:
    return [name for name, make in PROBES.items() if make().tier in tiers]


class _Monitors:
    """Attaches monitors, and says how long that took and closing them takes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: dict[str, plastikit.Monitor] = {}
        self.attaching: dict[str, float] = {}

    def watcher(self, name: str, schedule: Schedule, probes: list[str] | str) -> Watcher:
        """Watches a training by ``schedule``."""

        def watch(training: Training) -> Callable[[float], None]:
            def attach() -> None:
                self._open[name] = plastikit.attach(
                    training.model,
                    optimizer=training.optimizer,
                    store=self._folder / f"{len(self._open)}.zarr",
                    schedule=schedule,
                    probes=probes,
                )

            self.attaching[name] = seconds(attach)
            return lambda _loss: None

        return watch

    def close(self) -> dict[str, float]:
        """Close all; how long each took."""
        return {name: seconds(monitor.close) for name, monitor in self._open.items()}


@pytest.mark.parametrize("batch", [1280, 128])
def test_cost_of_watching(batch: int, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """The tiers at every step, the defaults and the time between records, beside the limit and what others cost."""
    # One thread: what a second one saves depends on how many cores are idle.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    request.addfinalizer(lambda: torch.set_num_threads(threads))
    monitors = _Monitors(tmp_path)
    watchers: dict[str, Watcher] = {
        "S tier, every step": monitors.watcher("S", plastikit.every(1), _named(Tier.STEP)),
        "S and P tiers, every step": monitors.watcher("S and P", plastikit.every(1), _named(*Tier)),
        "the defaults (every 100 steps)": monitors.watcher("defaults", DEFAULT, "default"),
        "between due steps": monitors.watcher("between", plastikit.every(FAR), "default"),
        "the passes of the S tier alone, every step": bare_passes,
        "the decompositions alone, every step": bare_decompositions,
        "passes, decompositions and the rest alone, every step": bare_everything,
        "by hand (svdvals, .item()), every step": by_hand,
    }
    for name, peer in peers().items():
        if peer is None:
            print(f"{name} is not installed, and is left out")
        else:
            watchers[f"{name}, as its README says"] = peer
    trainings = {"no monitor": Training(batch)} | {name: Training(batch, watch) for name, watch in watchers.items()}
    ratios = paired_ratios({name: partial(each.run, STEPS) for name, each in trainings.items()}, rounds=ROUNDS)
    closing = monitors.close()
    title = (
        f"MLP 49-400-400-400-1, Adam, batch {batch}, {torch.get_num_threads()} threads: "
        f"medians of {ROUNDS} rounds of {STEPS} steps"
    )
    print(table(title, ratios))
    limit = ratios["the decompositions alone, every step"]
    print(f"  {'S and P over the decompositions alone':44} {ratios['S and P tiers, every step'] / limit:8.3f} ×")
    for name, taken in monitors.attaching.items():
        print(f"  {name}: attached in {1000 * taken:.0f} ms, closed in {1000 * closing[name]:.0f} ms")
    assert ratios["no monitor"] == 1.0
