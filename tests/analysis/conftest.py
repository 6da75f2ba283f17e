"""Joined runs in memory, whose every value the test decides."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import xarray as xr

LAYERS = ("actor.trunk.hidden_1", "critic_0.trunk.hidden_1", "critic_0.trunk.hidden_2", "critic_1.trunk.hidden_1")
NETWORKS = ("actor", "critic_0", "critic_1")
PARAMETERS = ("actor.linear_1.weight", "actor.linear_1.bias", "critic_0.linear_1.weight", "critic_1.linear_1.weight")
TAUS = (0.0, 0.025)

_FRACTION = {"units": "1", "valid_range": "[0, 1]", "definition": "dormant_fraction/sokar2023"}


@dataclass(frozen=True, kw_only=True)
class Run:
    """Where one run stands on the grid, and how it ended."""

    task_count: int = 1
    width: int = 32
    seed: int = 0
    state: str = "finished"
    depth: int = 2
    architecture: str = "multi_head"

    @property
    def name(self) -> str:
        """As it would be called on disk."""
        return f"tasks{self.task_count}_width{self.width}_seed{self.seed}"


Value = Callable[[Run, int], float]


def join(runs: Iterable[Run], values: Mapping[str, Value], steps: Iterable[int] = range(0, 1000, 100)) -> xr.DataTree:
    """The runs as one tree; ``values`` gives the number that every layer, network or task of a variable holds."""
    runs, steps = tuple(runs), tuple(steps)
    diagnostics: dict[str, Any] = {}
    evaluation: dict[str, Any] = {}
    tasks = tuple(f"task-{number}" for number in range(max(run.task_count for run in runs)))
    for name, value in values.items():
        curve = np.array([[value(run, step) for step in steps] for run in runs], dtype=np.float64)
        if name == "dormant_fraction":
            grid = np.broadcast_to(curve[:, :, None, None], (*curve.shape, len(LAYERS), len(TAUS))).copy()
            diagnostics[name] = (("run", "step", "layer", "tau"), grid, _FRACTION | {"long_name": "dormant fraction"})
            pooled = np.broadcast_to(curve[:, :, None, None], (*curve.shape, len(NETWORKS), len(TAUS))).copy()
            diagnostics[f"network_{name}"] = (("run", "step", "network", "tau"), pooled, _FRACTION)
        elif name == "srank":
            grid = np.broadcast_to(curve[:, :, None], (*curve.shape, len(LAYERS))).copy()
            diagnostics[name] = (("run", "step", "layer"), grid, {"long_name": "srank", "units": "1"})
        elif name == "weight_norm":
            grid = np.broadcast_to(curve[:, :, None], (*curve.shape, len(PARAMETERS))).copy()
            diagnostics[name] = (("run", "step", "parameter"), grid, {"long_name": "weight norm", "units": "1"})
            pooled = np.broadcast_to(curve[:, :, None], (*curve.shape, len(NETWORKS))).copy()
            diagnostics[f"network_{name}"] = (("run", "step", "network"), pooled, {"long_name": "weight norm"})
        else:
            has = np.array([[number < run.task_count for number in range(len(tasks))] for run in runs])
            grid = np.where(has[:, None, :], curve[:, :, None], np.nan)
            attrs = {"long_name": name.replace("_", " "), "units": "1"}
            attrs |= {"valid_range": "[0, 1]"} if name == "success_rate" else {}
            evaluation[name] = (("run", "step", "task"), grid, attrs)
    of_runs = {
        "run": ("run", np.array([run.name for run in runs], dtype=object)),
        "state": ("run", np.array([run.state for run in runs], dtype=object)),
        "architecture": ("run", np.array([run.architecture for run in runs], dtype=object)),
        **{key: ("run", [getattr(run, key) for run in runs]) for key in ("task_count", "width", "depth", "seed")},
    }
    widths = np.array([run.width for run in runs])
    axes = {
        "layer": list(LAYERS),
        "layer_network": ("layer", [layer.split(".")[0] for layer in LAYERS]),
        "layer_units": (("run", "layer"), np.broadcast_to(widths[:, None], (len(runs), len(LAYERS)))),
        "parameter": list(PARAMETERS),
        "parameter_network": ("parameter", [parameter.split(".")[0] for parameter in PARAMETERS]),
        "parameter_kind": ("parameter", [parameter.split(".")[-1] for parameter in PARAMETERS]),
        "network": list(NETWORKS),
        "tau": list(TAUS),
    }
    env_step = {"env_step": ("step", np.array(steps) * 2)}
    groups = {
        "diagnostics": xr.Dataset(diagnostics, coords={"step": list(steps)} | env_step | axes | of_runs),
        "evaluation": xr.Dataset(evaluation, coords={"step": list(steps), "task": list(tasks)} | env_step | of_runs),
        "training": xr.Dataset(coords={"step": list(steps)} | of_runs),
    }
    attributes = {
        run.name: {
            "state": run.state,
            "configuration": {"tasks": list(tasks[: run.task_count]), "width": run.width, "seed": run.seed},
            "provenance": {"versions": {"python": "3.11.7", "plastikit": "0.1.0"}},
        }
        for run in runs
    }
    root = xr.Dataset(coords=of_runs, attrs={"runs": attributes})
    return xr.DataTree.from_dict({"/": root, **{f"/{name}": group for name, group in groups.items()}})


def grid(tasks: Iterable[int], widths: Iterable[int], seeds: int) -> list[Run]:
    """Every combination, in order."""
    widths = tuple(widths)
    return [Run(task_count=k, width=w, seed=s) for k in tasks for w in widths for s in range(seeds)]


@pytest.fixture(name="join")
def _join() -> Callable[..., xr.DataTree]:
    return join


@pytest.fixture(name="grid")
def _grid() -> Callable[..., list[Run]]:
    return grid


@pytest.fixture(name="one_run")
def _one_run() -> type[Run]:
    return Run
