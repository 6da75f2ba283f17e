"""Compiled models: seen as they were written, compiled as often as without a monitor, trained to the same bits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.utils import counters
from torch.nn import functional
from torch.optim import Optimizer

import plastikit
from plastikit import every
from zoo import models_dense as dense
from zoo.reckoning import Reckoning, assert_recorded, of_parameters, probes
from zoo.training import Training

COMPILED_VALUES = ("unit_gradient", "grama_dormant_fraction")


class Net(nn.Module):
    """Activations as a module and as a function."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.act, self.second, self.out = nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 6), nn.Linear(6, 1)

    def forward(self, given: Tensor) -> Tensor:
        """Called by torch."""
        return self.out(functional.silu(self.second(self.act(self.first(given)))))


def of_net(values: dense.Values, reckoning: Reckoning, given: Tensor) -> Tensor:
    """What ``Net`` computes."""
    hidden = reckoning.relu("act", dense.affine(values, "first", given))
    return dense.affine(values, "out", reckoning.silu("silu", dense.affine(values, "second", hidden)))


@dataclass
class Compiled(Training):
    """A model that is compiled as a whole, returned or in place."""

    is_in_place: bool = False
    options: Any = None
    called: Any = None
    graphs: int = 0

    def compile(self) -> None:
        """Now."""
        options = {"backend": "aot_eager", **(self.options or {})}
        if self.is_in_place:
            self.model.compile(**options)
            self.called = self.model
        else:
            self.called = torch.compile(self.model, **options)

    def forward(self, *inputs: Any) -> Tensor:
        """What was compiled."""
        return self.called(*inputs)


def _train(make: Callable[[], Compiled], path: Path | None, *, is_before: bool, steps: int) -> Compiled:
    torch._dynamo.reset()
    counters.clear()
    training = make()
    training.is_noting = path is not None
    if is_before:
        training.compile()
    monitor = None
    if path is not None:
        model = training.called if is_before else training.model
        monitor = plastikit.attach(model, optimizer=training.optimizers, store=path, schedule=every(2), probes=probes())
    if not is_before:
        training.compile()
    for number in range(steps):
        training.step(number)
    if monitor is not None:
        monitor.close()
    training.graphs = counters["stats"]["unique_graphs"]
    return training


def _check(make: Callable[[], Compiled], path: Path, *, is_before: bool = True, steps: int = 6, more: int = 0) -> None:
    alone = _train(make, None, is_before=is_before, steps=steps)
    watched = _train(make, path, is_before=is_before, steps=steps)
    state, expected = watched.state(), alone.state()
    # Running means that were moved for a look are written back, which torch counts as a write.
    assert {key for key, value in expected.items() if state[key] != value} <= {"versions"}
    assert list(watched.traces()) == []
    assert alone.graphs <= watched.graphs <= alone.graphs + more
    for step in range(0, steps, 2):
        moment = watched.moments[step]
        values = watched.reckon(moment).expected("model")
        values |= of_parameters(moment.before, moment.gradients, moment.after)
        for variable in COMPILED_VALUES:
            # No gradient of the features can be seen where a compiler made the backward pass.
            values.pop(variable)
        assert_recorded(path, step, values)


@pytest.mark.parametrize("is_before", [True, False], ids=["compiled before", "compiled after"])
@pytest.mark.parametrize("is_in_place", [True, False], ids=["in place", "returned"])
def test_compiled_as_a_whole(is_before: bool, is_in_place: bool, tmp_path: Path) -> None:
    """The records are those of the network, and nothing is compiled for them."""
    # As one graph or as many as it takes; each of them once before and once after.
    is_full = is_before is is_in_place
    _check(
        lambda: Compiled(Net, dense.rows, of_net, is_in_place=is_in_place, options={"fullgraph": is_full}),
        tmp_path / "run.zarr",
        is_before=is_before,
    )


def test_compiled_by_default(tmp_path: Path) -> None:
    """The same with the compiler that everybody uses."""
    _check(lambda: Compiled(Net, dense.rows, of_net, options={"backend": "inductor"}), tmp_path / "run.zarr", steps=4)


def test_dropout_and_batch_norm(tmp_path: Path) -> None:
    """What is shown draws no random number and moves no running mean, so the compiled run finds all as it was."""

    def build() -> nn.Module:
        return nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(0.3), nn.Linear(6, 1))

    def oracle(values: dense.Values, reckoning: Reckoning, given: Tensor) -> Tensor:
        hidden = dense.affine(values, "0", given)
        centred = hidden - hidden.mean(dim=0)
        scaled = centred / (centred.square().mean(dim=0) + 1e-5).sqrt() * values["1.weight"] + values["1.bias"]
        return dense.affine(values, "4", reckoning.drop(reckoning.relu("2", scaled), 0.3))

    _check(lambda: Compiled(build, dense.rows, oracle), tmp_path / "run.zarr", steps=6)


class Parts(nn.Module):
    """Eager, with a compiled module inside."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = torch.compile(nn.Sequential(nn.Linear(5, 6), nn.ReLU()), backend="aot_eager")
        self.out = nn.Linear(6, 1)

    def forward(self, given: Tensor) -> Tensor:
        """Called by torch."""
        return self.out(functional.gelu(self.inner(given) * 2))


@dataclass
class Inside(Compiled):
    """Nothing more is compiled from outside."""

    def compile(self) -> None:
        """It is, where it is built."""
        self.called = self.model


def test_a_compiled_part_of_an_eager_model(tmp_path: Path) -> None:
    """Layers inside the compiled part are seen by their names without what wraps it, those outside as ever."""

    def oracle(values: dense.Values, reckoning: Reckoning, given: Tensor) -> Tensor:
        values = {name.replace("_orig_mod.", ""): tensor for name, tensor in values.items()}
        hidden = reckoning.relu("inner.1", dense.affine(values, "inner.0", given))
        return dense.affine(values, "out", reckoning.gelu("gelu", hidden * 2))

    alone = _train(lambda: Inside(Parts, dense.rows, oracle), None, is_before=True, steps=6)
    watched = _train(lambda: Inside(Parts, dense.rows, oracle), tmp_path / "run.zarr", is_before=True, steps=6)
    assert alone.state() == watched.state()
    assert watched.graphs == alone.graphs
    assert list(watched.traces()) == []
    run = plastikit.open_run(tmp_path / "run.zarr")["diagnostics"]
    reckoned = watched.reckon(watched.moments[4]).expected("model")
    for label, values in reckoned["unit_activation"].items():
        here = run["unit_layer"].values == list(run["layer"].values).index(label)
        torch.testing.assert_close(
            torch.tensor(run["unit_activation"].sel(step=4).values[here]).double(),
            torch.tensor(values).double(),
            rtol=1e-5,
            atol=1e-6,
        )
    gradients = run["unit_gradient"].sel(step=4).values
    assert bool((gradients[run["unit_layer"].values == list(run["layer"].values).index("gelu")] > 0).all())


class Calls(nn.Module):
    """Eager, with a compiled function that its forward calls."""

    def __init__(self) -> None:
        super().__init__()
        self.into, self.out = nn.Linear(5, 6), nn.Linear(6, 1)
        self.function = torch.compile(lambda given: functional.relu(given) + 1, backend="aot_eager", fullgraph=True)

    def forward(self, given: Tensor) -> Tensor:
        """Called by torch."""
        return self.out(torch.tanh(self.function(self.into(given))))


def test_a_compiled_function_inside_an_eager_model(tmp_path: Path) -> None:
    """It is compiled once more at most; what goes on inside is not seen, and what is outside is."""
    make = lambda: Inside(Calls, dense.rows, of_net)  # noqa: E731
    alone = _train(make, None, is_before=True, steps=6)
    watched = _train(make, tmp_path / "run.zarr", is_before=True, steps=6)
    assert alone.state() == watched.state()
    assert watched.graphs <= alone.graphs + 1
    assert list(plastikit.open_run(tmp_path / "run.zarr")["diagnostics"]["layer"].values) == ["tanh"]


def test_a_compiled_step_of_training(tmp_path: Path) -> None:
    """A whole loss that is compiled as a function is told not to be seen, and trains to the same bits."""
    found = []
    for is_watched in (False, True):
        torch._dynamo.reset()
        training = Training(Net, dense.rows, of_net)
        loss = torch.compile(lambda given, model=training.model: model(given).square().mean(), backend="aot_eager")
        optimizer: Optimizer = training.optimizers[0]
        monitor = None
        if is_watched:
            monitor = plastikit.attach(
                training.model, optimizer=optimizer, store=tmp_path / "run.zarr", schedule=every(2)
            )
        for _ in range(6):
            optimizer.zero_grad()
            loss(torch.randn(12, 5)).backward()
            optimizer.step()
        if monitor is not None:
            with pytest.warns(UserWarning, match="."):
                monitor.close()
        found.append(training.state())
    assert found[0] == found[1]
    assert list(training.traces()) == []
