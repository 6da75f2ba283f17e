"""Spectral norms agree with a full decomposition, also where they are followed from record to record."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from plastikit.probes import SpectralNorm, spectral_norm, weight_stable_rank
from plastikit.watch.probe import Capture, Probe


def _exact(matrix: Tensor) -> float:
    return torch.linalg.svdvals(matrix.double()).max().item()


def _normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


class _Elsewhere(Tensor):
    """Numbers that say that they lie on another device, until they are moved."""

    @property
    def device(self) -> torch.device:  # type: ignore[override]  # it is an attribute there
        return torch.device("meta")

    def to(self, *args: object, **kwargs: object) -> Tensor:
        return self.as_subclass(Tensor).to(*args, **kwargs)  # type: ignore[call-overload]  # handed on as it came


def _record(probe: SpectralNorm, weight: Tensor) -> float:
    capture = Capture(network="n", parameters={"w": weight}, weights=frozenset({"w"}))
    return probe(capture)["spectral_norm"]["w"].item()


@pytest.mark.parametrize(
    "shape", [(1, 1), (1, 9), (9, 1), (2, 2), (40, 40), (49, 48), (7, 300), (300, 7), (200, 200), (260, 130)]
)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_agrees_with_a_decomposition(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    """Every shape and precision, random weights being the hardest: their singular values lie close together."""
    weight = _normal(*shape).to(dtype)
    assert spectral_norm(weight).item() == pytest.approx(_exact(weight), rel=2e-5)
    wide = weight.double()
    assert weight_stable_rank(weight).item() == pytest.approx(
        wide.square().sum().item() / _exact(weight) ** 2, rel=1e-4
    )


def test_constructed_weights() -> None:
    """The identity, rotations, one direction, a permutation, two equal largest values: no gap, or no rest."""
    rotation = torch.linalg.qr(_normal(80, 80)).Q
    for weight, norm, rank in (
        (torch.eye(60), 1.0, 60.0),
        (3 * rotation, 3.0, 80.0),
        (torch.ones(50, 30), math.sqrt(1500), 1.0),
        (torch.eye(70)[torch.randperm(70, generator=torch.Generator().manual_seed(0))], 1.0, 70.0),
        (torch.diag(torch.tensor([2.0, 2.0, 1.0])), 2.0, 9 / 4),
    ):
        assert spectral_norm(weight).item() == pytest.approx(norm, rel=1e-5)
        assert weight_stable_rank(weight).item() == pytest.approx(rank, rel=1e-4)


def test_kernels_and_stacks() -> None:
    """A kernel is its first dimension against the rest; a stack of matrices is as large as the largest of them."""
    kernel = _normal(6, 3, 5, 5)
    assert spectral_norm(kernel).item() == pytest.approx(_exact(kernel.flatten(1)), rel=2e-5)
    stack = _normal(4, 30, 20) * torch.tensor([1.0, 5.0, 2.0, 0.0])[:, None, None]
    capture = Capture(network="n", parameters={"heads.w": stack, "conv": stack}, weights=frozenset({"heads.w", "conv"}))
    reading = SpectralNorm(stacks=["heads.*"])(capture)
    largest = max(_exact(matrix) for matrix in stack)
    assert reading["spectral_norm"]["heads.w"].item() == pytest.approx(largest, rel=2e-5)
    assert reading["spectral_norm"]["conv"].item() == pytest.approx(_exact(stack.flatten(1)), rel=2e-5)
    rank = stack.double().square().sum().item() / largest**2
    assert reading["weight_stable_rank"]["heads.w"].item() == pytest.approx(rank, rel=1e-4)
    (norm, _) = SpectralNorm(stacks=["heads.*"]).definitions
    assert norm.parameters["stacks"] == "heads.*"


def test_edges() -> None:
    """Zeros have norm 0 and no rank; what is not finite is NaN, in one weight alone; nothing has no norm."""
    assert spectral_norm(torch.zeros(5, 3)).item() == 0
    assert math.isnan(weight_stable_rank(torch.zeros(5, 3)).item())
    assert math.isnan(spectral_norm(torch.zeros(0, 3)).item())
    assert math.isnan(spectral_norm(torch.tensor([3.0, 4.0]) * math.inf).item())
    assert spectral_norm(torch.tensor([3.0, 4.0])).item() == pytest.approx(5)
    broken = torch.eye(4)
    broken[1, 2] = math.nan
    weights = {"a": torch.eye(4), "b": broken, "c": torch.zeros(0, 4), "d": torch.eye(2) * 1j}
    reading = SpectralNorm()(Capture(network="n", parameters=weights, weights=frozenset(weights)))
    assert reading["spectral_norm"]["a"].item() == pytest.approx(1)
    assert math.isnan(reading["spectral_norm"]["b"].item())
    assert math.isnan(reading["weight_stable_rank"]["b"].item())
    assert reading["spectral_norm"].keys() == {"a", "b"}


def test_follows_a_weight_in_training() -> None:
    """At every record along a course that lets the largest direction give way to another, the norm is right."""
    probe = SpectralNorm()
    first, second = _normal(90, 70) / 9, _normal(90, 70, seed=1) / 9
    for k in range(60):
        share = k / 59
        weight = (1 - share) * first + share * second
        assert _record(probe, weight) == pytest.approx(_exact(weight), rel=1e-4)


def test_crossing_directions_are_noticed() -> None:
    """Two directions that never mix change places: the second is followed too, so that its overtaking is seen."""
    probe = SpectralNorm()
    rest = torch.linspace(0.9, 0.1, 40)
    for k in range(60):
        rest[0], rest[1] = 1.3 - 0.01 * k, 1.0
        weight = torch.diag(rest)
        assert _record(probe, weight) == pytest.approx(_exact(weight), rel=1e-4)


def test_sudden_changes_start_again() -> None:
    """A reset, another shape, NaN in between, another precision: each record is right."""
    probe = SpectralNorm()
    broken = _normal(60, 50) * math.nan
    for weight in (
        _normal(60, 50),
        _normal(60, 50, seed=1),
        _normal(50, 60),
        broken,
        _normal(60, 50),
        _normal(60, 50).double(),
    ):
        found = _record(probe, weight)
        assert math.isnan(found) if weight is broken else found == pytest.approx(_exact(weight), rel=1e-4)


def test_a_steady_weight_is_followed_cheaply(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once found, the vectors of the last record are enough: no new search."""
    probe = SpectralNorm()
    weight = _normal(80, 60)
    _record(probe, weight)
    monkeypatch.setattr("plastikit.probes.spectral.sought", None)
    for k in range(5):
        assert _record(probe, weight * (1 + 0.01 * k)) == pytest.approx(_exact(weight) * (1 + 0.01 * k), rel=1e-5)


def test_draws_no_random_numbers() -> None:
    """The random state is left alone, and a second probe gives the same bits."""
    state = torch.get_rng_state()
    weight = _normal(70, 80)
    assert _record(SpectralNorm(), weight) == _record(SpectralNorm(), weight)
    assert torch.equal(torch.get_rng_state(), state)


def test_only_weights_are_measured() -> None:
    """Biases and gains are left out; networks of one probe do not share their vectors."""
    probe = SpectralNorm()
    assert isinstance(probe, Probe)
    for network, scale in (("a", 1.0), ("b", 2.0), ("a", 1.0)):
        parameters = {"w": scale * _normal(30, 20, seed=int(scale)), "bias": torch.ones(4)}
        reading = probe(Capture(network=network, parameters=parameters, weights=frozenset({"w"})))
        assert reading["spectral_norm"].keys() == {"w"}
        assert reading["spectral_norm"]["w"].item() == pytest.approx(_exact(parameters["w"]), rel=2e-5)
    assert reading.keys() == {definition.variable for definition in probe.definitions}
    assert probe(Capture(network="n", parameters={"bias": torch.ones(3)})) == {}


def _courses(device: str, read: Callable[[Tensor], Tensor]) -> tuple[float, float]:
    """Norms of a fourth record: of a course, and of one that goes on from what ``read`` made of its state."""
    weights = [(_normal(60, 40) + 0.01 * k * _normal(60, 40, seed=k)).to(device) for k in range(4)]
    whole, resumed = SpectralNorm(), SpectralNorm()
    for weight in weights[:3]:
        _record(whole, weight)
    state = whole.state_dict()
    resumed.load_state_dict(
        {network: {name: read(kept) for name, kept in each.items()} for network, each in state.items()}
    )
    return _record(whole, weights[3]), _record(resumed, weights[3])


def test_goes_on_from_vectors_that_lie_elsewhere() -> None:
    """What was read to another device than the weight's is moved to it: the same bits as without an interruption."""
    whole, resumed = _courses("cpu", lambda kept: kept.clone().as_subclass(_Elsewhere))
    assert resumed == whole
    assert _courses("cpu", torch.zeros_like)[1] != whole


@needs_cuda
def test_goes_on_from_a_checkpoint_that_was_read_to_the_host() -> None:
    """On a device: the same bits from vectors that came back on the host."""
    whole, resumed = _courses("cuda", Tensor.cpu)
    assert resumed == whole
