"""``plastikit explain`` says what a number means, of every variable that a run can hold."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner, Result

from plastikit.cli.main import app
from plastikit.probes import PROBES
from plastikit.schema import Definition

OF_ALL = [definition for make in PROBES.values() for definition in make().definitions]


def _explain(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["explain", *arguments])


@pytest.mark.parametrize("definition", OF_ALL, ids=lambda definition: definition.variable)
def test_every_passport_is_printed_whole(definition: Definition) -> None:
    """Definition, dimensions, units, range, pitfalls, constants, cost and reference stand in the answer."""
    answer = _explain(definition.variable)
    assert answer.exit_code == 0, answer.output
    printed = answer.stdout.split()
    words = [definition.id, *definition.dims, *(str(value) for value in definition.parameters.values())]
    for text in (definition.description, definition.valid_range, definition.pitfalls, definition.reference):
        words += text.split()
    for word in words:
        # A long word is broken where the line ends.
        assert any(word.strip(",.;") in entry for entry in printed) or word in "".join(printed), word


def test_the_constants_and_where_it_comes_from() -> None:
    """Thresholds, delta, the probe with its tier, and what else that one gives."""
    assert "tau: 0, 0.001, 0.025, 0.1" in _explain("network_dormant_fraction").stdout
    ranks = " ".join(_explain("srank").stdout.split())
    assert "delta = 0.01" in ranks
    assert "rank of plastikit, tier P (for a step now and then); it also gives" in ranks
    assert "source probe batch" in " ".join(_explain("observed_group_dormant_fraction").stdout.split())


def test_a_probe_is_explained_by_all_its_variables() -> None:
    """Asked for a probe, the answer holds the passport of each variable that it gives."""
    found = json.loads(_explain("dormancy", "--json").stdout)["found"]
    assert [entry["variable"] for entry in found] == [entry.variable for entry in PROBES["dormancy"]().definitions]
    assert found[0]["coordinates"] == {"tau": [0.0, 0.001, 0.025, 0.1]}
    assert found[0]["dims"] == ["step", "layer", "tau"]
    assert "unit_activation: mean absolute activation" in _explain("dormancy").stdout


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    """One line and exit code 1."""
    answer = _explain("dormant_fractoin")
    assert (answer.exit_code, answer.stdout) == (1, "")
    assert answer.stderr.startswith("error: unknown metric 'dormant_fractoin'. Did you mean dormant_fraction")
    assert len(answer.stderr.splitlines()) == 1
