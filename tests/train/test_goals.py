"""The goals of a task."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from benchmarks.stepping import plain_simulator

import plastikit.train.goals
from plastikit.train import goal_cache
from plastikit.train.goals import along_widest, draw, goal_vectors, goals
from plastikit.train.tasks import MT50


def forget() -> None:
    """Leave no goals in memory."""
    goals.cache_clear()
    goal_vectors.cache_clear()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and no goals in memory."""
    monkeypatch.setenv("PLASTIKIT_CACHE", str(tmp_path))
    forget()
    return tmp_path / "goals"


@pytest.fixture
def draws(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tasks whose goals were drawn."""
    drawn: list[str] = []

    def noted(task: str, seed: int) -> np.ndarray:
        drawn.append(task)
        return draw(task, seed)

    monkeypatch.setattr(plastikit.train.goals, "draw", noted)
    return drawn


def test_goals_are_fifty_and_depend_on_task_and_seed_alone(folder: Path) -> None:
    """The goals of a task and seed are the same whenever they are drawn, and NumPy's global state is left alone."""
    before = np.random.get_state(legacy=False)
    first = goals("reach-v3", 7)
    after = np.random.get_state(legacy=False)
    assert len({goal.data for goal in first}) == 50
    forget()
    (folder / next(folder.iterdir()).name).unlink()
    assert goals("reach-v3", 7) == first
    assert goals("reach-v3", 8) != first
    assert np.array_equal(before["state"]["key"], after["state"]["key"])


@pytest.mark.slow
@pytest.mark.parametrize("task", MT50)
def test_goals_are_those_of_meta_worlds_own_resets(task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaving the hand where it is changes no goal of any task by a bit."""
    monkeypatch.setattr(plastikit.train.goals, "GOALS_PER_TASK", 3)
    drawn = draw(task, 5)
    monkeypatch.setattr(plastikit.train.goals, "simulator", plain_simulator)
    assert drawn.tobytes() == draw(task, 5, moves_hand=True).tobytes()


def test_goals_of_a_later_process_come_from_the_cache(folder: Path, draws: list[str]) -> None:
    """What was drawn once is read, and equals it byte for byte."""
    first = goals("reach-v3", 7)
    forget()
    again = goals("reach-v3", 7)
    assert draws == ["reach-v3"]
    assert [goal.data for goal in again] == [goal.data for goal in first]
    assert np.array_equal(pickle.loads(again[3].data)["rand_vec"], draw("reach-v3", 7)[3])
    assert [path.suffix for path in folder.iterdir()] == [".goals"]


@pytest.mark.parametrize("harm", ["cut", "changed", "emptied", "another's"])
def test_a_file_that_is_not_what_was_written_is_made_anew(folder: Path, draws: list[str], harm: str) -> None:
    """A cut, changed, empty or renamed file is replaced by what is drawn."""
    first = goals("reach-v3", 7)
    (file,) = folder.iterdir()
    whole = file.read_bytes()
    if harm == "another's":
        goals("reach-v3", 8)
        next(path for path in folder.iterdir() if path != file).replace(file)
    else:
        file.write_bytes({"cut": whole[:-8], "changed": whole[:-1] + b"\xff", "emptied": b""}[harm])
    forget()
    assert goals("reach-v3", 7) == first
    assert len(draws) == (3 if harm == "another's" else 2)
    assert file.read_bytes() == whole


def test_a_cache_that_cannot_be_written_is_done_without(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A file where the folder should be stops nothing."""
    folder.write_bytes(b"")
    assert len(goals("reach-v3", 7)) == 50
    assert folder.read_bytes() == b""


def test_the_cache_lies_where_the_user_wants_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The variable of plastikit goes before XDG's, which goes before the home folder; off is off."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("PLASTIKIT_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert goal_cache.folder() == tmp_path / ".cache" / "plastikit" / "goals"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert goal_cache.folder() == tmp_path / ".cache" / "plastikit" / "goals"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert goal_cache.folder() == tmp_path / "xdg" / "plastikit" / "goals"
    monkeypatch.setenv("PLASTIKIT_CACHE", str(tmp_path / "own"))
    assert goal_cache.folder() == tmp_path / "own" / "goals"
    monkeypatch.setenv("PLASTIKIT_CACHE", "off")
    assert goal_cache.folder() is None
    goal_cache.write(("3", "reach-v3", 0), np.zeros((50, 6)))
    assert goal_cache.read(("3", "reach-v3", 0)) is None
    assert list(tmp_path.iterdir()) == []


def test_goals_are_ordered_along_what_their_box_is_widest_in() -> None:
    """The box decides, whatever the goals; of equally wide coordinates the first, of equal goals the lower number."""
    vectors = np.array([[0.2, 0.9], [0.1, 0.0], [0.2, 0.5]])
    assert along_widest(vectors, (np.array([-0.1, 0.6]), np.array([0.1, 0.8]))) == [1, 0, 2]
    assert along_widest(vectors, (np.array([-0.1, 0.6]), np.array([0.1, 0.9]))) == [1, 2, 0]
