"""Checkpoints in a folder: whole or not at all, the last ones kept, the replay written once."""

from __future__ import annotations

import time
from collections import UserDict
from collections.abc import KeysView
from pathlib import Path

import numpy as np
import pytest
import torch

from plastikit.errors import ConfigurationError, NoCheckpointError, StoreExistsError
from plastikit.train.checkpoint import FINAL, Checkpoints, checkpoints_of, has_checkpoint, last_checkpoint
from plastikit.train.config import CheckpointConfig
from plastikit.train.replay import Replay
from plastikit.train.workers import VectorStep

EAGER = CheckpointConfig(interval_seconds=0.0, kept=2)


def empty(capacity: int = 50) -> Replay:
    """A replay of two tasks."""
    return Replay(
        task_count=2, observation_size=3, action_size=1, capacity=capacity, generator=np.random.default_rng(0)
    )


def live(replay: Replay, steps: int) -> None:
    """Random transitions of one life after the other, some the last of their episodes."""
    for number in range(replay.added, replay.added + steps):
        draws = np.random.default_rng(number)
        is_ended, never = draws.random(2) < 0.2, np.zeros(2, dtype=np.bool_)
        action, reward = draws.normal(size=(2, 1)).astype(np.float32), draws.normal(size=2).astype(np.float32)
        follows = observation(number + 1)
        led_to = np.where(is_ended[:, None], -follows, follows)
        replay.add(observation(number), action, VectorStep(follows, led_to, reward, is_ended, never, never))


def observation(number: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """What is observed before the step of that number."""
    return np.random.default_rng([number, 1]).normal(size=(2, 3)).astype(np.float32)


def run(checkpoints: Checkpoints, replay: Replay, *, steps: int, times: int) -> None:
    """Live and write, so many times."""
    for _ in range(times):
        live(replay, steps)
        checkpoints.write(replay.added, {"mark": torch.tensor([replay.added])}, replay)


def restored(folder: Path, capacity: int = 50) -> Replay:
    """The replay of the last checkpoint."""
    back = empty(capacity)
    back.restore(last_checkpoint(folder).stretches())
    return back


def names(folder: Path, pattern: str) -> list[str]:
    """The files of a kind, sorted."""
    return sorted(path.name for path in folder.glob(pattern))


def test_the_last_checkpoint_is_read_back(tmp_path: Path) -> None:
    """State and replay come back as they were; the replay draws the same batches."""
    replay = empty()
    checkpoints = Checkpoints(tmp_path / "run.checkpoints", EAGER)
    run(checkpoints, replay, steps=30, times=4)
    found = last_checkpoint(tmp_path / "run.checkpoints")
    assert found.step == 120
    assert found.state["mark"].item() == 120
    assert all(map(torch.equal, restored(tmp_path / "run.checkpoints").sample(64), replay.sample(64)))


def test_the_first_checkpoint_holds_no_transition(tmp_path: Path) -> None:
    """Before the first step there is nothing in the replay, and one can be gone on from all the same."""
    checkpoints = Checkpoints(tmp_path, EAGER)
    checkpoints.write(0, {}, empty())
    assert has_checkpoint(tmp_path)
    assert restored(tmp_path).size == 0


def test_the_last_ones_are_kept_and_each_transition_is_written_once(tmp_path: Path) -> None:
    """Segments are named by their steps, join without overlap, and go when no kept checkpoint needs them."""
    replay, checkpoints = empty(capacity=50), Checkpoints(tmp_path, EAGER)
    seen: dict[str, int] = {}
    for _ in range(9):
        run(checkpoints, replay, steps=20, times=1)
        for path in tmp_path.glob("replay-*"):
            assert seen.setdefault(path.name, path.stat().st_mtime_ns) == path.stat().st_mtime_ns
    assert names(tmp_path, "*.json") == ["checkpoint-000000000160.json", "checkpoint-000000000180.json"]
    spans = [(int(name[7:19]), int(name[20:32])) for name in names(tmp_path, "replay-*")]
    assert spans == [(100, 120), (120, 140), (140, 160), (160, 180)]


def test_a_long_way_is_written_in_several_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file of transitions outgrows its bound, and what the ring no longer holds is not written at all."""
    replay, checkpoints = empty(capacity=50), Checkpoints(tmp_path, EAGER)
    monkeypatch.setattr("plastikit.train.replay_log._LARGEST", 20 * replay.step_nbytes)
    run(checkpoints, replay, steps=95, times=1)
    spans = [(int(name[7:19]), int(name[20:32])) for name in names(tmp_path, "replay-*")]
    assert spans == [(45, 65), (65, 85), (85, 95)]
    assert all(map(torch.equal, restored(tmp_path).sample(64), replay.sample(64)))


@pytest.mark.parametrize("pattern", ["checkpoint-*120.json", "checkpoint-*120.pt", "replay-*120.pt"])
@pytest.mark.parametrize(
    ("damage", "told"),
    [("torn", r"has \d+ bytes and was written with \d+"), ("one bit", "holds other bytes"), ("gone", "is missing")],
)
def test_a_damaged_checkpoint_is_noticed_and_the_one_before_taken(
    tmp_path: Path, pattern: str, damage: str, told: str
) -> None:
    """Whichever of its files is torn, changed or gone; the warning names the file."""
    run(Checkpoints(tmp_path, EAGER), empty(), steps=30, times=4)
    (path,) = tmp_path.glob(pattern)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(data[: len(data) // 2] if damage == "torn" else data)
    assert has_checkpoint(tmp_path)
    if pattern.endswith("json") and damage == "gone":
        found = last_checkpoint(tmp_path)
    else:
        its_own = r"checkpoint-\S*120\.json itself is damaged"
        words = its_own if pattern.endswith("json") else rf"checkpoint-\S*120\.json cannot .* since {path.name} {told}"
        with pytest.warns(UserWarning, match=rf"{words}.*; the training goes on from checkpoint-000000000090\.json"):
            found = last_checkpoint(tmp_path)
    assert found.step == 90


def test_a_missing_file_of_transitions_takes_every_checkpoint_that_needs_it(tmp_path: Path) -> None:
    """The error names each of them with the file; put back, the last is gone on from without a word."""
    replay = empty()
    run(Checkpoints(tmp_path, EAGER), replay, steps=20, times=4)
    path = tmp_path / "replay-000000000040-000000000060.pt"
    path.rename(tmp_path / "elsewhere")
    assert not has_checkpoint(tmp_path)
    with pytest.raises(NoCheckpointError) as caught:
        last_checkpoint(tmp_path)
    told = [
        f"checkpoint-0000000000{step}.json cannot be gone on from, since {path.name} is missing" for step in (80, 60)
    ]
    assert f"{'; '.join(told)}. Put these files back" in str(caught.value)
    (tmp_path / "elsewhere").rename(path)
    assert all(map(torch.equal, restored(tmp_path).sample(64), replay.sample(64)))


def test_many_missing_files_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three are named."""
    replay, checkpoints = empty(), Checkpoints(tmp_path, EAGER)
    monkeypatch.setattr("plastikit.train.replay_log._LARGEST", 10 * replay.step_nbytes)
    run(checkpoints, replay, steps=50, times=1)
    for path in tmp_path.glob("replay-*"):
        path.unlink()
    with pytest.raises(NoCheckpointError, match=r"20-0+30\.pt is missing, and 2 more of its files are so"):
        last_checkpoint(tmp_path)


def test_what_lies_behind_the_resumed_checkpoint_is_deleted(tmp_path: Path) -> None:
    """A run that goes on from the one before the last writes its way anew, and that is what is found."""
    replay = empty()
    run(Checkpoints(tmp_path, EAGER), replay, steps=30, times=4)
    (tmp_path / "checkpoint-000000000120.pt").write_bytes(b"")
    (tmp_path / "replay-000000000120-000000000150.pt.part").write_bytes(b"half")
    with pytest.warns(UserWarning, match="has 0 bytes"):
        found = last_checkpoint(tmp_path)
    back = empty()
    back.restore(found.stretches())
    again = Checkpoints(tmp_path, EAGER, after=found)
    assert names(tmp_path, "checkpoint-*") == ["checkpoint-000000000090.json", "checkpoint-000000000090.pt"]
    assert names(tmp_path, "*.part") == []
    run(again, back, steps=10, times=2)
    assert last_checkpoint(tmp_path).step == 110
    assert all(map(torch.equal, restored(tmp_path).sample(64), back.sample(64)))


def test_what_cannot_be_resumed(tmp_path: Path) -> None:
    """No folder, an empty one, one with nothing but damage, and a finished run: one error each."""
    with pytest.raises(NoCheckpointError, match=r"nowhere holds no checkpoint\. Give the folder"):
        last_checkpoint(tmp_path / "nowhere")
    assert not has_checkpoint(tmp_path / "nowhere")
    checkpoints = Checkpoints(tmp_path, EAGER)
    run(checkpoints, empty(), steps=5, times=1)
    (manifest,) = tmp_path.glob("*.json")
    manifest.write_text("{}")
    with pytest.raises(NoCheckpointError, match=r"whole: checkpoint-000000000005.json itself is damaged"):
        last_checkpoint(tmp_path)
    assert not has_checkpoint(tmp_path)
    checkpoints.finish({"actor": {"weight": torch.ones(2)}})
    with pytest.raises(ConfigurationError, match="finished run"):
        last_checkpoint(tmp_path)
    assert not has_checkpoint(tmp_path)


def test_a_finished_run_keeps_its_networks_alone(tmp_path: Path) -> None:
    """The replay goes, and the weights are read without unpickling anything else."""
    checkpoints = Checkpoints(tmp_path, EAGER)
    run(checkpoints, empty(), steps=5, times=3)
    checkpoints.finish({"actor": {"weight": torch.ones(2)}})
    assert [path.name for path in tmp_path.iterdir()] == [FINAL]
    assert torch.equal(torch.load(tmp_path / FINAL, weights_only=True)["actor"]["weight"], torch.ones(2))


def test_checkpoints_of_another_run_are_left_alone(tmp_path: Path) -> None:
    """A new run does not begin among them, finished or not."""
    checkpoints = Checkpoints(tmp_path, EAGER)
    run(checkpoints, empty(), steps=5, times=1)
    with pytest.raises(StoreExistsError, match="holds the checkpoints of another run"):
        Checkpoints(tmp_path, EAGER)
    checkpoints.finish({})
    with pytest.raises(StoreExistsError, match="holds the checkpoints of another run"):
        Checkpoints(tmp_path, EAGER)
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="cannot hold checkpoints"):
        Checkpoints(tmp_path / "file", EAGER)


def test_a_disk_that_fails_ends_no_training(tmp_path: Path) -> None:
    """A warning tells, the checkpoint before stays, and the next is written when the disk is back."""
    folder = tmp_path / "run.checkpoints"
    replay, checkpoints = empty(), Checkpoints(folder, EAGER)
    run(checkpoints, replay, steps=30, times=1)
    folder.rename(tmp_path / "away")
    with pytest.warns(UserWarning, match="no checkpoint could be written at vector step 60"):
        run(checkpoints, replay, steps=30, times=1)
    (tmp_path / "away").rename(folder)
    assert last_checkpoint(folder).step == 30
    run(checkpoints, replay, steps=30, times=1)
    assert last_checkpoint(folder).step == 90
    assert all(map(torch.equal, restored(folder).sample(64), replay.sample(64)))


def test_writing_takes_a_twentieth_of_the_time_at_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a checkpoint the next waits for its interval, and for twenty times what the last one took."""
    clock = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    checkpoints = Checkpoints(tmp_path, CheckpointConfig(interval_seconds=30.0))
    replay = empty()
    live(replay, 1)

    class Slow(UserDict[str, int]):
        def keys(self) -> KeysView[str]:
            clock[0] += 2.0
            return super().keys()

    assert not checkpoints.is_due
    clock[0] = 130.0
    assert checkpoints.is_due
    checkpoints.write(1, Slow({"mark": 1}), replay)
    clock[0] = 132.0 + 39.9
    assert not checkpoints.is_due
    clock[0] = 132.0 + 40.1
    assert checkpoints.is_due


def test_a_folder_beside_the_run() -> None:
    """The name of the run's, with another ending."""
    assert checkpoints_of("runs/mine.zarr") == Path("runs/mine.checkpoints")
