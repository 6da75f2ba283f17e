"""Every probe of plastikit's keeps every rule, and each rule catches the probe that breaks it."""

from __future__ import annotations

import random
import runpy
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import pytest
import torch

from plastikit.probes import PROBES, DormantFraction
from plastikit.schema import Definition
from plastikit.testing import RULES, Rule, check_probe
from plastikit.watch.probe import Capture, Needs, Reading, Tier

EXAMPLE: Final = Path(__file__).resolve().parents[2] / "examples" / "own_probe.py"
PASSPORT: Final = Definition(
    variable="own_mean",
    id="own_mean/plain",
    long_name="mean",
    units="1",
    dims=("layer",),
    description="Mean of |activation|.",
    valid_range="[0, inf)",
    pitfalls="None that is known.",
    reference="",
    cost="one pass",
)


class Own:
    """A probe without fault, which the faulty ones differ from."""

    name: Any = "own"
    tier: Any = Tier.STEP
    needs: Any = Needs.FEATURES
    axes: Mapping[str, Any] = MappingProxyType({})
    definitions: Any = (PASSPORT,)
    calls: int = 0

    def __call__(self, capture: Capture) -> Any:
        return {"own_mean": {layer: self.value(features) for layer, features in capture.features.items()}}

    def value(self, features: torch.Tensor) -> Any:
        return features.abs().mean(dtype=torch.float32)


def _with(**members: Any) -> type[Own]:
    return type("Bad", (Own,), members)


def _whose_value(value: Callable[..., Any]) -> type[Own]:
    return _with(value=value)


def _described(**fields: Any) -> type[Own]:
    return _with(definitions=(replace(PASSPORT, **fields),))


def _reading(call: Callable[[Own, Capture], Any], **members: Any) -> type[Own]:
    return _with(__call__=call, **members)


def _draws(features: torch.Tensor) -> torch.Tensor:
    return features.abs().mean(dtype=torch.float32) + 0 * torch.rand(())


def _writes(features: torch.Tensor) -> torch.Tensor:
    return features.abs_().mean(dtype=torch.float32)


def _counts(self: Own, _features: torch.Tensor) -> torch.Tensor:
    Own.calls += 1
    return torch.tensor(float(Own.calls))


def _remembers(self: Own, _features: torch.Tensor) -> torch.Tensor:
    self.calls += 1
    return torch.tensor(float(self.calls))


def _forgets(self: Own, capture: Capture) -> Reading:
    getattr(capture.features, "clear", dict)()
    return {}


def _trains(self: Own, capture: Capture) -> Reading:
    """Writes into a parameter of the training alone, which no capture beside it has."""
    for value in capture.parameters.values():
        if value.shape == (16, 6):
            value.add_(1)
    return Own.__call__(self, capture)


def _fraction(value: float) -> type[Own]:
    return _with(
        definitions=(replace(PASSPORT, valid_range="[0, 1]"),),
        value=lambda _self, _features: torch.tensor(value),
    )


def _of_network(self: Own, capture: Capture) -> Reading:
    means = [features.abs().mean(dtype=torch.float32) for features in capture.features.values()]
    return {"own_mean": {capture.network: torch.stack(means).mean()}} if means else {}


NETWORK = (replace(PASSPORT, dims=("network",)),)
BAD: Final[Mapping[str, list[tuple[Any, str]]]] = {
    "its members are of their types": [
        (_with(name="two words"), "its name is 'two words'"),
        (_with(name="default"), "its name is 'default'"),
        (_with(tier="S"), "its tier is 'S'"),
        (_with(needs="features"), "its needs are 'features'"),
        (_with(needs=Needs(0)), "its needs are <Needs: 0>"),
        (_with(definitions=[PASSPORT]), "where a tuple of Definition was expected"),
        (_with(definitions=()), "where a tuple of Definition was expected"),
        (_with(definitions=({"variable": "x"},)), "among its definitions is"),
        (_with(axes=()), "where a mapping of dimensions to coordinates was expected"),
    ],
    "its names are its own": [
        (_described(variable="own mean"), "'own mean' cannot name a variable"),
        (_described(variable="observed_mean"), "'observed_mean' cannot name a variable"),
        (_described(variable="layer"), "'layer' cannot name a variable"),
        (_with(definitions=(PASSPORT, PASSPORT)), "'own_mean' has 2 definitions"),
        (_with(name="rank"), "'rank' is the name of one of plastikit's own"),
        (_described(variable="srank"), "'srank' is srank/kumar2021 in plastikit, and own_mean/plain here"),
    ],
    "its passports are complete": [
        (_described(**{field: ""}), f"the {field} of 'own_mean' is ''")
        for field in ("long_name", "units", "description", "valid_range", "pitfalls", "cost")
    ]
    + [
        (_described(id="mean"), "the id of 'own_mean' is 'mean'"),
        (_described(source="probe batch"), "the source of 'own_mean' is 'probe batch'"),
        (_described(parameters={"sizes": (1, 2)}), "the constant 'sizes' of 'own_mean' is (1, 2)"),
        (_described(reference=None), "the reference of 'own_mean' is None"),
    ],
    "its dimensions are known": [
        (_described(dims=()), "begins with one of layer"),
        (_described(dims=("tau",)), "begins with one of layer"),
        (_described(dims=("unit", "tau")), "'unit' has to stand alone"),
        (_described(dims=("layer", "width")), "there is no 'width'"),
        (_described(dims=("layer", "tau")), "axes gives 'tau' no coordinates"),
        (
            _with(definitions=(replace(PASSPORT, dims=("layer", "tau", "group")),), axes={"tau": (0.1,)}),
            "'group' has to be the second",
        ),
        (_with(axes={"tau": (0.1,)}), "no variable has the dimension 'tau'"),
        (
            _with(definitions=(replace(PASSPORT, dims=("layer", "tau")),), axes={"tau": ["small"]}),
            "the coordinates of 'tau' are ['small']",
        ),
    ],
    "its readings fit their passports": [
        (_reading(lambda _self, _capture: None), "gives None on an ordinary step"),
        (_reading(lambda _self, _capture: {"own_mean": 3.0}), "gives {'own_mean': 3.0} on an ordinary step"),
        (_reading(lambda _self, _capture: {"other": {"relu": torch.ones(())}}), "'other', of which there is no"),
        (_reading(lambda _self, _capture: {"own_mean": {"relu7": torch.ones(())}}), "has the label 'relu7'"),
        (_whose_value(lambda _self, features: float(features.abs().mean())), "is a float, where a tensor"),
        (_whose_value(lambda _self, features: features.abs().mean(dim=0)), "has the shape (8,)"),
        (_whose_value(lambda _self, features: features.abs().mean()), "is of torch.bfloat16; reduce in float32"),
        (_whose_value(lambda _self, features: features.abs().mean(dtype=torch.float32).log().neg()), "is infinite"),
        (
            _whose_value(lambda _self, features: features.abs().mean(dtype=torch.float32).requires_grad_()),
            "tracks gradients",
        ),
        (_whose_value(lambda _self, features: features.abs().max()), "raises RuntimeError on no sample"),
        (_whose_value(lambda _self, features: features.abs().float()[:, 1].mean()), "raises IndexError on one unit"),
        (_reading(lambda self, capture: {"own_mean": {"relu": self.value(capture.features["relu"])}}), "KeyError"),
    ],
    "every passport has its value": [
        (_with(definitions=(PASSPORT, replace(PASSPORT, variable="never", id="never/x"))), "'never' has a passport"),
        (_whose_value(lambda _self, _features: torch.tensor(torch.nan)), "'own_mean' has a passport and no value"),
    ],
    "its values lie in their ranges": [
        (_fraction(1.5), "leaves its range, [0, 1]"),
        (_fraction(-0.5), "leaves its range, [0, 1]"),
    ],
    "it looks at what it needs and no more": [(_with(needs=Needs.PARAMETERS), "is another once the capture holds")],
    "what is not measured has no value": [
        (
            _reading(lambda _self, capture: {"own_mean": {capture.network: torch.zeros(())}}, definitions=NETWORK),
            "has a value where nothing captured",
        ),
        (_reading(_of_network, definitions=NETWORK), "has a value over all layers where one is unreadable"),
    ],
    "it gives the same again and draws no random numbers": [
        (_whose_value(lambda _self, features: _draws(features)), "it draws random numbers"),
        (_whose_value(lambda _self, _features: torch.tensor(np.random.rand())), "it draws random numbers"),
        (_whose_value(lambda _self, _features: torch.tensor(random.random())), "it draws random numbers"),
        (_with(value=_counts), "is another when the same capture is measured again"),
        (_with(value=_remembers), "is another when the same probe measures the same capture again"),
        (
            _whose_value(lambda _self, features: (torch.set_grad_enabled(False), features.abs().mean())[1]),
            "it switches gradients off",
        ),
    ],
    "it writes nothing into the capture": [
        (_whose_value(lambda _self, features: _writes(features)), "it writes into features['relu']"),
        (_with(__call__=_forgets), "it adds to the capture, or takes away from it: features['attention']"),
    ],
    "it leaves a training as it is": [
        (_with(__call__=_trains, needs=Needs.FEATURES | Needs.PARAMETERS), "the weights and buffers of a training"),
        (_whose_value(lambda _self, features: _draws(features)), "of a training are not those of the same training"),
        (_reading(lambda _self, _capture: {}), "a monitor recorded nothing of it"),
    ],
}


@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("name", PROBES)
def test_plastikits_own_probes(name: str, rule: Rule) -> None:
    """Each of them keeps each rule."""
    rule(PROBES[name])


@pytest.mark.parametrize(
    ("rule", "probe", "complaint"),
    [
        pytest.param(rule, probe, complaint, id=f"{rule}: {complaint}"[:90])
        for rule in RULES
        for probe, complaint in BAD[rule.name]
    ],
)
def test_a_broken_rule_is_named(rule: Rule, probe: Any, complaint: str) -> None:
    """The probe that breaks it is caught, and the message says which rule and how."""
    with pytest.raises(AssertionError) as caught:
        rule(probe)
    torch.set_grad_enabled(True)
    assert complaint in str(caught.value)
    assert str(caught.value).startswith("Bad ")


def test_every_rule_has_its_bad_probe() -> None:
    """None is left that nothing is known to break."""
    assert BAD.keys() == {rule.name for rule in RULES}


def test_a_probe_or_what_makes_one() -> None:
    """A class, a function and an object are taken alike, settings included."""
    check_probe(Own)
    check_probe(Own())
    check_probe(lambda: DormantFraction(taus=(0.5,)))


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        (3, "3 is no probe: it has no __call__"),
        (lambda: 3, "3 is no probe: it has no name, tier, needs, definitions, axes"),
        (type("Needy", (Own,), {"__init__": lambda self, size: None}), "cannot be made without arguments"),
        (type("Unnamed", (), {"__call__": Own.__call__}), "is no probe: it has no name"),
    ],
)
def test_what_is_no_probe(given: Any, complaint: str) -> None:
    """It is said what it lacks."""
    with pytest.raises(AssertionError) as caught:
        check_probe(given)
    assert complaint in str(caught.value)


def test_the_example_keeps_every_rule(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The probe of the example is one that its author could publish, in at most 25 lines of code."""
    monkeypatch.setattr(sys, "argv", ["own_probe.py", str(tmp_path / "run.zarr")])
    check_probe(runpy.run_path(str(EXAMPLE))["Loudest"])
    lines = [line for line in EXAMPLE.read_text(encoding="utf-8").splitlines() if line.strip()]
    assert len(lines) <= 25
