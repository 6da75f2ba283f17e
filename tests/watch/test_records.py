"""Whole records against a replay by hand: the features, parameters, gradients and updates of a due step."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from oracles import replay
from oracles.replay import Moment, assert_record
from oracles.runs import group
from plastikit.watch.attach import attach
from plastikit.watch.schedule import every

Build = Callable[[], nn.Sequential]


def _mlp() -> nn.Sequential:
    return nn.Sequential(nn.Linear(5, 12), nn.ReLU(), nn.LayerNorm(12), nn.Linear(12, 9), nn.Tanh(), nn.Linear(9, 1))


def _conv1d() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv1d(1, 6, 2), nn.BatchNorm1d(6), nn.ReLU(), nn.MaxPool1d(2), nn.Flatten(), nn.Linear(12, 7), nn.ReLU(),
        nn.Linear(7, 1),
    )  # fmt: skip


def _conv2d() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 4, 2, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 6, 2), nn.GELU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 1),
    )  # fmt: skip


SHAPES: dict[str, tuple[Build, tuple[int, ...], dict[str, int]]] = {
    "mlp": (_mlp, (5,), {"1": 1, "4": 1}),
    "conv1d": (_conv1d, (1, 5), {"2": 1, "6": 1}),
    "conv2d": (_conv2d, (1, 4, 4), {"2": 1, "4": 1}),
}
OPTIMIZERS: dict[str, Callable[[nn.Module], torch.optim.Optimizer]] = {
    "adam": lambda model: torch.optim.Adam(model.parameters(), lr=0.01),
    "momentum": lambda model: torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=0.1),
    "adamw_foreach": lambda model: torch.optim.AdamW(model.parameters(), lr=0.01, foreach=True),
    "adam_fused": lambda model: torch.optim.Adam(model.parameters(), lr=0.01, fused=True),
}


def _train(
    model: nn.Sequential,
    optimizer: torch.optim.Optimizer,
    shape: tuple[int, ...],
    axes: dict[str, int],
    *,
    is_watched_by_hand: bool,
    clip: float = 0.5,
) -> list[Moment]:
    """Six updates with clipped gradients; by hand every layer is called and copied in turn."""
    generator = torch.Generator().manual_seed(7)
    moments = []
    initial = replay.parameters(model)
    for _ in range(6):
        inputs = torch.randn(10, *shape, generator=generator)
        features = {}
        if is_watched_by_hand:
            output = inputs
            for name, module in model.named_children():
                output = module(output)
                if name in axes:
                    features[name] = replay.by_unit(output, axes[name])
        else:
            output = model(inputs)
        optimizer.zero_grad()
        (output - 1).square().mean().backward()
        nn.utils.clip_grad_norm_(model.parameters(), clip)
        moment = Moment("model", features=features, initial=initial, before=replay.parameters(model))
        moment.gradients = replay.gradients(model)
        optimizer.step()
        moment.after = replay.parameters(model)
        moments.append(moment)
    return moments


@pytest.mark.parametrize(
    ("shape", "kind"), [*(("mlp", kind) for kind in OPTIMIZERS), ("conv1d", "adam"), ("conv2d", "adam")]
)
def test_every_value_equals_the_replay(shape: str, kind: str, tmp_path: Path) -> None:
    """Each stored value at each due step is what a replay by hand of the same training gives."""
    build, size, axes = SHAPES[shape]
    torch.manual_seed(0)
    watched = build()
    torch.manual_seed(0)
    by_hand = build()
    optimizer = OPTIMIZERS[kind](watched)
    with attach(watched, optimizer=optimizer, store=tmp_path / "run.zarr", schedule=every(2)):
        _train(watched, optimizer, size, axes, is_watched_by_hand=False)
    moments = _train(by_hand, OPTIMIZERS[kind](by_hand), size, axes, is_watched_by_hand=True)
    run = group(tmp_path / "run.zarr", "diagnostics")
    assert run["step"].values.tolist() == [0, 2, 4]
    assert list(run["layer"].values) == list(axes)
    for step in (0, 2, 4):
        assert_record(run, step, {"model": moments[step]})


def test_without_an_optimizer(tmp_path: Path) -> None:
    """``Monitor.step`` after an update written by hand gives the same record as listening to the optimizer."""
    torch.manual_seed(0)
    watched, by_hand = _mlp(), _mlp()
    by_hand.load_state_dict(watched.state_dict())
    optimizer = torch.optim.SGD(watched.parameters(), lr=0.1)
    _, size, axes = SHAPES["mlp"]
    with attach(watched, store=tmp_path / "run.zarr", schedule=every(3)) as monitor:
        optimizer.register_step_post_hook(lambda *_: monitor.step())
        _train(watched, optimizer, size, axes, is_watched_by_hand=False)
    moments = _train(by_hand, torch.optim.SGD(by_hand.parameters(), lr=0.1), size, axes, is_watched_by_hand=True)
    run = group(tmp_path / "run.zarr", "diagnostics")
    assert run["step"].values.tolist() == [0, 3]
    for step in (0, 3):
        assert_record(run, step, {"model": moments[step]})


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_precisions(dtype: torch.dtype, tmp_path: Path) -> None:
    """A model in double or half precision is measured from the numbers that it holds."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1)).to(dtype)
    initial = replay.parameters(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    with attach(model, optimizer=optimizer, store=tmp_path / "run.zarr"):
        hidden = None

        def keep(_module: nn.Module, _inputs: object, output: torch.Tensor) -> None:
            nonlocal hidden
            hidden = output

        model[1].register_forward_hook(keep)
        model(torch.randn(6, 4).to(dtype)).square().mean().backward()
        assert hidden is not None
        moment = Moment("model", features={"1": replay.by_unit(hidden, 1)}, initial=initial, before=initial)
        moment.gradients = replay.gradients(model)
        optimizer.step()
        moment.after = replay.parameters(model)
    assert_record(group(tmp_path / "run.zarr", "diagnostics"), 0, {"model": moment})


def test_tied_weights_are_counted_once(tmp_path: Path) -> None:
    """A weight that two modules share appears under one name, and once in the network's norm."""
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    model[2].weight = model[0].weight
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    norm = model.get_parameter("0.weight").norm().item()
    with attach(model, optimizer=optimizer, store=tmp_path / "run.zarr"):
        model(torch.randn(3, 4)).sum().backward()
        optimizer.step()
    run = group(tmp_path / "run.zarr", "diagnostics")
    assert list(run["parameter"].values) == ["0.weight", "0.bias", "2.bias"]
    assert run["network_weight_norm"].values[0, 0] == pytest.approx(norm)


def test_normalisation_gains_are_no_weights(tmp_path: Path) -> None:
    """Gains, even of several dimensions, and every bias stay out of the network's weight norm."""
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.LayerNorm([2, 2, 2]), nn.ReLU(), nn.Flatten(), nn.LSTM(8, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with attach(model, optimizer=optimizer, store=tmp_path / "run.zarr", layers={"2": 1}):
        model(torch.randn(3, 1, 4, 4))[0].sum().backward()
        optimizer.step()
    run = group(tmp_path / "run.zarr", "diagnostics")
    kinds = dict(zip(run["parameter"].values, run["parameter_kind"].values, strict=True))
    assert kinds["1.weight"] == "gain"
    biases = {name for name, kind in kinds.items() if kind == "bias"}
    assert biases == {"0.bias", "1.bias", "4.bias_ih_l0", "4.bias_hh_l0"}
    weights = [name for name, kind in kinds.items() if kind == "weight"]
    squares = np.square(run["weight_norm"].sel(parameter=weights).values[0]).sum()
    assert run["network_weight_norm"].values[0, 0] == pytest.approx(np.sqrt(squares))


def test_values_that_are_not_finite_are_kept_as_they_are(tmp_path: Path) -> None:
    """A network that has diverged is recorded as such: NaN ranks and fractions, not zeros, and no error."""
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    with torch.no_grad():
        model.get_parameter("0.weight")[0, 0] = torch.inf
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with attach(model, optimizer=optimizer, store=tmp_path / "run.zarr"):
        model(torch.ones(4, 2)).sum().backward()
        optimizer.step()
    run = group(tmp_path / "run.zarr", "diagnostics").isel(step=0)
    assert np.isnan(run["srank"].values).all()
    assert np.isnan(run["dormant_fraction"].values).all()
    assert np.isinf(run["weight_norm"].sel(parameter="0.weight"))
    assert run["rank_ceiling"].values.tolist() == [3]


def test_what_is_known_of_records_does_not_grow(tmp_path: Path) -> None:
    """Cheap records and whole ones take turns without anything being kept for each."""
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with attach(model, optimizer=optimizer, store=tmp_path / "run.zarr", schedule=every(1, costly=3)) as monitor:
        for _ in range(30):
            model(torch.randn(5, 3)).square().mean().backward()
            optimizer.step()
        assert len(monitor._recorder._layouts) == 2
