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
import xarray as xr
from torch import Tensor, nn
from torch.nn import functional

import plastikit
from plastikit import every
from zoo.reckoning import probes
from zoo.training import traces_in_torch


class Small(nn.Module):
    """Something may happen in the middle of its forward."""

    is_failing: Any = False

    def __init__(self, between: Any = lambda _model, hidden: hidden) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.act, self.out = nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 1)
        self.between = between

    def forward(self, given: Tensor) -> Tensor:
        """Called by torch."""
        return self.out(torch.tanh(self.between(self, self.act(self.first(given)))))

    def features(self, given: Tensor) -> Tensor:
        """What goes into the head."""
        return torch.tanh(torch.relu(self.first(given)))


@pytest.fixture(autouse=True)
def torch_as_it_came() -> Iterator[None]:
    """Whatever happens, torch is as it was afterwards."""
    yield
    assert list(traces_in_torch()) == []


def _batch(number: int) -> Tensor:
    return torch.randn(12, 5, generator=torch.Generator().manual_seed(number))


def _recorded(path: Path, step: int, label: str) -> xr.Dataset:
    diagnostics = plastikit.open_run(path)["diagnostics"].to_dataset().load().sel(step=step)
    position = list(diagnostics["layer"].values).index(label)
    return diagnostics.isel(unit=np.flatnonzero(diagnostics["unit_layer"].values == position))


def _assert_features(path: Path, step: int, label: str, features: Tensor) -> None:
    found = _recorded(path, step, label)["unit_activation"].values
    np.testing.assert_allclose(found, features.detach().abs().mean(dim=0).numpy(), rtol=1e-5, err_msg=label)


def _watched(model: nn.Module, path: Path, **options: Any) -> tuple[plastikit.Monitor, torch.optim.Optimizer]:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    options = {"schedule": every(1), "probes": probes()} | options
    return plastikit.attach(model, optimizer=optimizer, store=path, **options), optimizer


def _step(model: nn.Module, optimizer: torch.optim.Optimizer, given: Tensor) -> Tensor:
    """One update; the features that the head was given before it."""
    features = model.features(given).detach()
    optimizer.zero_grad()
    model(given).square().mean().backward()
    optimizer.step()
    return features


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_forward_that_does_not_end(error: type[BaseException], tmp_path: Path) -> None:
    """After an error, or an interrupt as in a notebook, the next forward begins anew."""

    def between(model: Small, hidden: Tensor) -> Tensor:
        if model.is_failing:
            raise error
        return hidden

    model = Small(between)
    monitor, optimizer = _watched(model, tmp_path / "run.zarr")
    with monitor:
        for number in range(3):
            model.is_failing = True
            with pytest.raises(error):
                model(_batch(number + 50))
            with torch.no_grad():
                model.is_failing = False
                model(_batch(number + 70))
            features = _step(model, optimizer, _batch(number))
            model.is_failing = False
    _assert_features(tmp_path / "run.zarr", 2, "tanh", features)
    layers = plastikit.open_run(tmp_path / "run.zarr")["diagnostics"]["layer"].values
    assert set(layers) == {"act", "tanh"}


def test_an_interrupt_before_the_end(tmp_path: Path) -> None:
    """A run that is interrupted inside a forward leaves nothing behind."""

    def between(_model: Small, _hidden: Tensor) -> Tensor:
        raise KeyboardInterrupt

    model = Small(between)
    monitor, _ = _watched(model, tmp_path / "run.zarr")
    with pytest.raises(KeyboardInterrupt), monitor:
        model(_batch(0))
    assert not model.act._forward_hooks


def test_another_thread_evaluates_in_the_middle(tmp_path: Path) -> None:
    """A forward of another thread is none of the training, and does not get mixed up with it."""

    def between(model: Small, hidden: Tensor) -> Tensor:
        if threading.current_thread() is not threading.main_thread() or not torch.is_grad_enabled():
            return hidden

        def evaluate() -> None:
            with torch.no_grad():
                model(_batch(99)[:3])

        thread = threading.Thread(target=evaluate)
        thread.start()
        thread.join()
        return hidden

    model = Small(between)
    monitor, optimizer = _watched(model, tmp_path / "run.zarr")
    with monitor:
        for number in range(3):
            features = _step(model, optimizer, _batch(number))
    _assert_features(tmp_path / "run.zarr", 2, "tanh", features)
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
    monitor, optimizer = _watched(model, tmp_path / "run.zarr")
    with monitor:
        for number in range(3):
            features = model.features(_batch(number)).detach()
            optimizer.zero_grad()
            model(_batch(number)).square().mean().backward()
            for each in copies:
                each(_batch(80) * 9).sum().backward()
            optimizer.step()
    _assert_features(tmp_path / "run.zarr", 2, "tanh", features)


def _saved(model: nn.Module) -> io.BytesIO:
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return file


def test_hooks_of_the_user(tmp_path: Path) -> None:
    """Where a hook of the user's replaces an output, the replacement is what counts; theirs stay when ours go."""
    model = Small()
    handle = model.act.register_forward_hook(lambda _module, _args, output: output * 3)
    monitor, optimizer = _watched(model, tmp_path / "run.zarr")
    with monitor:
        features = torch.relu(model.first(_batch(0))) * 3
        model(_batch(0)).sum().backward()
        optimizer.step()
    _assert_features(tmp_path / "run.zarr", 0, "act", features)
    assert list(model.act._forward_hooks) == [handle.id]


def test_written_into_after_the_forward(tmp_path: Path) -> None:
    """What was overwritten before it could be read is missing, and said to be."""
    kept = []

    def between(_model: Small, hidden: Tensor) -> Tensor:
        kept.append(hidden)
        return hidden.clone()

    model = Small(between)
    monitor, optimizer = _watched(model, tmp_path / "run.zarr", probes=["dormancy"])
    with monitor:
        model(_batch(0)).sum().backward()
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
    monitor, optimizer = _watched(model, tmp_path / "run.zarr", probes=["dormancy"])
    features = torch.relu(model.first(_batch(0))).detach()
    with monitor:
        model(_batch(0)).sum().backward()
        optimizer.step()
    labels = plastikit.open_run(tmp_path / "run.zarr")["diagnostics"]["layer"].values
    if "act" in labels:
        _assert_features(tmp_path / "run.zarr", 0, "act", features)


def test_a_part_of_an_image_network_alone(tmp_path: Path) -> None:
    """Parts that are called before the whole, by a method of the model's, neither stop the training nor count."""

    class Images(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.conv, self.act, self.out = nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Linear(27, 1)

        def encode(self, given: Tensor) -> Tensor:
            return self.act(self.conv(given)).flatten(1)

        def forward(self, given: Tensor) -> Tensor:
            return self.out(self.encode(given))

    model = Images()
    monitor, optimizer = _watched(model, tmp_path / "run.zarr")
    with monitor:
        for _ in range(2):
            given = torch.randn(4, 2, 5, 5)
            model.encode(given * 5)
            features = torch.relu(model.conv(given)).movedim(1, -1).reshape(-1, 3)
            optimizer.zero_grad()
            model(given).sum().backward()
            optimizer.step()
    _assert_features(tmp_path / "run.zarr", 1, "act", features)


def test_a_penalty_on_the_slope(tmp_path: Path) -> None:
    """With a backward inside the loss, the gradients of the features are those of the backward for the update."""
    model = Small()
    monitor, optimizer = _watched(model, tmp_path / "run.zarr")
    twin = copy.deepcopy(model).double()
    with monitor:
        for network, given in ((model, _batch(0)), (twin, _batch(0).double())):
            given.requires_grad_()
            if network is twin:
                hidden = torch.relu(twin.first(given))
                hidden.retain_grad()
                output = twin.out(torch.tanh(hidden))
            else:
                output = model(given)
            (slope,) = torch.autograd.grad(output.sum(), given, create_graph=True)
            loss = output.square().mean() + slope.square().sum()
            if network is twin:
                hidden.grad = None
            loss.backward()
        optimizer.step()
    found = _recorded(tmp_path / "run.zarr", 0, "act")["unit_gradient"].values
    np.testing.assert_allclose(found, hidden.grad.abs().mean(dim=0).numpy(), rtol=1e-5)


def test_two_forwards_in_one_loss(tmp_path: Path) -> None:
    """The last one counts, with its own share of the gradient."""
    model = Small()
    monitor, optimizer = _watched(model, tmp_path / "run.zarr")
    twin = copy.deepcopy(model)
    with monitor:
        (model(_batch(0)).mean() - model(_batch(1)).mean()).square().backward()
        optimizer.step()
    hidden = torch.relu(twin.first(_batch(1)))
    hidden.retain_grad()
    (twin(_batch(0)).mean() - twin.out(torch.tanh(hidden)).mean()).square().backward()
    _assert_features(tmp_path / "run.zarr", 0, "act", hidden)
    found = _recorded(tmp_path / "run.zarr", 0, "act")["unit_gradient"].values
    np.testing.assert_allclose(found, hidden.grad.abs().mean(dim=0).numpy(), rtol=1e-5)


def test_a_model_that_calls_itself(tmp_path: Path) -> None:
    """Each round of a recursion is a layer of its own."""

    def between(model: Small, hidden: Tensor) -> Tensor:
        if len(hidden) == 12:
            model(_batch(5)[:4])
        return hidden

    model = Small(between)
    monitor, optimizer = _watched(model, tmp_path / "run.zarr")
    inner, outer = (torch.relu(model.first(given)).detach() for given in (_batch(5)[:4], _batch(0)))
    with monitor:
        model(_batch(0)).sum().backward()
        optimizer.step()
    _assert_features(tmp_path / "run.zarr", 0, "act", outer)
    _assert_features(tmp_path / "run.zarr", 0, "act#2", inner)


class Products(nn.Module):
    """Matrices multiplied in some way; the result is squashed and read."""

    def __init__(self, product: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.weight, self.product = nn.Parameter(torch.randn(6, 5)), product
        self.out = nn.Linear(1, 1)

    def forward(self, given: Tensor) -> Tensor:
        """Called by torch."""
        return self.out(torch.relu(self.product(self.weight, given)).reshape(-1, 1))


@pytest.mark.parametrize(
    "product",
    [
        lambda weight, given: weight @ given.T,
        lambda weight, given: torch.mm(weight, given.mT),
        functional.linear,
        lambda weight, given: torch.einsum("oi,bi->ob", weight, given),
        lambda weight, given: torch.einsum("bi,ci", weight, given),
        lambda weight, given: torch.einsum("oi,...i->o...", weight, given),
        lambda weight, given: torch.einsum(weight, [0, 1], given, [2, 1], [0, 2]),
        lambda weight, given: (given @ weight.T).T,
        lambda weight, given: (given @ weight.T).H,
        lambda weight, given: torch.addmm(torch.zeros(6, 1), weight, given.T),
        lambda weight, given: (given @ weight.T).transpose(dim0=0, dim1=1),
        lambda weight, given: (given @ weight.T).permute(dims=(1, 0)),
        lambda weight, given: torch.tensordot(weight, given, ([1], [1])),
        lambda weight, given: torch.stack([given @ row for row in weight]),
        lambda weight, given: torch.matmul(input=weight, other=given.T),
    ],
)
def test_units_first(product: Callable[[Tensor, Tensor], Tensor], tmp_path: Path) -> None:
    """Where a forward computes units by samples, the units are told from the weights, or the layer is left out."""
    model = Products(product)
    monitor, optimizer = _watched(model, tmp_path / "run.zarr", probes=["dormancy"])
    features = torch.relu(_batch(0) @ model.weight.T)
    with monitor:
        model(_batch(0)).sum().backward()
        optimizer.step()
    diagnostics = plastikit.open_run(tmp_path / "run.zarr")["diagnostics"]
    if "unit_activation" in diagnostics:
        _assert_features(tmp_path / "run.zarr", 0, "relu", features)


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
    monitor, optimizer = _watched(model, tmp_path / "run.zarr")
    with monitor:
        with pytest.raises(RuntimeError):
            model(_batch(0))
        with pytest.warns(UserWarning, match="without a forward"):
            optimizer.step()
        model.is_failing = False
        features = model.features(_batch(1))
        try:
            raise KeyError  # noqa: TRY301  a forward inside the handling of an error has not failed
        except KeyError:
            model(_batch(1))
        model.answer.sum().backward()
        optimizer.step()
    assert np.isnan(_recorded(tmp_path / "run.zarr", 0, "tanh")["unit_activation"]).all()
    _assert_features(tmp_path / "run.zarr", 1, "tanh", features)


def test_attached_again(tmp_path: Path) -> None:
    """A cell of a notebook that is run again watches once: the first run is closed, and keeps what it has."""
    model = Small()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    options = {"optimizer": optimizer, "schedule": every(1), "probes": probes()}
    first = plastikit.attach(model, store=tmp_path / "first.zarr", **options)
    model(_batch(0)).sum().backward()
    optimizer.step()
    second = plastikit.attach(model, store=tmp_path / "second.zarr", **options)
    assert len(optimizer._optimizer_step_pre_hooks) == 1
    assert len(model.act._forward_hooks) == 1
    features = model.features(_batch(1))
    model(_batch(1)).sum().backward()
    optimizer.step()
    first.close()
    second.close()
    assert plastikit.open_run(tmp_path / "first.zarr")["diagnostics"].sizes["step"] == 1
    _assert_features(tmp_path / "second.zarr", 0, "tanh", features)
    assert not optimizer._optimizer_step_pre_hooks
    assert not model.act._forward_hooks
