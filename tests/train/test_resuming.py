"""Runs that are killed and resumed end as runs that were never interrupted, bit for bit."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from oracles.runs import group
from plastikit.record.dataset import open_run
from plastikit.train.checkpoint import FINAL, checkpoints_of, has_checkpoint, last_checkpoint
from plastikit.train.config import CheckpointConfig, EvaluationConfig, ProbeSetConfig, SacConfig, TrainingConfig
from plastikit.watch.schedule import every
from zoo.killed import Training

ConfigMaker = Callable[..., TrainingConfig]

OF_THE_CLOCK = {"wall_time", "probe_seconds", "env_steps_per_second"}


@pytest.fixture
def training(light: ConfigMaker, tmp_path: Path) -> Training:
    """Two pendulums, 190 updates, two evaluations; records and checkpoints as often as they can be."""
    config = light(
        env_steps_per_task=220,
        evaluation=EvaluationConfig(interval_env_steps_per_task=120, episodes_per_task=1),
        log_interval_vector_steps=15,
        checkpoints=CheckpointConfig(interval_seconds=0.0),
    )
    return Training(config=config, store=tmp_path / "whole.zarr", schedule=every(5, costly=20))


def assert_same(first: Path, second: Path) -> None:
    """Two runs hold the same networks and the same records, but for what the clock said."""
    one, other = (torch.load(checkpoints_of(store) / FINAL, weights_only=True) for store in (first, second))
    assert torch.equal(one["log_alpha"], other["log_alpha"])
    for network in ("actor", "critic_0", "critic_1", "target_0", "target_1"):
        assert one[network].keys() == other[network].keys()
        for name, tensor in one[network].items():
            assert torch.equal(tensor, other[network][name]), (network, name)
    for name in ("diagnostics", "training", "evaluation"):
        whole, parted = (group(store, name) for store in (first, second))
        assert set(parted.variables) == set(whole.variables)
        for variable in set(map(str, whole.variables)) - OF_THE_CLOCK:
            np.testing.assert_array_equal(parted[variable].values, whole[variable].values, err_msg=variable)
    assert open_run(second).attrs["state"] == "finished"


def kill_and_resume(training: Training, draws: random.Random, *, times: int, patience: float) -> int:
    """Kill it at random instants, while it writes a checkpoint and elsewhere, and let it end; how often it resumed."""
    resumed = 0
    for number in range(times):
        if not has_checkpoint(checkpoints_of(training.store)):
            # Killed before its first checkpoint, it begins anew.
            shutil.rmtree(training.store, ignore_errors=True)
            shutil.rmtree(checkpoints_of(training.store), ignore_errors=True)
        else:
            resumed += 1
        within, apart = {"at_file": ("", draws.randint(8, 30))}, {"after_seconds": draws.random() * patience}
        instant = apart if number % 2 else within
        if training.carry_on(**instant):
            return resumed
    assert training.carry_on()
    return resumed + 1


def test_killed_at_random_instants(training: Training, tmp_path: Path) -> None:
    """Killed many times, as it writes checkpoints and its last file too, it ends as one that was not."""
    assert training.carry_on()
    again, parted = (replace(training, store=tmp_path / f"{name}.zarr") for name in ("again", "parted"))
    assert not again.carry_on(at_file=(FINAL, 1))
    assert open_run(again.store).attrs["state"] == "finished"
    assert again.carry_on()
    assert_same(training.store, again.store)
    assert kill_and_resume(parted, random.Random(1), times=6, patience=0.8) > 0
    assert_same(training.store, parted.store)
    assert "resumed" in group(parted.store, "events")["kind"].values.tolist()


def test_meta_world_killed_within_its_episodes(tiny: ConfigMaker, tmp_path: Path) -> None:
    """Two tasks, killed in their second episode and resumed in two processes, end as if they had not been."""
    config = tiny(
        tasks="reach-v3,drawer-close-v3",
        env_steps_per_task=600,
        sac=SacConfig(warm_up_vector_steps=490, batch_size_per_task=8),
        log_interval_vector_steps=10,
        checkpoints=CheckpointConfig(interval_seconds=0.0),
        probe_set=ProbeSetConfig(samples=8),
    )
    whole = Training(config=config, store=tmp_path / "whole.zarr", schedule=every(5, costly=20))
    parted = replace(whole, store=tmp_path / "parted.zarr")
    assert whole.carry_on()
    assert not parted.carry_on(at_env_step=2 * 590)
    assert last_checkpoint(checkpoints_of(parted.store)).step % 500 > 0
    assert replace(parted, config=replace(config, workers=2)).carry_on()
    assert_same(whole.store, parted.store)
