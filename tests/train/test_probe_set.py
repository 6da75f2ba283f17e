"""The states that all networks are scored on."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import plastikit.train.probe_set
from plastikit.errors import ConfigurationError
from plastikit.train import probe_set_cache
from plastikit.train.config import ProbeSetConfig, TrainingConfig
from plastikit.train.probe_set import EPISODES, ProbeSet, make_states, probe_states
from plastikit.train.scripted import acting
from plastikit.train.suites import goal_count, maker


def config(tasks: str, probe_tasks: str | None = None, *, samples: int = 4, seed: int = 0) -> TrainingConfig:
    """A training of which the probe set alone matters."""
    return TrainingConfig(tasks=tasks, probe_set=ProbeSetConfig(tasks=probe_tasks, samples=samples, seed=seed))


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """The tasks whose states were made, from an empty cache on."""
    monkeypatch.setenv("PLASTIKIT_CACHE", str(tmp_path))
    names: list[str] = []

    def noted(task: str, seed: int, count: int) -> np.ndarray:
        names.append(task)
        return make_states(task, seed, count)

    monkeypatch.setattr(plastikit.train.probe_set, "make_states", noted)
    return names


def test_a_tasks_states_depend_on_nothing_that_is_trained_beside_it(made: list[str]) -> None:
    """Runs of 1 and of 3 tasks have the same probe set of the task that they share, made once."""
    alone = probe_states(config("1"))
    among = probe_states(config("3", probe_tasks="1"))
    assert alone.tasks == among.tasks
    assert alone.hash == among.hash
    assert np.array_equal(alone.observation, among.observation)
    assert np.array_equal(alone.action, among.action)
    assert made == list(alone.tasks)
    assert alone.observation.shape == (1, 4, 39)
    assert alone.action.shape == (1, 4, 4)
    other = probe_states(config("1", seed=1))
    assert other.hash != alone.hash


def test_states_are_the_same_in_another_process() -> None:
    """Nothing of the process that makes them goes into the states."""
    script = (
        "from plastikit.train.config import ProbeSetConfig, TrainingConfig\n"
        "from plastikit.train.probe_set import probe_states\n"
        "print(probe_states(TrainingConfig(tasks='reach-v3', "
        "probe_set=ProbeSetConfig(samples=3))).hash)"
    )
    told = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env={"PLASTIKIT_CACHE": "off", "PYTHONHASHSEED": "5", "PATH": ""},
    )
    assert told.stdout.strip() == probe_states(config("reach-v3", samples=3)).hash


def test_every_change_changes_the_hash() -> None:
    """A number, its sign, its place or the task that it belongs to: none can change unseen."""
    observation = np.arange(12, dtype=np.float32).reshape(2, 3, 2)
    action = np.zeros((2, 3, 1), dtype=np.float32)
    first = ProbeSet(("a", "b"), 0, observation, action)
    assert first.hash == ProbeSet(("a", "b"), 0, observation.copy(), action.copy()).hash
    nudged = observation.copy()
    nudged[1, 2, 1] = np.nextafter(nudged[1, 2, 1], np.float32(100))
    others = [
        dataclasses.replace(first, tasks=("b", "a")),
        dataclasses.replace(first, observation=nudged),
        dataclasses.replace(first, observation=observation[:, ::-1]),
        dataclasses.replace(first, action=-action),
        dataclasses.replace(first, observation=observation.reshape(2, 2, 3), action=action.reshape(2, 3, 1)),
    ]
    assert len({first.hash, *(other.hash for other in others)}) == 1 + len(others)
    assert first.metadata["probe_states"]["hash"] == first.hash


@pytest.mark.parametrize("harm", ["cut", "changed", "emptied"])
def test_a_damaged_file_is_made_anew(made: list[str], harm: str) -> None:
    """What is not what was written is not read."""
    first = probe_states(config("reach-v3", samples=1))
    folder = probe_set_cache.folder()
    assert folder is not None
    (file,) = folder.iterdir()
    whole = file.read_bytes()
    file.write_bytes({"cut": whole[:-4], "changed": whole[:-1] + b"\xff", "emptied": b""}[harm])
    assert probe_states(config("reach-v3", samples=1)).hash == first.hash
    assert made == ["reach-v3", "reach-v3"]
    assert file.read_bytes() == whole


def test_states_come_from_several_goals_and_from_all_of_an_episode() -> None:
    """Every episode gives its share, early and late; the goal is what the last three numbers observed are."""
    states = make_states("reach-v3", 0, 40)
    goals = states[:, 36:39]
    assert len(np.unique(goals, axis=0)) == EPISODES
    _, counts = np.unique(goals, axis=0, return_counts=True)
    assert counts.tolist() == [4] * EPISODES
    hand = states[:, :3]
    distance = np.linalg.norm(hand - goals, axis=1)
    assert distance.min() < 0.08
    assert distance.max() > 0.15


def test_a_part_is_played_by_its_tasks_script_and_what_has_none_by_chance(made: list[str]) -> None:
    """A part of reach comes closer to its goals than chance would; a pendulum's torques are spread over all."""
    part = probe_states(config("reach-v3-1of4", samples=20))
    assert np.linalg.norm(part.observation[0, :, :3] - part.observation[0, :, 36:39], axis=1).min() < 0.1
    pendulums = probe_states(config("pendulum/2", samples=400))
    assert pendulums.observation.shape == (2, 200, 3)
    assert pendulums.action.min() < -0.9 < 0.9 < pendulums.action.max()
    assert abs(pendulums.action.mean()) < 0.1
    assert not np.array_equal(pendulums.observation[0], pendulums.observation[1])


def test_scripts_solve_their_tasks_in_spite_of_the_noise() -> None:
    """The states are those on the way to success, not those of flailing."""
    environment, act, generator = maker("drawer-close-v3", 3)(), acting("drawer-close-v3", 4), np.random.default_rng(0)
    solved = 0
    for goal in range(3):
        observation = environment.reset(goal)
        for _ in range(250):
            outcome = environment.step(act(observation, generator))
            observation = outcome.observation
            if outcome.is_success:
                solved += 1
                break
    environment.close()
    assert goal_count("drawer-close-v3") >= 3
    assert solved == 3


def test_tasks_that_are_not_trained_are_refused() -> None:
    """A network has no place for a task that it does not know."""
    with pytest.raises(ConfigurationError, match=r"states of push-v3, and the run trains on reach-v3 alone"):
        probe_states(config("reach-v3", probe_tasks="push-v3,reach-v3"))
    with pytest.raises(ConfigurationError, match=r"2 states for 3 tasks"):
        probe_states(config("pendulum/3", samples=2))
