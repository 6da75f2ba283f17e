"""``plastikit params``."""

from __future__ import annotations

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from plastikit.cli.main import app


def ask(*arguments: str) -> Any:
    """What the command answers in JSON."""
    answer = CliRunner().invoke(app, ["params", *arguments, "--json"])
    assert answer.exit_code == 0, answer.output
    return json.loads(answer.stdout)


@pytest.mark.parametrize("tasks", ["10", "MT10", "mt10"])
def test_the_default_is_the_published_baseline(tasks: str) -> None:
    """Without sizes the published ones count; tasks are a number or a benchmark."""
    assert ask("--tasks", tasks) == {
        "architecture": "multi_head",
        "tasks": 10,
        "width": 400,
        "depth": 3,
        "actor": 372_880,
        "critic": 346_410,
        "total": 1_065_700,
    }


def test_sizes_are_taken() -> None:
    """Architecture, tasks, width and depth each change the count."""
    found = ask("--arch", "plain", "--tasks", "reach-v3,push-v3", "--width", "7", "--depth", "2")
    assert (found["tasks"], found["width"], found["depth"]) == (2, 7, 2)
    assert found["actor"] == 41 * 7 + 7 + 7 * 7 + 7 + 7 * 8 + 8
    assert ask("--arch", "soft_modules", "--tasks", "50")["depth"] == 4
    assert ask("--tasks", "80")["tasks"] == 80
    pendulums = ask("--arch", "plain", "--tasks", "pendulum/2", "--width", "7", "--depth", "2")
    assert pendulums["actor"] == 5 * 7 + 7 + 7 * 7 + 7 + 7 * 2 + 2


def test_match_finds_the_width() -> None:
    """Each of actor, critic and total has a width of its own that comes closest."""
    found = ask("--match", "soft_modules")
    assert found["matched"]["actor"] == 691_022
    assert {name: row["width"] for name, row in found["closest"].items()} == {"actor": 556, "critic": 571, "total": 566}
    assert found["closest"]["actor"]["actor"] == 691_744


def test_match_at_a_width_finds_the_depth() -> None:
    """A given width is kept, a given depth too."""
    assert {row["depth"] for row in ask("--match", "soft_modules", "--width", "400")["closest"].values()} == {5}
    row = ask("--match", "soft_modules", "--depth", "4")["closest"]["actor"]
    assert (row["depth"], row["width"]) == (4, 458)


def test_people_get_a_table() -> None:
    """Thousands are set apart, and each line says what it is."""
    answer = CliRunner().invoke(app, ["params", "--match", "paco", "--tasks", "MT50"])
    assert answer.exit_code == 0, answer.output
    rows = [line.strip() for line in answer.stdout.splitlines()[1:5]]
    for row, start in zip(rows, ("wanted", "by actor", "by critic", "by total"), strict=True):
        assert row.startswith(start)
    assert "6,801,180" in rows[0]
    assert " 1,805 " in rows[2]
    assert "372,880" in CliRunner().invoke(app, ["params"]).stdout


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--arch", "soft_module"], "unknown architecture 'soft_module'. Did you mean soft_modules"),
        (["--match", "mixture"], "unknown architecture 'mixture'"),
        (["--match", "paco", "--width", "300", "--depth", "3"], "leave out the one that is to be found"),
        (["--tasks", "0"], "tasks is 0"),
        (["--tasks", "rech-v3"], "Did you mean reach-v3"),
        (["--width", "0"], "width is 0"),
    ],
)
def test_bad_input_is_one_clear_error(arguments: list[str], complaint: str) -> None:
    """What was found, what was expected and the next move."""
    answer = CliRunner().invoke(app, ["params", *arguments])
    assert answer.exit_code == 1
    assert complaint in answer.output
