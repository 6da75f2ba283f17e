"""Probes of other distributions are found by name, and none of them can spoil plastikit's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from oracles.distribution import PROBE, install, run
from plastikit.errors import UnknownNameError
from plastikit.probes import PROBES, FeatureRank
from plastikit.watch.look import resolve_probes
from plastikit.watch.registry import OWN, find_passports, known_probes, make_probe, probe_names

WATCH = """
import torch
from torch import nn
import plastikit
from plastikit.watch.look import resolve_probes
torch.manual_seed(0)  # with a unit that fires
model = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 1))
"""


def test_a_probe_of_another_distribution_is_used_by_its_name(tmp_path: Path) -> None:
    """``attach`` and ``measure`` know it, its variable is stored with its passport, and the defaults leave it out."""
    install(tmp_path, "loud-probes", "loud_probes", PROBE, {"loudest": "loud_probes:Loudest"})
    code = f"""{WATCH}
with plastikit.attach(model, store="run.zarr", probes=["dormancy", "loudest"]) as monitor:
    model(torch.ones(5, 2)).sum().backward()
    monitor.step()
stored = plastikit.open_run("run.zarr")["diagnostics"]["loudest_share"]
assert 0.25 <= float(stored[0, 0]) <= 1, stored
assert stored.attrs["definition"] == "loudest_share/mean_absolute"
assert 0.25 <= plastikit.measure(model, torch.ones(5, 2), probes=["loudest"])["loudest_share"]["1"] <= 1
assert "loudest" not in [probe.name for probe in resolve_probes("default")]
"""
    answer = run(tmp_path, code)
    assert answer.returncode == 0, answer.stderr


@pytest.mark.parametrize(
    ("module", "entries", "complaint"),
    [
        ("import nowhere_to_be_found", {"bad": "bad_module:Bad"}, "ModuleNotFoundError: No module named 'nowhere_to"),
        ("", {"bad": "bad_module:Bad"}, "AttributeError: module 'bad_module' has no attribute 'Bad'"),
        ("def Bad(size): pass", {"bad": "bad_module:Bad"}, "missing 1 required positional argument: 'size'"),
        ("def Bad(): return 3", {"bad": "bad_module:Bad"}, "is a int, which is no probe"),
        (PROBE, {"bad": "bad_module:Loudest"}, "calls itself 'loudest'"),
    ],
)
def test_a_broken_entry_point_is_named(module: str, entries: dict[str, str], complaint: str, tmp_path: Path) -> None:
    """One error names the distribution and what is wrong with it; the defaults work as before."""
    install(tmp_path, "bad-probes", "bad_module", module, entries)
    code = f"""{WATCH}
from plastikit.errors import ConfigurationError
from plastikit.watch.registry import known_probes
import plastikit.probes
assert "dormant_fraction" in plastikit.measure(model, torch.ones(5, 2))
known, problems = known_probes()
assert [entry.name for entry in known] == list(plastikit.probes.PROBES) and len(problems) == 1
try:
    plastikit.measure(model, torch.ones(5, 2), probes=["bad"])
except ConfigurationError as error:
    assert str(error) == problems[0]
    print(error)
"""
    answer = run(tmp_path, code)
    assert answer.returncode == 0, answer.stderr
    assert "the probe 'bad' of the distribution bad-probes" in answer.stdout
    assert complaint in answer.stdout


def test_plastikits_own_name_stays_its_own(tmp_path: Path) -> None:
    """A distribution that offers a probe under one of plastikit's names is warned of, and its probe is not used."""
    install(tmp_path, "loud-probes", "loud_probes", PROBE, {"rank": "loud_probes:Loudest"})
    code = f"""{WATCH}
import warnings
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    assert "srank" in plastikit.measure(model, torch.ones(5, 2), probes=["rank"])
    assert "srank" in plastikit.measure(model, torch.ones(5, 2))
print(*(warning.message for warning in caught), sep="\\n")
"""
    answer = run(tmp_path, code)
    assert answer.returncode == 0, answer.stderr
    warned = answer.stdout.splitlines()
    assert len(warned) == 1
    assert "the distribution loud-probes offers a probe 'rank'" in warned[0]


def test_two_distributions_of_one_name(tmp_path: Path) -> None:
    """Which of the two is meant cannot be told: both are named, and neither is taken."""
    install(tmp_path, "loud-probes", "loud_probes", PROBE, {"loudest": "loud_probes:Loudest"})
    install(tmp_path, "other-probes", "other_probes", PROBE, {"loudest": "other_probes:Loudest"})
    answer = run(tmp_path, f"{WATCH}\nresolve_probes(['loudest'])")
    assert "the probe 'loudest' is offered by loud-probes and other-probes; uninstall all but one" in answer.stderr


def test_the_registry_is_the_probes_there_are() -> None:
    """Every probe of plastikit's own is known by name, and a new one is made each time."""
    known, problems = known_probes()
    assert [entry.name for entry in known if entry.origin == OWN] == list(PROBES)
    assert problems == []
    assert probe_names()[: len(PROBES)] == list(PROBES)
    assert make_probe("rank") == FeatureRank()
    assert resolve_probes("rank") == [FeatureRank()]
    with pytest.raises(UnknownNameError, match=r"unknown probe 'rnk'. Did you mean rank"):
        make_probe("rnk")


def test_passports_by_every_name_that_they_have() -> None:
    """A variable, its form on a batch of the user's, what the monitor adds, and all variables of a probe."""
    (alone,) = find_passports("srank")
    assert (alone.definition.id, alone.given_by and alone.given_by.name) == ("srank/kumar2021", "rank")
    (observed,) = find_passports("observed_srank")
    assert (observed.definition.variable, observed.definition.source) == ("observed_srank", "probe batch")
    assert observed.definition.long_name == "srank on a probe batch"
    (costs,) = find_passports("probe_seconds")
    assert costs.given_by is None
    whole = [passport.definition for passport in find_passports("rank")]
    assert tuple(whole) == FeatureRank().definitions
    with pytest.raises(UnknownNameError, match=r"unknown metric 'observed_srnk'. Did you mean observed_srank"):
        find_passports("observed_srnk")
    with pytest.raises(UnknownNameError, match="unknown metric 'observed_weight_norm'"):
        find_passports("observed_weight_norm")
