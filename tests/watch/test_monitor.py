"""What a user calls on a monitor, and where it ends up in the run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from oracles.runs import group
from plastikit.errors import ConfigurationError, UnknownNameError
from plastikit.probes import FeatureRank
from plastikit.watch.attach import attach
from plastikit.watch.look import measure
from plastikit.watch.monitor import Record
from plastikit.watch.schedule import at, every, log_spaced


def _model() -> tuple[nn.Sequential, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, 1))
    return model, torch.optim.SGD(model.parameters(), lr=0.05)


def _update(model: nn.Module, optimizer: torch.optim.Optimizer, updates: int = 1) -> None:
    for _ in range(updates):
        optimizer.zero_grad()
        model(torch.randn(5, 3)).square().mean().backward()
        optimizer.step()


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Where a test's run goes."""
    return tmp_path / "run.zarr"


def test_step_zero_is_always_recorded(run: Path) -> None:
    """Whatever the schedule says, the beginning is there; the rest follows the schedule."""
    model, optimizer = _model()
    with attach(model, optimizer=optimizer, store=run, schedule=at([5])):
        _update(model, optimizer, 8)
    assert group(run, "diagnostics")["step"].values.tolist() == [0, 5]


def test_log_spaced_records(run: Path) -> None:
    """Dense early, sparse late."""
    model, optimizer = _model()
    with attach(model, optimizer=optimizer, store=run, schedule=log_spaced(3), probes=["parameters"]):
        _update(model, optimizer, 25)
    assert group(run, "diagnostics")["step"].values.tolist() == [0, 1, 2, 5, 10, 22]


def test_scalars(run: Path) -> None:
    """Floats, tensors of one element and mappings of tasks become rows; what was not given is NaN."""
    model, optimizer = _model()
    with attach(model, optimizer=optimizer, store=run) as monitor:
        for number in range(3):
            _update(model, optimizer)
            scalars = {"late": 1} if number == 2 else {}
            alpha = {"reach": 0.1} if number == 0 else {"push": 0.2, "reach": 0.3}
            monitor.step(
                loss=torch.tensor([float(number)], requires_grad=True), count=np.int64(number), alpha=alpha, **scalars
            )
        monitor.step(step=10, loss=7)
    training = group(run, "training")
    assert training["step"].values.tolist() == [1, 2, 3, 10]
    assert training["loss"].values.tolist() == [0, 1, 2, 7]
    assert list(training["task"].values) == ["reach", "push"]
    np.testing.assert_allclose(training["alpha"].sel(task="reach"), [0.1, 0.3, 0.3, np.nan], rtol=1e-6)
    np.testing.assert_allclose(training["alpha"].sel(task="push"), [np.nan, 0.2, 0.2, np.nan], rtol=1e-6)
    np.testing.assert_allclose(training["late"], [np.nan, np.nan, 1, np.nan])


@pytest.mark.parametrize(
    ("scalars", "message"),
    [
        ({"loss": None}, r"loss is None, where one number was expected"),
        ({"loss": torch.ones(2)}, r"loss is tensor.*one number"),
        ({"loss": {"reach": "high"}}, r"loss\['reach'\] is 'high'"),
        ({"loss/critic": 1.0}, r"'loss/critic' cannot name a variable"),
        ({"a b": 1.0}, r"cannot name a variable"),
        ({"": 1.0}, r"cannot name a variable"),
        ({"task": 1.0}, r"'task' is the name of a dimension"),
        ({"wall_time": 1.0}, r"'wall_time' was one number, a coordinate"),
        ({"known": {"reach": 1.0}}, r"'known' was one number before and is one number for each task now"),
        ({"alpha": 1.0}, r"'alpha' was one number for each task before"),
        ({"env_step": 1.0}, r"'env_step' was one number, a coordinate before"),
    ],
)
def test_scalars_that_cannot_be_recorded(scalars: dict[str, Any], message: str, run: Path) -> None:
    """Each is one clear error at the call, and the run goes on and closes as if it had not been made."""
    model, optimizer = _model()
    with attach(model, optimizer=optimizer, store=run) as monitor:
        monitor.stamp(env_step=3)
        _update(model, optimizer)
        monitor.step(known=1.0, alpha={"reach": 1.0})
        with pytest.raises(ConfigurationError, match=message):
            monitor.step(**scalars)
        _update(model, optimizer)
        monitor.step(known=2.0)
    training = group(run, "training")
    assert training["known"].values.tolist() == [1, 2]
    assert training["env_step"].values.tolist() == [3, 3]
    assert training["alpha"].values[0].tolist() == [1]


def test_a_step_that_goes_back_is_an_error(run: Path) -> None:
    """Rows stand in the order of their steps; one out of order is refused, the others are kept."""
    model, optimizer = _model()
    with attach(model, optimizer=optimizer, store=run) as monitor:
        _update(model, optimizer)
        monitor.step(step=5, loss=1)
        with pytest.raises(ConfigurationError, match=r"at step 4 follows one at 5"):
            monitor.step(step=4, loss=2)
    assert group(run, "training")["loss"].values.tolist() == [1]


def test_evaluation(run: Path) -> None:
    """One row at the step so far, by task; tasks that come later are NaN before."""
    model, optimizer = _model()
    with attach(model, optimizer=optimizer, store=run) as monitor:
        monitor.evaluation(success_rate={"reach": 0.0}, episode_return={"reach": 3.0})
        _update(model, optimizer, 4)
        monitor.evaluation(success_rate={"push": 1.0, "reach": 0.5})
    evaluation = group(run, "evaluation")
    assert evaluation["step"].values.tolist() == [0, 4]
    np.testing.assert_allclose(evaluation["success_rate"].sel(task=["reach", "push"]), [[0, np.nan], [0.5, 1]])
    np.testing.assert_allclose(evaluation["episode_return"].sel(task="reach"), [3, np.nan])


def test_stamps(run: Path) -> None:
    """A stamp is a coordinate of every record that follows, in each group; before it was set, NaN."""
    model, optimizer = _model()
    with attach(model, optimizer=optimizer, store=run, schedule=every(1)) as monitor:
        for number in range(3):
            _update(model, optimizer)
            monitor.step(loss=0)
            monitor.stamp(env_step=10 * (number + 1))
        monitor.evaluation(success_rate={"reach": 1})
        with pytest.raises(ConfigurationError, match=r"env_step is 'many'"):
            monitor.stamp(env_step="many")  # type: ignore[arg-type]
    diagnostics = group(run, "diagnostics")
    np.testing.assert_array_equal(diagnostics["env_step"], [np.nan, 10, 20])
    assert "env_step" in diagnostics.coords
    np.testing.assert_array_equal(group(run, "training")["env_step"], [np.nan, 10, 20])
    np.testing.assert_array_equal(group(run, "evaluation")["env_step"], [30])
    assert np.isfinite(diagnostics["wall_time"].values.astype(float)).all()


def test_events(run: Path) -> None:
    """An event is kept with its step, kind and message."""
    model, optimizer = _model()
    with attach(model, optimizer=optimizer, store=run) as monitor:
        monitor.event("intervention", "reset the head, ünïcode too")
        _update(model, optimizer, 2)
        monitor.event("note", "")
    events = group(run, "events")
    assert list(events["kind"].values) == ["intervention", "note"]
    assert list(events["message"].values) == ["reset the head, ünïcode too", ""]
    assert events["event_step"].values.tolist() == [0, 2]


def test_observe(run: Path) -> None:
    """A probe batch is stored under names of its own, with its source, beside the training batch's values."""
    model, optimizer = _model()
    batch = torch.randn(9, 3)
    wanted = []
    with attach(model, optimizer=optimizer, store=run, schedule=every(2)) as monitor:
        for _ in range(4):
            wanted.append(measure(model, batch)["srank"]["1"])
            monitor.observe(batch, groups=[0] * 4 + [1] * 5)
            _update(model, optimizer)
    diagnostics = group(run, "diagnostics")
    assert diagnostics["step"].values.tolist() == [0, 1, 2, 3]
    assert diagnostics["observed_srank"].values[:, 0].tolist() == wanted
    assert diagnostics["observed_srank"].attrs["source"] == "probe batch"
    assert np.isnan(diagnostics["srank"].values[:, 0]).tolist() == [False, True, False, True]
    assert diagnostics["rank_ceiling"].values[0, 0] == 5
    assert diagnostics["observed_rank_ceiling"].values[0, 0] == 6
    assert diagnostics["observed_group_dormant_fraction"].dims == ("step", "layer", "group", "tau")


def test_observe_refuses_what_it_cannot_call(run: Path) -> None:
    """Inputs for a network that there is not, or for none in particular, are an error; training goes on."""
    model, optimizer = _model()
    with attach({"actor": model}, optimizer=optimizer, store=run) as monitor:
        with pytest.raises(UnknownNameError, match=r"unknown network 'actr'. Did you mean actor"):
            monitor.observe({"actr": torch.ones(2, 3)})
        with pytest.raises(ConfigurationError, match=r"a mapping of their names"):
            monitor.observe(torch.ones(2, 3))
        monitor.observe({"actor": torch.ones(2, 3)})
        _update(model, optimizer)
    assert list(group(run, "diagnostics")["layer"].values) == ["actor.1"]


def test_groups_of_training_batches(run: Path) -> None:
    """With ``groups`` each task has its dormant fraction; a group that appears later is NaN before."""
    model = nn.Sequential(nn.Identity(), nn.ReLU(), nn.Linear(2, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    batches = [
        torch.tensor([[1.0, 1.0], [1.0, -1.0]]),
        torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]]),
    ]
    tasks = iter([[0, 1], [0, 1, 2]])
    with attach(model, optimizer=optimizer, store=run, schedule=every(1), groups=lambda _: next(tasks)):
        for batch in batches:
            model(batch).sum().backward()
            optimizer.step()
    fractions = group(run, "diagnostics")["group_dormant_fraction"].sel(tau=0.0, layer="1")
    np.testing.assert_array_equal(fractions, [[0, 0.5, np.nan], [0, 0.5, 1]])


def test_on_record(run: Path) -> None:
    """Every record is handed on as it is stored, observed ones included."""
    model, optimizer = _model()
    seen: list[Record] = []
    with attach(model, optimizer=optimizer, store=run, schedule=every(2), probes=[FeatureRank()]) as monitor:
        monitor.on_record(seen.append)
        _update(model, optimizer, 3)
        monitor.observe(torch.randn(4, 3))
    assert [record.step for record in seen] == [0, 2, 3]
    diagnostics = group(run, "diagnostics")
    assert seen[1].values["srank"]["1"] == diagnostics["srank"].sel(step=2, layer="1")
    assert {"observed_srank", "observed_effective_rank", "observed_rank_ceiling"} <= seen[2].values.keys()
    assert all(variable.startswith("observed_") for variable in seen[2].values)


@pytest.mark.parametrize("is_strict", [False, True])
def test_an_error_in_a_callback(run: Path, is_strict: bool) -> None:
    """What fails in the user's logger is told once, or fails the training where that is asked for; records are kept."""

    def fail(_: Record) -> None:
        raise ZeroDivisionError

    model, optimizer = _model()
    monitor = attach(
        model, optimizer=optimizer, store=run, schedule=every(1), on_error="raise" if is_strict else "warn"
    )
    monitor.on_record(fail)
    if is_strict:
        with pytest.raises(ZeroDivisionError):
            _update(model, optimizer)
    else:
        with pytest.warns(UserWarning, match=r"of on_record failed, and the training goes on: ZeroDiv") as told:
            _update(model, optimizer, 3)
        assert len(told) == 1
    monitor.close()
    assert group(run, "diagnostics")["step"].values.tolist() == ([0] if is_strict else [0, 1, 2])


def test_layers_say_why(run: Path) -> None:
    """The monitor names the layers it watches, with the reason."""
    model, optimizer = _model()
    with attach({"actor": model}, optimizer=optimizer, store=run) as monitor:
        assert monitor.layers == {"actor.1": "activation module ReLU"}
        _update(model, optimizer)


def test_a_callback_may_close_the_run(run: Path) -> None:
    """Stopping early from a logger ends the records, and not the training."""
    model, optimizer = _model()
    monitor = attach(model, optimizer=optimizer, store=run, schedule=every(1))
    monitor.on_record(lambda record: monitor.close() if record.step == 3 else None)
    _update(model, optimizer, 10)
    assert group(run, "diagnostics")["step"].values.tolist() == [0, 1, 2, 3]


def test_tasks_one_after_the_other(run: Path) -> None:
    """Values of several tasks that are told one by one at a step stand side by side."""
    model, optimizer = _model()
    with attach(model, optimizer=optimizer, store=run) as monitor:
        _update(model, optimizer)
        for task, value in (("a", 0.1), ("b", 0.2), ("caf\udce9", 0.3)):
            monitor.evaluation(success={task: value})
            monitor.step(loss={task: value})
    for found in (group(run, "evaluation")["success"], group(run, "training")["loss"]):
        assert found.values.tolist() == [[0.1, 0.2, 0.3]]
        assert list(found["task"].values) == ["a", "b", "caf\\udce9"]


def test_texts_of_any_kind(run: Path) -> None:
    """Whatever is told as an event becomes a text that can be stored."""
    model, optimizer = _model()
    with attach(model, optimizer=optimizer, store=run) as monitor:
        _update(model, optimizer)
        monitor.event("lr", 3e-4)  # type: ignore[arg-type]
        monitor.event("note", "cannot read caf\udce9.npy")
        monitor.event("pair", ("a", "b"))  # type: ignore[arg-type]
    told = ["0.0003", "cannot read caf\\udce9.npy", "('a', 'b')"]
    assert [str(text) for text in group(run, "events")["message"].values] == told


def test_numbers_are_stored_as_exactly_as_they_came(run: Path) -> None:
    """Counts of frames and sums of returns are more than single precision holds."""
    model, optimizer = _model()
    with attach(model, optimizer=optimizer, store=run) as monitor:
        _update(model, optimizer)
        monitor.step(frames=2**24 + 1, large=1e300)
    assert group(run, "training")["frames"].values.tolist() == [2**24 + 1]
    assert group(run, "training")["large"].values.tolist() == [1e300]


def test_stamps_that_no_record_can_carry(run: Path) -> None:
    """Refused where they are set, so that no record is lost."""
    model, optimizer = _model()
    with attach(model, optimizer=optimizer, store=run, schedule=every(1)) as monitor:
        for name in ("layer", "step", "a\0b", "z" * 300):
            with pytest.raises(ConfigurationError, match=r"name"):
                monitor.stamp(**{name: 3.0})
        monitor.stamp(env_step=5.0)
        _update(model, optimizer, 3)
    assert group(run, "diagnostics")["step"].values.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metadata": "baseline"}, r"metadata is 'baseline', where a mapping was expected"),
        ({"on_error": "x"}, r"on_error is 'x', where warn or raise was expected"),
        ({"store": None}, r"None was given, where the path or the URL of a run was expected"),
        ({"store": ""}, r"'' was given, where the path"),
        ({"store": "a\0b.zarr"}, r"where the path or the URL"),
    ],
)
def test_arguments_that_are_none(run: Path, options: dict[str, Any], message: str) -> None:
    """One clear error each, and nothing is left behind."""
    model, optimizer = _model()
    with pytest.raises(ConfigurationError, match=message):
        attach(model, optimizer=optimizer, **({"store": run} | options))
    assert not run.exists()


def test_a_folder_that_the_process_leaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path is that of where the process was when it attached."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    model, optimizer = _model()
    with attach(model, optimizer=optimizer, store="run.zarr", schedule=every(1)) as monitor:
        monkeypatch.chdir(tmp_path / "elsewhere")
        _update(model, optimizer, 3)
        assert monitor.is_open
    assert group(tmp_path / "run.zarr", "diagnostics")["step"].values.tolist() == [0, 1, 2]
    assert not list((tmp_path / "elsewhere").iterdir())
