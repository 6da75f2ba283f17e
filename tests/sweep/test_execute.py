"""A sweep carried out for real: processes, Meta-World, stores."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import plastikit.sweep.execute
from plastikit.errors import ConfigurationError, StoreInUseError
from plastikit.record.dataset import open_run, open_runs, read_attributes
from plastikit.record.store import mark
from plastikit.sweep.execute import SET_ASIDE, Update, execute
from plastikit.sweep.grid import PlannedRun, plan
from plastikit.sweep.requirements import devices_of
from plastikit.sweep.shapes import of_widths
from plastikit.train.config import EvaluationConfig, SacConfig, TrainingConfig
from plastikit.train.hold import held
from plastikit.watch.schedule import every


def _config(steps: int = 150, learning_rate: float = 3e-4, threads: int | None = 1) -> TrainingConfig:
    return TrainingConfig(
        tasks="pendulum/1",
        env_steps_per_task=steps,
        log_interval_vector_steps=25,
        threads=threads,
        sac=SacConfig(warm_up_vector_steps=50, batch_size_per_task=16, learning_rate=learning_rate),
        evaluation=EvaluationConfig(interval_env_steps_per_task=10**6, episodes_per_task=1),
    )


def _runs(config: TrainingConfig, *widths: int) -> list[PlannedRun]:
    return plan(config, tasks=["pendulum/1"], shapes=of_widths("multi_head", widths), seeds=[0])


def test_a_sweep_runs_records_and_is_not_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every run ends with its records; the same sweep started again leaves them as they are."""
    runs = _runs(_config(threads=None), 8, 16)
    updates: list[Update] = []
    outcome = execute(runs, tmp_path, schedule=every(20), on_update=updates.append)
    assert outcome.finished == tuple(sorted(run.name for run in runs))
    assert {update.name for update in updates if update.progress} == {run.name for run in runs}

    joined = open_runs(tmp_path)
    assert sorted(joined["width"].values) == [8, 16]
    assert joined["diagnostics"]["step"].values.tolist() == [0, 20, 40, 60, 80, 100]
    cores = len(os.sched_getaffinity(0))
    for name in ("threads", "workers"):
        taken = [read_attributes(tmp_path / f"{run.name}.zarr")["configuration"][name] for run in runs]
        assert sum(taken) <= max(cores, len(runs)), f"no more {name} than cores"

    written = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("zarr.json")}
    again: list[Update] = []
    looked_at: list[PlannedRun] = []

    def look(runs: list[PlannedRun]) -> set[str]:
        looked_at.extend(runs)
        return devices_of(runs)

    monkeypatch.setattr(plastikit.sweep.execute, "devices_of", look)
    assert execute(runs, tmp_path, schedule=every(20), on_update=again.append) == outcome
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("zarr.json")} == written
    assert [update.is_old for update in again] == [True, True]
    assert looked_at == [], "what is finished needs no device"

    with pytest.raises(ConfigurationError, match="env_steps_per_task is 150 there and 160 here"):
        execute(_runs(_config(steps=160, threads=None), 8), tmp_path, schedule=every(20))
    with pytest.raises(ConfigurationError, match=r"schedule is 'Every\(steps=20\)' there and 'Every\(steps=10\)' here"):
        execute(runs, tmp_path, schedule=every(10))


def test_a_folder_that_cannot_be_one(tmp_path: Path) -> None:
    """A sweep into a file is refused in one sentence, before anything runs."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="cannot hold runs"):
        execute(_runs(_config(), 8), tmp_path / "file")


def test_a_run_that_fails_stops_no_other(tmp_path: Path) -> None:
    """A run that diverges is recorded with its error and all its records; its neighbour finishes."""
    sound, broken = _runs(_config(), 8, 16)
    broken = replace(broken, config=replace(broken.config, sac=replace(broken.config.sac, learning_rate=1e30)))
    outcome = execute([sound, broken], tmp_path, schedule=every(1))
    assert outcome.finished == (sound.name,)
    assert "DivergedError" in outcome.failed[broken.name]

    assert execute([sound, broken], tmp_path, schedule=every(1)) == outcome
    execute([broken], tmp_path, schedule=every(1), retries_failed=True)
    assert (tmp_path / SET_ASIDE / f"{broken.name}-1.zarr").exists()

    store = tmp_path / f"{broken.name}.zarr"
    attributes = read_attributes(store)
    assert attributes["state"] == "failed"
    assert "loss was nan" in attributes["error"]
    assert open_run(store)["diagnostics"].sizes["step"] >= 1


def test_a_run_that_is_killed_stops_no_other(tmp_path: Path) -> None:
    """A process killed with SIGKILL leaves a run marked failed with the signal's name; its neighbour finishes."""
    sound, victim = _runs(_config(), 8, 16)
    victim = replace(victim, config=replace(victim.config, env_steps_per_task=100_000))

    def kill_the_victim(update: Update) -> None:
        if update.name == victim.name and update.progress is not None:
            for child in multiprocessing.active_children():
                if child.name == victim.name:
                    child.kill()

    outcome = execute([sound, victim], tmp_path, jobs=2, on_update=kill_the_victim)
    assert outcome.finished == (sound.name,)
    assert outcome.failed == {victim.name: "the process ended with signal SIGKILL"}
    assert read_attributes(tmp_path / f"{victim.name}.zarr")["state"] == "failed"


_SWEEP = """
import sys
from dataclasses import replace
from pathlib import Path
from test_execute import _config, _runs
from plastikit.sweep.execute import execute
from plastikit.watch.schedule import every

def say(update):
    has_learned = update.progress is not None and update.progress.env_steps >= 100
    print(update.name, update.state, has_learned, flush=True)

if __name__ == "__main__":
    execute(_runs(_config(steps=int(sys.argv[2])), 8), Path(sys.argv[1]), schedule=every(5), on_update=say)
"""


def _start_sweep(folder: Path, steps: int) -> subprocess.Popen[str]:
    script = folder / "sweep.py"
    script.write_text(_SWEEP, encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    command = [sys.executable, str(script), str(folder / "runs"), str(steps)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, start_new_session=True)
    assert process.stdout is not None
    for line in process.stdout:
        if line.split()[-1] == "True":
            return process
    raise AssertionError("the sweep ended before its run got anywhere")


def test_interrupted_and_started_again(tmp_path: Path) -> None:
    """A terminal's Ctrl-C closes the run so that it can be read; the next sweep goes on from its last checkpoint."""
    with _start_sweep(tmp_path, 100_000) as process:
        with pytest.raises(ConfigurationError, match="another sweep is writing"):
            execute(_runs(_config(steps=100_000), 8), tmp_path / "runs")
        os.killpg(process.pid, signal.SIGINT)
        process.wait(timeout=60)
    (run,) = _runs(_config(steps=100_000), 8)
    store = tmp_path / "runs" / f"{run.name}.zarr"
    assert read_attributes(store)["state"] == "interrupted"
    recorded = open_run(store)["diagnostics"]["step"].values
    assert recorded.tolist() == list(range(0, 5 * len(recorded), 5))
    assert len(recorded) > 1

    with _start_sweep(tmp_path, 100_000) as process:
        process.kill()
    assert not (tmp_path / "runs" / SET_ASIDE).exists()
    assert open_run(store)["events"]["kind"].values.tolist() == ["resumed"]
    _wait_until(lambda: read_attributes(store)["state"] == "interrupted")


def test_a_sweep_that_was_cut_off_ends_as_one_that_was_not(tmp_path: Path) -> None:
    """Killed with SIGKILL, both the sweep and its run, and started again, its records are those of a whole one."""
    config = _config(steps=300)
    with _start_sweep(tmp_path, 300) as process:
        os.killpg(process.pid, signal.SIGKILL)
    (run,) = _runs(config, 8)
    execute([run], tmp_path / "whole", jobs=1, schedule=every(5))
    execute([run], tmp_path / "runs", jobs=1, schedule=every(5))
    names = ("dormant_fraction", "weight_norm", "srank", "observed_dormant_fraction")
    whole, resumed = (open_run(tmp_path / name / f"{run.name}.zarr")["diagnostics"] for name in ("whole", "runs"))
    for name in names:
        np.testing.assert_array_equal(whole[name].values, resumed[name].values, err_msg=name)
    kept = tmp_path / "runs" / f"{run.name}.checkpoints"
    assert [path.name for path in kept.iterdir()] == ["final.pt"]


def test_a_run_that_goes_on_elsewhere_is_left_alone(tmp_path: Path) -> None:
    """A sweep that meets a run whose checkpoints are being written says so, and moves nothing."""
    (run,) = _runs(_config(), 8)
    execute([run], tmp_path, schedule=every(20))
    store = tmp_path / f"{run.name}.zarr"
    mark(store, "running", error="still going on")
    with held(store.with_suffix(".checkpoints")), pytest.raises(StoreInUseError, match="going on"):
        execute([run], tmp_path, schedule=every(20))
    assert not (tmp_path / SET_ASIDE).exists()


def test_without_a_checkpoint_a_run_begins_anew(tmp_path: Path) -> None:
    """The record of a run that was cut off and kept no checkpoints is set aside."""
    (run,) = _runs(_config(), 8)
    execute([run], tmp_path, schedule=every(20), keeps_checkpoints=False)
    store = tmp_path / f"{run.name}.zarr"
    mark(store, "interrupted", error="cut off")
    assert not store.with_suffix(".checkpoints").exists()
    assert execute([run], tmp_path, schedule=every(20)).finished == (run.name,)
    assert read_attributes(tmp_path / SET_ASIDE / f"{run.name}-1.zarr")["state"] == "interrupted"


def test_a_worker_leaves_ctrl_c_to_the_sweep(tmp_path: Path) -> None:
    """Already the first one: what blocks it must not be undone by what is started beside it."""
    with _start_sweep(tmp_path, 100_000) as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        commands = {child: Path(f"/proc/{child}/cmdline").read_bytes() for child in children}
        (worker,) = (child for child, command in commands.items() if b"spawn_main" in command)
        lines = Path(f"/proc/{worker}/status").read_text().splitlines()
        (blocked,) = (int(line.split()[1], 16) for line in lines if line.startswith("SigBlk"))
        process.kill()
    assert blocked & (1 << (signal.SIGINT - 1))


def _wait_until(condition: Callable[[], bool]) -> None:
    """For a run whose sweep was killed: it notices and closes itself."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)
