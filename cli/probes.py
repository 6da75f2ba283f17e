"""``plastikit probes``: all that can be measured by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from plastikit.cli import options

if TYPE_CHECKING:
    from plastikit.watch.registry import Known


def probes(*, json: options.Json = False) -> None:
    """List every probe: what it costs, what it looks at and which variables it gives."""
    from plastikit.cli import console
    from plastikit.watch.registry import OWN, known_probes

    known, problems = known_probes()
    if json:
        console.print_json({"probes": [_described(entry) for entry in known], "problems": problems})
        return
    table = console.plain_table("probe", "tier", "looks at", "gives")
    for column in table.columns:
        column.justify, column.overflow = "left", "fold"
    for entry in known:
        described = _described(entry)
        origin = "" if entry.origin == OWN else f"\n(of {entry.origin})"
        looks_at = ", ".join(need.replace("_", " ") for need in described["needs"])
        table.add_row(f"{entry.name}{origin}", described["tier"], looks_at, ", ".join(described["variables"]))
    console.out.print(table)
    console.say("S: cheap enough for every step; P: for a step now and then. 'plastikit explain NAME' says more.")
    for problem in problems:
        console.say(f"warning: {problem}", is_note=True)


def _described(entry: Known) -> dict[str, Any]:
    return {
        "name": entry.name,
        "origin": entry.origin,
        "tier": entry.probe.tier.value,
        "needs": [str(need.name).lower() for need in entry.probe.needs],
        "variables": [definition.variable for definition in entry.probe.definitions],
    }
