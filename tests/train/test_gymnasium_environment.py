"""One environment of gymnasium's."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec

from plastikit.errors import ConfigurationError
from plastikit.train.gymnasium_environment import GymnasiumEnvironment, Maker, horizon, spaces, specification
from plastikit.train.workers import Simulators, require_sendable
from zoo.pendulums import Falling


@pytest.fixture
def pendulum() -> Iterator[GymnasiumEnvironment]:
    """Gymnasium's own, under seed 0."""
    made = environment("Pendulum-v1")
    yield made
    made.close()


def environment(task: str, seed: int = 0) -> GymnasiumEnvironment:
    """Make a task's environment from what another process would be sent."""
    found = specification(task)
    assert found is not None
    return GymnasiumEnvironment(pickle.loads(pickle.dumps(found)), task, seed)


def test_a_goal_seeds_its_episode(pendulum: GymnasiumEnvironment) -> None:
    """The same goal begins alike whatever was played before; another goal, seed or task begins elsewhere."""
    first = pendulum.reset(3)
    pendulum.step(np.ones(1, dtype=np.float32))
    pendulum.reset(4)
    assert np.array_equal(pendulum.reset(3), first)
    assert first.dtype == np.float32
    begun = [pendulum.reset(4), environment("Pendulum-v1", 1).reset(3), environment("pendulum-1of1").reset(3)]
    assert not any(np.array_equal(first, other) for other in begun)


@pytest.mark.parametrize("action", [-1.0, 0.25, 1.0])
def test_actions_from_minus_one_to_one_are_the_lowest_to_the_highest(
    pendulum: GymnasiumEnvironment, action: float
) -> None:
    """The pendulum's torques go from -2 to 2."""
    theirs = gymnasium.make("Pendulum-v1")
    pendulum.reset(0)
    found = pendulum.step(np.array([action], dtype=np.float32))
    theirs.reset(seed=0)
    theirs.unwrapped.state = np.array([0.1, 0.2])  # type: ignore[attr-defined]
    pendulum._environment.unwrapped.state = np.array([0.1, 0.2])  # type: ignore[attr-defined]
    found = pendulum.step(np.array([action], dtype=np.float32))
    wanted = theirs.step(np.array([2.0 * action], dtype=np.float32))
    assert np.array_equal(found.observation, wanted[0])
    assert found.reward == wanted[1]


def test_success_is_what_the_environment_tells(pendulum: GymnasiumEnvironment) -> None:
    """Under either name; of one that tells nothing it is unknown."""
    still = np.zeros(1, dtype=np.float32)
    pendulum.reset(0)
    assert pendulum.step(still).is_success is None
    told = []
    for task in ("Falling-v0", "pendulum-1of2"):
        made = environment(task)
        made.reset(0)
        told.append(made.step(still).is_success)
    assert told == [False, False]


@pytest.mark.parametrize(("task", "steps"), [("Pendulum-v1", 200), ("Double-v0", 500), ("pendulum-1of2", 200)])
def test_an_episode_is_truncated_at_its_own_limit_or_at_500(task: str, steps: int) -> None:
    """An environment without a limit gets one."""
    found, made = specification(task), environment(task)
    assert found is not None
    assert horizon(found) == steps
    made.reset(0)
    outcomes = [made.step(np.zeros(1, dtype=np.float32)) for _ in range(steps)]
    assert [outcome.is_truncated for outcome in outcomes] == [False] * (steps - 1) + [True]


def test_a_module_that_registers_is_imported() -> None:
    """``module:Id`` is known once its module has been imported; a name that nobody registered is not."""
    assert specification("zoo.pendulums:Falling-v0") is specification("Falling-v0")
    assert specification("zoo.pendulums:Rising-v0") is None
    with pytest.raises(ConfigurationError, match=r"module 'nowhere\.at'.*cannot be imported"):
        specification("nowhere.at:Falling-v0")


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        ("def", "SyntaxError: invalid syntax"),
        ("raise RuntimeError('no\\nlicence')", r"RuntimeError: no licence\)"),
        ("import gymnasium; gymnasium.register('a b', entry_point='x:y')", "Error: Malformed environment ID: a b"),
    ],
)
def test_a_module_that_fails_on_import_is_told_with_its_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, cause: str
) -> None:
    """Whatever it raises, on one line."""
    (tmp_path / "failing_pendulums.py").write_text(line)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(
        ConfigurationError, match=rf"'failing_pendulums', which cannot be imported \(.*{cause}"
    ) as caught:
        specification("failing_pendulums:E-v0")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("module", ["", ".zoo", "Falling-v0 zoo.pendulums", "Falling-v0;zoo.pendulums"])
def test_a_module_is_named_as_an_import_names_it(module: str) -> None:
    """Neither relative nor empty, and with no other task before it."""
    with pytest.raises(ConfigurationError, match=r"absolute name was expected.* as module:Double-v0, and commas"):
        specification(f"{module}:Double-v0")


@pytest.mark.parametrize(
    ("entry", "arguments", "cause"),
    [
        ("zoo.nowhere:Rising", {}, "ModuleNotFoundError: No module named 'zoo.nowhere'"),
        ("zoo.pendulums:Rising", {}, "AttributeError: .*no attribute 'Rising'"),
        ("zoo.pendulums:Falling", {"weight": 3}, "TypeError: .*unexpected keyword argument 'weight'"),
        ("gymnasium:Env", {}, "AttributeError: .*observation_space"),
    ],
)
def test_an_environment_that_cannot_be_made_is_told_with_its_error(
    entry: str, arguments: dict[str, int], cause: str
) -> None:
    """With what it is registered as, on one line."""
    with pytest.raises(ConfigurationError, match=rf"'Own-v0', .* point {entry}, cannot be made .*\({cause}") as caught:
        spaces("Own-v0", EnvSpec("Own-v0", entry, kwargs=arguments))
    assert "\n" not in str(caught.value)


def test_what_no_module_holds_by_name_is_not_sent_to_other_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Told where there are others, and with the two ways out."""
    monkeypatch.setitem(gymnasium.registry, "Own-v0", EnvSpec("Own-v0", lambda: Falling()))  # noqa: PLW0108
    require_sendable(("Own-v0", "Falling-v0"), 1)
    require_sendable(("Own-v0",), 2)
    with pytest.raises(ConfigurationError, match=r"what makes Own-v0 cannot be sent .* module:Own-v0; or .*workers=1"):
        require_sendable(("Own-v0", "Falling-v0"), 2)


@pytest.mark.parametrize("is_text", [True, False])
def test_a_scripts_own_environment_is_not_sent_to_processes_that_do_not_run_it(
    monkeypatch: pytest.MonkeyPatch, *, is_text: bool
) -> None:
    """The error names the way; the run's own process steps it all the same."""
    own = type("Own", (Falling,), {"__module__": "__main__"})
    monkeypatch.setattr(sys.modules["__main__"], "Own", own, raising=False)
    monkeypatch.setitem(gymnasium.registry, "Own-v0", EnvSpec("Own-v0", "__main__:Own" if is_text else own))
    tasks = ("Own-v0", "Falling-v0")
    with pytest.raises(ConfigurationError, match=r"Own-v0 is made by what the script .* module:Own-v0; or .*workers=1"):
        Simulators(tasks, 0, workers=2)
    with closing(Simulators(tasks, 0, workers=1)) as simulators:
        simulators.board.is_asked[:] = True
        simulators.begin()
        assert np.isfinite(simulators.board.observation).all()
    found = specification("Falling-v0")
    assert found is not None
    assert pickle.loads(pickle.dumps(Maker(found, "Falling-v0", 3))) == Maker(found, "Falling-v0", 3)


@pytest.mark.parametrize(
    ("task", "words"),
    [
        ("CartPole-v1", "action space of CartPole-v1 is Discrete"),
        ("FrozenLake-v1", "observation space of FrozenLake-v1 is Discrete"),
        ("Unbounded-v0", r"action space of Unbounded-v0 is Box\(-inf, inf.*lowest and a highest"),
    ],
)
def test_spaces_that_no_policy_can_act_in_are_refused(task: str, words: str) -> None:
    """The message names the task and its space."""
    found = specification(task)
    assert found is not None
    with pytest.raises(ConfigurationError, match=words):
        spaces(task, found)
