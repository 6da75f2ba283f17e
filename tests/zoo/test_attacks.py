"""What users do to a model in the middle of a watched step: the record is right all the same, or says what it lacks."""

from __future__ import annotations

import copy
import io
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import plastikit
from plastikit import every
from zoo.reckoning import probes
from zoo.small import Small, assert_features, batch, recorded, step, watched
from zoo.training import traces_in_torch


@pytest.fixture(autouse=True)
def torch_as_it_came() -> Iterator[None]:
    """Whatever happens, torch is as it was afterwards."""
    yield
    assert list(traces_in_torch()) == []


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_forward_that_does_not_end(error: type[BaseException], tmp_path: Path) -> None:
    """After an error, or an interrupt as in a notebook, the next forward begins anew."""

    def between(model: Small, hidden: Tensor) -> Tensor:
        if model.is_failing:
            raise error
        return hidden

    model = Small(between)
    monitor, optimizer = watched(model, tmp_path / "run.zarr")
    with monitor:
        for number in range(3):
            model.is_failing = True
            with pytest.raises(error):
                model(batch(number + 50))
            with torch.no_grad():
                model.is_failing = False
                model(batch(number + 70))
            features = step(model, optimizer, batch(number))
            model.is_failing = False
    assert_features(tmp_path / "run.zarr", 2, "tanh", features)
    layers = plastikit.open_run(tmp_path / "run.zarr")["diagnostics"]["layer"].values
    assert set(layers) == {"act", "tanh"}


def test_an_interrupt_before_the_end(tmp_path: Path) -> None:
    """A run that is interrupted inside a forward leaves nothing behind."""

    def between(_model: Small, _hidden: Tensor) -> Tensor:
        raise KeyboardInterrupt

    model = Small(between)
    monitor, _ = watched(model, tmp_path / "run.zarr")
    with pytest.raises(KeyboardInterrupt), monitor:
        model(batch(0))
    assert not model.act._forward_hooks


def test_another_thread_evaluates_in_the_middle(tmp_path: Path) -> None:
    """A forward of another thread is none of the training, and does not get mixed up with it."""

    def between(model: Small, hidden: Tensor) -> Tensor:
        if threading.current_thread() is not threading.main_thread() or not torch.is_grad_enabled():
            return hidden

        def evaluate() -> None:
            with torch.no_grad():
                model(batch(99)[:3])

        thread = threading.Thread(target=evaluate)
        thread.start()
        thread.join()
        return hidden

    model = Small(between)
    monitor, optimizer = watched(model, tmp_path / "run.zarr")
    with monitor:
        for number in range(3):
            features = step(model, optimizer, batch(number))
    assert_features(tmp_path / "run.zarr", 2, "tanh", features)
    assert set(plastikit.open_run(tmp_path / "run.zarr")["diagnostics"]["layer"].values) == {"act", "tanh"}


def test_copies_are_made_in_the_middle(tmp_path: Path) -> None:
    """A copy, also one that was saved and loaded, is a model of its own that is not watched."""
    copies: list[Any] = []

    def between(model: Small, hidden: Tensor) -> Tensor:
        if torch.is_grad_enabled() and not copies:
            kept, model.between = model.between, None
            copies.append(copy.deepcopy(model))
            copies.append(torch.load(_saved(model), weights_only=False))
            model.between = copies[0].between = copies[1].between = kept
        return hidden

    model = Small(between)
    monitor, optimizer = watched(model, tmp_path / "run.zarr")
    with monitor:
        for number in range(3):
            features = model.features(batch(number)).detach()
            optimizer.zero_grad()
            model(batch(number)).square().mean().backward()
            for each in copies:
                each(batch(80) * 9).sum().backward()
            optimizer.step()
    assert_features(tmp_path / "run.zarr", 2, "tanh", features)


def _saved(model: nn.Module) -> io.BytesIO:
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return file


def test_hooks_of_the_user(tmp_path: Path) -> None:
    """Where a hook of the user's replaces an output, the replacement is what counts; theirs stay when ours go."""
    model = Small()
    handle = model.act.register_forward_hook(lambda _module, _args, output: output * 3)
    monitor, optimizer = watched(model, tmp_path / "run.zarr")
    with monitor:
        features = torch.relu(model.first(batch(0))) * 3
        model(batch(0)).sum().backward()
        optimizer.step()
    assert_features(tmp_path / "run.zarr", 0, "act", features)
    assert list(model.act._forward_hooks) == [handle.id]


def test_written_into_after_the_forward(tmp_path: Path) -> None:
    """What was overwritten before it could be read is missing, and said to be."""
    kept = []

    def between(_model: Small, hidden: Tensor) -> Tensor:
        kept.append(hidden)
        return hidden.clone()

    model = Small(between)
    monitor, optimizer = watched(model, tmp_path / "run.zarr", probes=["dormancy"])
    with monitor:
        model(batch(0)).sum().backward()
        with torch.no_grad():
            torch._foreach_mul_([kept[0]], 2.0)
        with pytest.warns(UserWarning, match="layer act was written into"):
            optimizer.step()
    diagnostics = plastikit.open_run(tmp_path / "run.zarr")["diagnostics"]
    assert list(diagnostics["layer"].values) == ["tanh"]
    assert "network_dormant_fraction" not in diagnostics


@pytest.mark.parametrize(
    "write",
    [
        lambda hidden: hidden.data.mul_(0.0),
        lambda hidden: hidden[:, :2].zero_(),
        lambda hidden: hidden.view(-1).__setitem__(slice(0, 5), 7.0),
        lambda hidden: torch._foreach_mul_([hidden], 0.0),
        lambda hidden: torch.add(hidden.detach(), 1.0, out=hidden.detach()),
        lambda hidden: functional.relu_(hidden.sub_(1.0)),
    ],
    ids=["data", "a part", "a view", "many at once", "out", "twice"],
)
def test_written_into_inside_the_forward(write: Callable[[Tensor], object], tmp_path: Path) -> None:
    """However a layer's output is written into, it is recorded as it was put out, or not at all."""

    def between(_model: Small, hidden: Tensor) -> Tensor:
        changed = hidden.detach() * 1.0
        write(hidden.detach())
        return changed

    model = Small(between)
    monitor, optimizer = watched(model, tmp_path / "run.zarr", probes=["dormancy"])
    features = torch.relu(model.first(batch(0))).detach()
    with monitor:
        model(batch(0)).sum().backward()
        optimizer.step()
    labels = plastikit.open_run(tmp_path / "run.zarr")["diagnostics"]["layer"].values
    if "act" in labels:
        assert_features(tmp_path / "run.zarr", 0, "act", features)


def test_half_a_forward_is_none(tmp_path: Path) -> None:
    """An update after a forward that failed is recorded without features; one that returns nothing is seen."""

    def between(model: Small, hidden: Tensor) -> Tensor:
        if model.is_failing:
            raise RuntimeError
        return hidden

    class Silent(Small):
        def forward(self, given: Tensor) -> Any:
            self.answer = super().forward(given)

    model = Silent(between)
    model.is_failing = True
    monitor, optimizer = watched(model, tmp_path / "run.zarr")
    with monitor:
        with pytest.raises(RuntimeError):
            model(batch(0))
        with pytest.warns(UserWarning, match="without a forward"):
            optimizer.step()
        model.is_failing = False
        features = model.features(batch(1))
        try:
            raise KeyError  # noqa: TRY301  a forward inside the handling of an error has not failed
        except KeyError:
            model(batch(1))
        model.answer.sum().backward()
        optimizer.step()
    assert np.isnan(recorded(tmp_path / "run.zarr", 0, "tanh")["unit_activation"]).all()
    assert_features(tmp_path / "run.zarr", 1, "tanh", features)


def test_attached_again(tmp_path: Path) -> None:
    """A cell of a notebook that is run again watches once: the first run is closed, and keeps what it has."""
    model = Small()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    options = {"optimizer": optimizer, "schedule": every(1), "probes": probes()}
    first = plastikit.attach(model, store=tmp_path / "first.zarr", **options)
    model(batch(0)).sum().backward()
    optimizer.step()
    second = plastikit.attach(model, store=tmp_path / "second.zarr", **options)
    assert len(optimizer._optimizer_step_pre_hooks) == 1
    assert len(model.act._forward_hooks) == 1
    features = model.features(batch(1))
    model(batch(1)).sum().backward()
    optimizer.step()
    first.close()
    second.close()
    assert plastikit.open_run(tmp_path / "first.zarr")["diagnostics"].sizes["step"] == 1
    assert_features(tmp_path / "second.zarr", 0, "tanh", features)
    assert not optimizer._optimizer_step_pre_hooks
    assert not model.act._forward_hooks
