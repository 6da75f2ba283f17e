"""Forwards written in unusual ways: units are told from samples, and the forward that counts from others."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import plastikit
from plastikit.errors import ConfigurationError
from zoo.small import Small, assert_features, batch, recorded, watched
from zoo.training import traces_in_torch


@pytest.fixture(autouse=True)
def torch_as_it_came() -> Iterator[None]:
    """Whatever happens, torch is as it was afterwards."""
    yield
    assert list(traces_in_torch()) == []


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
    monitor, optimizer = watched(model, tmp_path / "run.zarr")
    with monitor:
        for _ in range(2):
            given = torch.randn(4, 2, 5, 5)
            model.encode(given * 5)
            features = torch.relu(model.conv(given)).movedim(1, -1).reshape(-1, 3)
            optimizer.zero_grad()
            model(given).sum().backward()
            optimizer.step()
    assert_features(tmp_path / "run.zarr", 1, "act", features)


def test_a_penalty_on_the_slope(tmp_path: Path) -> None:
    """With a backward inside the loss, the gradients of the features are those of the backward for the update."""
    model = Small()
    monitor, optimizer = watched(model, tmp_path / "run.zarr")
    twin = copy.deepcopy(model).double()
    with monitor:
        for network, given in ((model, batch(0)), (twin, batch(0).double())):
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
    found = recorded(tmp_path / "run.zarr", 0, "act")["unit_gradient"].values
    np.testing.assert_allclose(found, hidden.grad.abs().mean(dim=0).numpy(), rtol=1e-5)


def test_two_forwards_in_one_loss(tmp_path: Path) -> None:
    """The last one counts, with its own share of the gradient."""
    model = Small()
    monitor, optimizer = watched(model, tmp_path / "run.zarr")
    twin = copy.deepcopy(model)
    with monitor:
        (model(batch(0)).mean() - model(batch(1)).mean()).square().backward()
        optimizer.step()
    hidden = torch.relu(twin.first(batch(1)))
    hidden.retain_grad()
    (twin(batch(0)).mean() - twin.out(torch.tanh(hidden)).mean()).square().backward()
    assert_features(tmp_path / "run.zarr", 0, "act", hidden)
    found = recorded(tmp_path / "run.zarr", 0, "act")["unit_gradient"].values
    np.testing.assert_allclose(found, hidden.grad.abs().mean(dim=0).numpy(), rtol=1e-5)


def test_a_model_that_calls_itself(tmp_path: Path) -> None:
    """Each round of a recursion is a layer of its own."""

    def between(model: Small, hidden: Tensor) -> Tensor:
        if len(hidden) == 12:
            model(batch(5)[:4])
        return hidden

    model = Small(between)
    monitor, optimizer = watched(model, tmp_path / "run.zarr")
    inner, outer = (torch.relu(model.first(given)).detach() for given in (batch(5)[:4], batch(0)))
    with monitor:
        model(batch(0)).sum().backward()
        optimizer.step()
    assert_features(tmp_path / "run.zarr", 0, "act", outer)
    assert_features(tmp_path / "run.zarr", 0, "act#2", inner)


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
    monitor, optimizer = watched(model, tmp_path / "run.zarr", probes=["dormancy"])
    features = torch.relu(batch(0) @ model.weight.T)
    with monitor:
        model(batch(0)).sum().backward()
        optimizer.step()
    diagnostics = plastikit.open_run(tmp_path / "run.zarr")["diagnostics"]
    if "unit_activation" in diagnostics:
        assert_features(tmp_path / "run.zarr", 0, "relu", features)


def test_torch_script_is_refused(tmp_path: Path) -> None:
    """Nothing can be seen inside a scripted part, and an attach says so at once."""
    model = nn.Sequential(torch.jit.script(nn.Sequential(nn.Linear(5, 4), nn.ReLU())), nn.Linear(4, 1))
    with pytest.raises(ConfigurationError, match=r"^0 was compiled by torch.jit"):
        watched(model, tmp_path / "run.zarr")


@pytest.mark.filterwarnings("error::UserWarning")
def test_one_number_for_each_sample_is_no_layer(tmp_path: Path) -> None:
    """A probability for each sample, without an axis of units, is left out and said to be."""
    model = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 1), nn.Flatten(0), nn.Sigmoid())
    monitor, optimizer = watched(model, tmp_path / "run.zarr")
    with monitor:
        model(batch(0)).sum().backward()
        optimizer.step()
        assert monitor.layers["4"] == "not watched: it puts out one number for each sample"
    assert list(plastikit.open_run(tmp_path / "run.zarr")["diagnostics"]["layer"].values) == ["1"]


def test_a_forward_that_is_no_call(tmp_path: Path) -> None:
    """Where ``forward`` is called by its name, modules are seen and functions are not; what is recorded is right."""
    model = Small()
    monitor, optimizer = watched(model, tmp_path / "run.zarr")
    with monitor:
        features = torch.relu(model.first(batch(0)))
        model.forward(batch(0)).sum().backward()
        optimizer.step()
    assert_features(tmp_path / "run.zarr", 0, "act", features)
