"""``plastikit train``: what its options set, and what it says where they cannot be."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner, Result

from plastikit.cli.main import app
from plastikit.errors import ConfigurationError, NotARunError
from plastikit.record.dataset import open_run, read_attributes
from plastikit.train.checkpoint import checkpoints_of, last_checkpoint
from plastikit.train.config import CheckpointConfig, EvaluationConfig, NetworkConfig, SacConfig, TrainingConfig
from plastikit.train.loop import Progress, train
from plastikit.train.overlap import warn_of_overlaps
from plastikit.watch.schedule import every

TINY = (
    *("--tasks", "pendulum/2", "--width", "8", "--steps", "60", "--warm-up", "40", "--batch-size", "8"),
    *("--episodes", "1", "--record-every", "10", "--workers", "1", "--threads", "1"),
)
needs_no_cuda = pytest.mark.skipif(torch.cuda.is_available(), reason="what is said where there is no CUDA device")


def call(*arguments: str | Path) -> Result:
    """Call ``plastikit``."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def trained(store: Path, *options: str) -> dict[str, Any]:
    """Train, and give the attributes of the record."""
    answer = call("train", *TINY, *options, "--out", store)
    assert answer.exit_code == 0, answer.output
    return read_attributes(store)


def test_options_reach_the_record(tmp_path: Path) -> None:
    """What the command line says is what the run was made with."""
    probe = ["--probe-tasks", "pendulum-2of2", "--probe-states", "6"]
    machine = ["--device", "cpu", "--precision", "float32", "--checkpoint-every", "0.5"]
    configuration = trained(tmp_path / "run.zarr", *probe, *machine)["configuration"]
    assert configuration["probe_set"] == {"tasks": "pendulum-2of2", "samples": 6, "seed": 0}
    states = configuration["probe_states"]
    assert (states["tasks"], states["samples_per_task"]) == (["pendulum-2of2"], 6)
    assert configuration["checkpoints"]["interval_seconds"] == 0.5
    told = [configuration[name] for name in ("device", "precision", "is_compiled")]
    assert told == ["cpu", "float32", False]
    groups = open_run(tmp_path / "run.zarr")["diagnostics"]
    assert groups["observed_dormant_fraction"].notnull().any()


def test_no_checkpoints_are_kept_where_none_are_wanted(tmp_path: Path) -> None:
    """No folder of theirs is made, and such a run cannot be gone on with."""
    trained(tmp_path / "without.zarr", "--no-checkpoints")
    assert not checkpoints_of(tmp_path / "without.zarr").exists()
    trained(tmp_path / "with.zarr", "--checkpoints")
    assert [path.name for path in checkpoints_of(tmp_path / "with.zarr").iterdir()] == ["final.pt"]
    answer = call("train", "--resume", tmp_path / "without.zarr")
    assert answer.exit_code == 1
    assert "without.checkpoints holds no checkpoint" in answer.stderr


@pytest.mark.skipif("PLASTIKIT_TEST_INDUCTOR" not in os.environ, reason="takes a compiler, and its time")
def test_a_run_that_is_compiled_says_so(tmp_path: Path) -> None:
    """Every update is recorded here, and so runs as it is written."""
    assert trained(tmp_path / "run.zarr", "--compile", "--record-every", "1")["configuration"]["is_compiled"] is True


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16"])
def test_a_run_on_a_gpu_says_so(tmp_path: Path, precision: str) -> None:
    """Device and precision stand in the record."""
    configuration = trained(tmp_path / "run.zarr", "--device", "cuda", "--precision", precision)["configuration"]
    assert [configuration[name] for name in ("device", "precision")] == ["cuda", precision]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--tasks", "MT10/2"], "MT10/2 divides MT10, a suite of 10 tasks"),
        (["--tasks", "reach-v3-5of4"], "names part 5 of 4, and the parts are reach-v3-1of4 to reach-v3-4of4"),
        (["--tasks", "reach-v3/60"], "asks for 60 parts of reach-v3; a number from 1 to 50 was expected"),
        (["--tasks", "pendulum/0"], "asks for 0 parts of pendulum"),
        (["--tasks", "reach-v3,reach-v3"], "names reach-v3 more than once"),
        (["--probe-tasks", "reach-v3"], "the probe set has states of reach-v3, and the run trains on pendulum-1of2"),
        (["--probe-tasks", "pendlum/2"], "unknown task 'pendlum/2'. Did you mean pendulum/2"),
        (["--probe-states", "0"], "samples is 0"),
        (["--probe-states", "1"], "the probe set has 1 states for 2 tasks"),
        (["--device", "gpu"], "unknown device 'gpu'"),
        pytest.param(["--device", "cuda"], "finds 0 CUDA devices here", marks=needs_no_cuda),
        (["--precision", "half"], "unknown precision 'half'"),
        (["--precision", "bfloat16", "--device", "cpu"], "precision is 'bfloat16' and the device is cpu"),
        (["--checkpoint-every", "-1"], "interval_seconds is -1.0"),
        (["--checkpoint-every", "nan"], "interval_seconds is nan"),
    ],
)
def test_what_cannot_be_is_one_clear_error(options: list[str], complaint: str, tmp_path: Path) -> None:
    """One line, and nothing is written."""
    answer = call("train", *TINY, *options, "--out", tmp_path / "run.zarr")
    assert answer.exit_code == 1
    assert complaint in answer.stderr
    assert len(answer.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("options", [["--probe-states", "many"], ["--checkpoint-every", "soon"], ["--compile", "yes"]])
def test_a_wrong_call_is_one_line(options: list[str], tmp_path: Path) -> None:
    """What is no number, or takes none."""
    answer = call("train", *TINY, *options, "--out", tmp_path / "run.zarr")
    assert answer.exit_code == 2
    assert options[-2 if options[0] != "--compile" else -1] in answer.stderr
    assert len(answer.stderr.splitlines()) == 1


def test_without_a_compiler_nothing_is_begun(tmp_path: Path) -> None:
    """It is looked for before the run, not after its warm-up."""
    program = "from plastikit.cli.main import app; app()"
    arguments = ["train", *TINY, "--compile", "--device", "cpu", "--out", str(tmp_path / "run.zarr")]
    # In a process of its own, since what this one compiled before it would find again.
    answer = subprocess.run(
        [sys.executable, "-P", "-c", program, *arguments],
        env=os.environ | {"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 1
    assert "is_compiled is True, and torch can compile nothing for cpu here" in answer.stderr
    assert len(answer.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_tasks_that_overlap_are_told_once(tmp_path: Path) -> None:
    """In a line, and the run is made."""
    warn_of_overlaps.cache_clear()
    tasks = ["--tasks", "pendulum/2,pendulum-1of3"]
    answer = call("train", *TINY, *tasks, "--no-checkpoints", "--out", tmp_path / "run.zarr")
    assert answer.exit_code == 0
    (line,) = answer.stderr.splitlines()
    assert line.startswith("warning: the tasks overlap: pendulum-1of2 and pendulum-1of3 are one and the same pendulum")


def test_a_resume_that_fails_leaves_the_run_as_it_was(tmp_path: Path, needing: str) -> None:
    """Without its environment, its record or its settings; with them it then ends as one that was never cut off."""
    model, store, root = tmp_path / "arm.xml", tmp_path / "run.zarr", tmp_path / "run.zarr" / "zarr.json"
    network = NetworkConfig(width=8, depth=1)
    config = TrainingConfig(
        tasks=needing,
        env_steps_per_task=60,
        actor=network,
        critic=network,
        sac=SacConfig(warm_up_vector_steps=30, batch_size_per_task=8),
        evaluation=EvaluationConfig(episodes_per_task=1),
        checkpoints=CheckpointConfig(interval_seconds=0.0),
        log_interval_vector_steps=20,
        threads=1,
        workers=1,
    )
    train(config, checkpoints=tmp_path / "whole")

    def cut_off(progress: Progress) -> None:
        if progress.env_steps == 40:
            raise KeyboardInterrupt

    go_on = partial(train, schedule=every(10), checkpoints=checkpoints_of(store))
    with pytest.raises(KeyboardInterrupt):
        go_on(config, store=store, on_progress=cut_off)

    def standing() -> tuple[bytes, int]:
        return root.read_bytes(), last_checkpoint(checkpoints_of(store)).step

    before = standing()
    assert read_attributes(store)["state"] == "interrupted"

    model.unlink()
    answer = call("train", "--resume", store)
    assert answer.exit_code == 1
    assert "arm.xml" in answer.stderr
    assert standing() == before
    model.touch()
    with pytest.raises(NotARunError):
        go_on(config, store=tmp_path / "elsewhere.zarr", resume=True)
    assert standing() == before
    with pytest.raises(ConfigurationError, match="seed was 0 and is now 1"):
        go_on(replace(config, seed=1), store=store, resume=True)
    assert standing() == before
    root.write_bytes(b"{}")
    assert call("train", "--resume", store).exit_code == 1
    root.write_bytes(before[0])
    assert standing() == before

    answer = call("train", "--resume", store)
    assert answer.exit_code == 0, answer.output
    assert open_run(store)["events"]["kind"].values.tolist() == ["resumed"]
    one, other = (
        torch.load(folder / "final.pt", weights_only=True) for folder in (tmp_path / "whole", checkpoints_of(store))
    )
    assert all(torch.equal(one["actor"][name], other["actor"][name]) for name in one["actor"])
