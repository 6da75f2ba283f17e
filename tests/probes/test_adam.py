"""What is read from Adam's memory is what the paper's formulas give from the same gradients."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.optim import Optimizer

from oracles import adam as oracle
from plastikit.probes import AdamMoments, adam_update_rms, second_moment_root, small_second_moment_fraction
from plastikit.watch.probe import Capture, Probe


def _gradients(count: int, shape: tuple[int, ...] = (5, 7)) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    # The first row had a large gradient once, the last never any.
    scale = torch.ones(shape)
    scale[-1] = 0
    rows = [scale * torch.randn(shape, generator=generator) for _ in range(count)]
    rows[0][0] *= 100
    return rows


def _trained(kind: type[Optimizer], gradients: list[Tensor], **settings: Any) -> tuple[Capture, torch.nn.Parameter]:
    parameter = torch.nn.Parameter(torch.randn(gradients[0].shape, generator=torch.Generator().manual_seed(1)))
    optimizer = kind([parameter], **settings)
    for gradient in gradients:
        parameter.grad = gradient.clone()
        optimizer.step()
    group = {key: value for key, value in optimizer.param_groups[0].items() if key != "params"}
    return Capture(network="n", optimizer_state={"w": optimizer.state[parameter]}, settings={"w": group}), parameter


@pytest.mark.parametrize("steps", [1, 2, 30])
@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (torch.optim.Adam, {}),
        (torch.optim.Adam, {"amsgrad": True}),
        (torch.optim.Adam, {"fused": True}),
        (torch.optim.Adam, {"fused": True, "amsgrad": True}),
        (torch.optim.Adam, {"foreach": True, "betas": (0.5, 0.9), "eps": 1e-3}),
        (torch.optim.Adam, {"lr": torch.tensor(0.01)}),
        (torch.optim.AdamW, {"weight_decay": 0.1}),
        (torch.optim.NAdam, {}),
        (torch.optim.RAdam, {}),
    ],
)
def test_agrees_with_the_paper(kind: type[Optimizer], settings: dict[str, Any], steps: int) -> None:
    """Each variant of torch's Adam, from its first step on."""
    gradients = _gradients(steps)
    capture, _ = _trained(kind, gradients, **settings)
    betas, epsilon = settings.get("betas", (0.9, 0.999)), settings.get("eps", 1e-8)
    exact = [gradient.double().numpy() for gradient in gradients]
    first, roots = oracle.moments(exact, betas, amsgrad=settings.get("amsgrad", False))
    reading = {variable: row["w"] for variable, row in AdamMoments()(capture).items()}
    wanted = [oracle.quantile(roots, share) for share in AdamMoments().quantiles]
    assert reading["second_moment_root"].tolist() == pytest.approx(wanted, rel=1e-4, abs=1e-12)
    assert reading["adam_update_rms"].item() == pytest.approx(oracle.update_rms(first, roots, epsilon), rel=1e-4)
    share = sum(1 for root in roots if root < epsilon) / len(roots)
    assert reading["small_second_moment_fraction"].item() == pytest.approx(share)
    assert share >= 1 / 5


def test_capturable_state_is_read() -> None:
    """A step that is kept as a tensor beside the moments, as capturable variants keep it."""
    capture, _ = _trained(torch.optim.Adam, _gradients(4))
    state = dict(capture.optimizer_state["w"])
    states = [state | {"step": step} for step in (4, torch.tensor(4), torch.tensor(4.0), torch.tensor([4.0]))]
    readings = [
        AdamMoments()(Capture(network="n", optimizer_state={"w": one}, settings=capture.settings)) for one in states
    ]
    for reading in readings:
        assert reading["adam_update_rms"]["w"].shape == ()
        assert reading["adam_update_rms"]["w"].item() == pytest.approx(readings[0]["adam_update_rms"]["w"].item())
        torch.testing.assert_close(reading["second_moment_root"]["w"], readings[0]["second_moment_root"]["w"])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_state(dtype: torch.dtype) -> None:
    """Moments kept in half precision are read in single."""
    moment = torch.full((8,), 4e-4, dtype=dtype)
    root = second_moment_root(moment, 0.999, 10_000)
    assert root.dtype == torch.float32
    assert root.tolist() == pytest.approx([math.sqrt(moment[0].item())] * 8, rel=1e-3)
    found = adam_update_rms(torch.full((8,), 0.01, dtype=dtype), root, 0.9, 1000, epsilon=1e-8).item()
    assert found == pytest.approx(0.01 / 0.02, rel=1e-2)


def test_edges() -> None:
    """No step yet, no entries, an entry that is not finite: nothing is known."""
    assert second_moment_root(torch.zeros(2), 0.999, 0).isnan().all()
    assert math.isnan(small_second_moment_fraction(torch.tensor([math.nan, 1.0]), 1e-8).item())
    assert math.isnan(small_second_moment_fraction(torch.zeros(0), 1e-8).item())
    assert math.isnan(adam_update_rms(torch.zeros(0), torch.zeros(0), 0.9, 1, epsilon=1e-8).item())
    assert math.isnan(adam_update_rms(torch.tensor([math.nan]), torch.ones(1), 0.9, 1, epsilon=1e-8).item())
    assert small_second_moment_fraction(torch.tensor([1e-8, 0.0]), 1e-8).item() == 0.5


@pytest.mark.parametrize(
    "kind", [torch.optim.SGD, torch.optim.RMSprop, torch.optim.Adagrad, torch.optim.Adamax, torch.optim.Adadelta]
)
def test_other_optimizers_give_no_entry(kind: type[Optimizer]) -> None:
    """Where there are no moments of Adam's, nothing is read, rather than 0."""
    capture, _ = _trained(kind, _gradients(2))
    assert AdamMoments()(capture) == {}


def test_absent_state_gives_no_entry() -> None:
    """Parameters that were never updated, that no settings are known of, that are complex or have no entries."""
    capture, _ = _trained(torch.optim.Adam, _gradients(2))
    state, settings = capture.optimizer_state["w"], capture.settings["w"]
    mixed = Capture(
        network="n",
        optimizer_state={
            "w": state,
            "fresh": {},
            "orphan": state,
            "complex": {**state, "exp_avg": torch.ones(2) * 1j},
            "empty": {**state, "exp_avg_sq": torch.zeros(0)},
            "no_maximum": state,
        },
        settings=dict.fromkeys(("w", "fresh", "complex", "empty"), settings)
        | {"no_maximum": settings | {"amsgrad": True}},
    )
    assert all(row.keys() == {"w"} for row in AdamMoments()(mixed).values())
    assert AdamMoments()(Capture(network="n")) == {}
    assert isinstance(AdamMoments(), Probe)


def test_quantiles_of_a_large_parameter_rest_on_an_even_choice() -> None:
    """1024 entries spread over rows and columns alike: the quantiles of a parameter lie near those of all entries."""
    root = torch.randn(1024, 512, generator=torch.Generator().manual_seed(0)).exp()
    # A structure along columns, and one along rows, that even steps would fall in with.
    root = root * torch.linspace(0.1, 10, 512) * torch.linspace(0.1, 10, 1024)[:, None]
    state = {"exp_avg": root, "exp_avg_sq": root.square() * (1 - 0.999), "step": 1}
    settings = {"betas": (0.9, 0.999), "eps": 1e-8}
    probe = AdamMoments(quantiles=(0.1, 0.5, 0.9))
    capture = Capture(network="n", optimizer_state={"w": state}, settings={"w": settings})
    found = probe(capture)["second_moment_root"]["w"]
    ranks = [(root < value).float().mean().item() for value in found]
    assert ranks == pytest.approx([0.1, 0.5, 0.9], abs=0.03)
    few = AdamMoments(quantiles=(0.5,), entries=10_000_000)
    assert few(capture)["second_moment_root"]["w"].item() == pytest.approx(np.median(root.numpy()), rel=1e-5)
    assert few.definitions[0].parameters == {"entries": 10_000_000}
    assert few.axes == {"quantile": (0.5,)}
