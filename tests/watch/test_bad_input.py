"""What is wrong at ``attach`` is one clear error; nothing lies on disk and no hook is left."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from plastikit.errors import (
    ConfigurationError,
    NothingToWatchError,
    PlastikitError,
    StoreExistsError,
    UnknownNameError,
)
from plastikit.watch.attach import attach
from plastikit.watch.schedule import every


def _model() -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, 1))


def _lazy() -> nn.Sequential:
    return nn.Sequential(nn.LazyLinear(6), nn.ReLU())


CASES: dict[str, tuple[Any, dict[str, Any], type[PlastikitError], str]] = {
    "unknown probe": (_model(), {"probes": ["rnk"]}, UnknownNameError, r"unknown probe 'rnk'. Did you mean rank\?"),
    "unknown layer": (_model(), {"layers": ["hidden"]}, UnknownNameError, r"unknown layer 'hidden'. There is: 0, 1, 2"),
    "no activations": (nn.Linear(2, 2), {}, NothingToWatchError, r"no activation found in Linear.*layers="),
    "not a module": ([1, 2], {}, ConfigurationError, r"model is a list, where a torch module was expected"),
    "module in a mapping": ({"a": "b"}, {}, ConfigurationError, r"model is a str.*mapping of names to modules"),
    "no model": ({}, {}, NothingToWatchError, r"mapping of models is empty"),
    "optimizer of another": (
        _model(),
        {"optimizer": torch.optim.SGD(_model().parameters(), lr=0.1)},
        NothingToWatchError,
        r"updates no parameter of model; give the optimizer that was built",
    ),
    "no optimizer": (_model(), {"optimizer": "adam"}, ConfigurationError, r"optimizer is a str"),
    "no optimizers": (_model(), {"optimizer": [3]}, ConfigurationError, r"optimizer is a int"),
    "no schedule": (_model(), {"schedule": 100}, ConfigurationError, r"schedule is 100.*every\(100\)"),
    "metadata": (
        _model(),
        {"metadata": {"a": {"b": object()}}},
        ConfigurationError,
        r"metadata\['a'\]\['b'\] is a object",
    ),
    "lazy": (_lazy(), {}, ConfigurationError, r"parameter 0.weight has no shape yet; run one forward"),
}


@pytest.mark.parametrize("case", CASES)
def test_one_clear_error_and_nothing_left(case: str, tmp_path: Path) -> None:
    """The error names what was found and the next move; there is no store, and no hook on model or optimizer."""
    model, options, kind, message = CASES[case]
    optimizer = options.get("optimizer")
    if optimizer is None and isinstance(model, nn.Module) and case != "lazy":
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    arguments: dict[str, Any] = {"store": tmp_path / "run.zarr", "optimizer": optimizer} | options
    with pytest.raises(kind, match=message):
        attach(model, **arguments)
    assert list(tmp_path.iterdir()) == []
    if isinstance(model, nn.Module):
        assert not any(
            module._forward_hooks or module._forward_pre_hooks for module in model.modules() if case != "lazy"
        )
    if isinstance(optimizer, torch.optim.Optimizer):
        assert not optimizer._optimizer_step_pre_hooks


@pytest.mark.parametrize("interval", [0, -1])
def test_an_interval_below_one(interval: int) -> None:
    """Recording every 0 or -1 steps is refused before anything is attached."""
    with pytest.raises(ConfigurationError, match=rf"every\({interval}\) was asked for"):
        every(interval)


def test_a_store_that_exists_is_left_alone(tmp_path: Path) -> None:
    """A run, or whatever lies there, is not touched, and no hook is left on the model."""
    model = _model()
    taken = tmp_path / "run.zarr"
    taken.mkdir()
    (taken / "precious").write_text("data")
    with pytest.raises(StoreExistsError, match=r"exists already and is left untouched"):
        attach(model, store=taken)
    assert [file.read_text() for file in taken.iterdir()] == ["data"]
    assert not any(module._forward_hooks for module in model.modules())


def test_a_path_inside_a_file(tmp_path: Path) -> None:
    """A path that cannot be is a clear error."""
    (tmp_path / "file").write_text("")
    for path in ("file/run.zarr", "file/deeper/run.zarr"):
        with pytest.raises(ConfigurationError, match=r"file"):
            attach(_model(), store=tmp_path / path)


@pytest.mark.parametrize("step", ["a", 1.5, -1, True])
def test_a_step_is_a_whole_number(step: object, tmp_path: Path) -> None:
    """Anything else is refused at once, and nothing is written for it."""
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    with attach(model, store=tmp_path / "run.zarr") as monitor:
        with pytest.raises(ConfigurationError, match=r"step is .*whole number"):
            monitor.step(step, loss=1.0)
        model(torch.ones(3, 2)).sum().backward()
        monitor.step(loss=1.0)
