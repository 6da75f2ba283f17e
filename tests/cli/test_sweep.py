"""``plastikit sweep``: what its options set, and what it says where they cannot be."""

from __future__ import annotations

import json
from pathlib import Path

import gymnasium
import pytest
import torch
from gymnasium.envs.classic_control.pendulum import PendulumEnv
from typer.testing import CliRunner, Result

from plastikit.cli.main import app
from plastikit.record.dataset import open_run, read_attributes
from plastikit.train.checkpoint import checkpoints_of, last_checkpoint
from plastikit.train.config import CheckpointConfig, EvaluationConfig, NetworkConfig, SacConfig, TrainingConfig
from plastikit.train.loop import Progress, train
from plastikit.train.watching import usual

SETTINGS = ("--steps", "60", "--warm-up", "40", "--batch-size", "8", "--episodes", "1", "--record-every", "10")
TINY = ("--tasks", "pendulum/2", "--width", "8", *SETTINGS)
needs_no_cuda = pytest.mark.skipif(torch.cuda.is_available(), reason="what is said where there is no CUDA device")


def call(*arguments: str | Path) -> Result:
    """Call ``plastikit``."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_options_reach_the_record(tmp_path: Path) -> None:
    """What the command line says is what each run was made with; without checkpoints there is no folder of them."""
    probe = ["--probe-tasks", "pendulum-2of2", "--probe-states", "6"]
    machine = ["--device", "cpu", "--precision", "float32", "--checkpoint-every", "0.5", "--no-checkpoints"]
    answer = call("sweep", *TINY, *probe, *machine, "--out", tmp_path, "--json")
    assert answer.exit_code == 0, answer.output
    (name,) = json.loads(answer.stdout)["finished"]
    configuration = read_attributes(tmp_path / f"{name}.zarr")["configuration"]
    assert configuration["probe_set"] == {"tasks": "pendulum-2of2", "samples": 6, "seed": 0}
    assert configuration["checkpoints"]["interval_seconds"] == 0.5
    told = [configuration[setting] for setting in ("device", "precision", "is_compiled")]
    assert told == ["cpu", "float32", False]
    assert not list(tmp_path.glob("*.checkpoints"))


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--tasks", "pendulum/2,MT10/2"], "MT10/2 divides MT10, a suite of 10 tasks"),
        (["--tasks", "reach-v3-5of4+push-v3"], "names part 5 of 4"),
        (["--probe-tasks", "reach-v3"], "the probe set has states of reach-v3, and the run trains on pendulum-1of2"),
        (["--probe-tasks", "pendlum/2"], "unknown task 'pendlum/2'. Did you mean pendulum/2"),
        (["--tasks", "pendulum/2,pendulum/3", "--probe-states", "2"], "the probe set has 2 states for 3 tasks"),
        (["--device", "gpu"], "unknown device 'gpu'"),
        pytest.param(["--device", "cuda"], "finds 0 CUDA devices here", marks=needs_no_cuda),
        (["--precision", "half"], "unknown precision 'half'"),
        (["--precision", "tf32", "--device", "cpu"], "precision is 'tf32' and the device is cpu"),
        (["--checkpoint-every", "-1"], "interval_seconds is -1.0"),
    ],
)
def test_what_no_run_can_do_is_one_clear_error(options: list[str], complaint: str, tmp_path: Path) -> None:
    """One line for all runs, and none is begun."""
    answer = call("sweep", *TINY, *options, "--out", tmp_path / "sweep")
    assert answer.exit_code == 1
    assert complaint in answer.stderr
    assert len(answer.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_without_a_compiler_no_run_is_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is looked for once."""
    monkeypatch.setenv("PATH", str(tmp_path))
    answer = call("sweep", *TINY, "--compile", "--device", "cpu", "--seeds", "3", "--out", tmp_path / "sweep")
    assert answer.exit_code == 1
    assert "torch can compile nothing for cpu here" in answer.stderr
    assert len(answer.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_what_fails_before_it_is_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, needing: str) -> None:
    """A run whose environment this process alone knows says how to name it; one that was cut off can still go on."""
    monkeypatch.setitem(gymnasium.registry, "Mine-v0", gymnasium.envs.registration.EnvSpec("Mine-v0", PendulumEnv))
    model, folder = tmp_path / "arm.xml", tmp_path / "sweep"
    store = folder / f"{needing}_width-8_seed-0.zarr"
    folder.mkdir()
    network = NetworkConfig(width=8)
    config = TrainingConfig(
        tasks=needing,
        env_steps_per_task=600,
        actor=network,
        critic=network,
        sac=SacConfig(warm_up_vector_steps=580, batch_size_per_task=8),
        evaluation=EvaluationConfig(episodes_per_task=1),
        threads=1,
        checkpoints=CheckpointConfig(interval_seconds=0.0),
    )

    def cut_off(progress: Progress) -> None:
        assert progress.env_steps == 500
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, store=store, schedule=usual(10), checkpoints=checkpoints_of(store), on_progress=cut_off)
    step = last_checkpoint(checkpoints_of(store)).step

    model.unlink()
    tasks, length = f"Mine-v0,{needing}", ["--steps", "600", "--warm-up", "580"]
    options = ["--tasks", tasks, "--width", "8", *SETTINGS, *length, "--jobs", "2", "--out", folder, "--json"]
    refused = call("sweep", *options)
    assert refused.exit_code == 1
    assert "arm.xml" in refused.stderr
    assert read_attributes(store)["state"] == "interrupted"
    assert last_checkpoint(checkpoints_of(store)).step == step

    model.touch()
    told = json.loads(call("sweep", *options).stdout)
    assert "module:Mine-v0" in told["failed"]["Mine-v0_width-8_seed-0"]
    assert told["finished"] == [store.stem]
    assert open_run(store)["events"]["kind"].values.tolist() == ["resumed"]
