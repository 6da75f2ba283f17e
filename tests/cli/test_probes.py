"""``plastikit probes`` lists what is there: plastikit's own, and what other distributions offer."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from oracles.distribution import PROBE, command, install
from plastikit.cli.main import app
from plastikit.probes import PROBES


def test_every_probe_is_listed_with_what_it_gives() -> None:
    """The table and the JSON name each probe of the registry, its tier, what it looks at and all its variables."""
    table = CliRunner().invoke(app, ["probes"])
    assert table.exit_code == 0, table.output
    answer = CliRunner().invoke(app, ["probes", "--json"])
    listed = {entry["name"]: entry for entry in json.loads(answer.stdout)["probes"]}
    assert list(listed) == list(PROBES)
    words = table.stdout.replace("\n", " ")
    for name, make in PROBES.items():
        probe = make()
        assert listed[name]["variables"] == [definition.variable for definition in probe.definitions]
        assert listed[name]["tier"] == probe.tier.value
        assert listed[name]["needs"] == [str(need.name).lower() for need in probe.needs]
        assert name in words
        # A long name goes on in the next line.
        assert all(variable[:24] in words for variable in listed[name]["variables"])


def test_probes_of_others_are_listed_by_their_distribution(tmp_path: Path) -> None:
    """A probe that another distribution brings stands there with its name; a broken one is a warning, once."""
    install(tmp_path, "loud-probes", "loud_probes", PROBE, {"loudest": "loud_probes:Loudest"})
    install(tmp_path, "bad-probes", "bad_probes", "", {"bad": "bad_probes:Bad"})
    answer = command(tmp_path, "probes")
    assert answer.returncode == 0, answer.stderr
    assert "loudest_share" in answer.stdout
    assert "(of loud-probes)" in answer.stdout
    assert answer.stderr.count("warning: the probe 'bad' of the distribution bad-probes cannot be made") == 1
    found = json.loads(command(tmp_path, "probes", "--json").stdout)
    assert {"name": "loudest", "origin": "loud-probes", "tier": "S", "needs": ["features"]}.items() <= (
        found["probes"][-1].items()
    )
    assert len(found["problems"]) == 1
    explained = command(tmp_path, "explain", "loudest_share")
    assert "loudest of loud-probes, tier S" in explained.stdout
