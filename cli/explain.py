"""``plastikit explain``: what a number means, and what misleads a reader who does not know."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.text import Text

from plastikit.cli import options

if TYPE_CHECKING:
    from plastikit.watch.registry import Passport

Metric = Annotated[
    str, typer.Argument(help="A variable, such as dormant_fraction, or a probe, such as dormancy.", show_default=False)
]

_SHOWN: Final = (
    "definition",
    "id",
    "dims",
    "units",
    "range",
    "pitfalls",
    "constants",
    "coordinates",
    "cost",
    "source",
    "reference",
    "probe",
)


def explain(metric: Metric, *, json: options.Json = False) -> None:
    """Say what a metric is: its definition, range, pitfalls, cost and reference."""
    from plastikit.cli import console
    from plastikit.watch.registry import find_passports

    found = [_explained(passport) for passport in find_passports(metric)]
    if json:
        console.print_json({"asked": metric, "found": found})
        return
    for position, entry in enumerate(found):
        if position:
            console.out.print()
        console.say(f"{entry['variable']}: {entry['long_name']}", style="bold")
        table = console.plain_table("", "")
        table.show_header = False
        for column in table.columns:
            column.justify, column.overflow = "left", "fold"
        for name in _SHOWN:
            if text := _text(name, entry):
                table.add_row(name, Text(text))
        console.out.print(table)


def _explained(passport: Passport) -> dict[str, Any]:
    definition, given_by = passport.definition, passport.given_by
    described = {
        "variable": definition.variable,
        "long_name": definition.long_name,
        "definition": definition.description,
        "id": definition.id,
        "dims": ["step", *definition.dims],
        "units": definition.units,
        "range": definition.valid_range,
        "pitfalls": definition.pitfalls,
        "constants": dict(definition.parameters),
        "cost": definition.cost,
        "source": definition.source,
        "reference": definition.reference,
    }
    if given_by is None:
        return described
    probe = given_by.probe
    return described | {
        "coordinates": {dim: list(probe.axes[dim]) for dim in definition.dims if dim in probe.axes},
        "probe": given_by.name,
        "tier": probe.tier.value,
        "origin": given_by.origin,
        "beside": [other.variable for other in probe.definitions if other.id != definition.id],
    }


def _text(name: str, entry: dict[str, Any]) -> str:
    value = entry.get(name, "")
    if name == "dims":
        return ", ".join(value)
    if (name, value) == ("units", "1"):
        return "a pure number"
    if name == "constants":
        return ", ".join(f"{constant} = {setting}" for constant, setting in value.items())
    if name == "coordinates" and value:
        return "; ".join(f"{dim}: {', '.join(f'{at:g}' for at in places)}" for dim, places in value.items())
    if name == "probe" and value:
        tier = "every step" if entry["tier"] == "S" else "a step now and then"
        beside = f"; it also gives {', '.join(entry['beside'])}" if entry["beside"] else ""
        return f"{value} of {entry['origin']}, tier {entry['tier']} (for {tier}){beside}"
    return str(value)
