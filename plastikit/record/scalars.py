"""Passports of the scalars that training and evaluation record under a known name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from plastikit.schema import TASK, Definition, Scalar


def scalar_attrs(name: str) -> dict[str, Scalar]:
    """The attributes of a scalar: its passport where the name is known, else its name in words."""
    known = _KNOWN.get(name)
    return known.to_attrs() if known else {"long_name": name.replace("_", " ")}


def _passport(variable: str, units: str, description: str, valid_range: str, pitfalls: str) -> Definition:
    is_share = valid_range.startswith("[0, 1]")
    return Definition(
        variable=variable,
        id=f"{variable}/{'episodes' if is_share else 'mean'}",
        long_name=variable.replace("_", " "),
        units=units,
        dims=(TASK,),
        description=description,
        valid_range=valid_range,
        pitfalls=pitfalls,
        reference="",
        cost="none",
        source="evaluation episodes",
    )


_KNOWN: Final[Mapping[str, Definition]] = MappingProxyType(
    {
        definition.variable: definition
        for definition in (
            _passport(
                "success_rate",
                "1",
                "Share of evaluation episodes of a task in which the task was solved at any step.",
                "[0, 1]",
                "From n episodes it moves in steps of 1/n; the mean over tasks hides tasks that are never solved",
            ),
            _passport(
                "episode_return",
                "reward",
                "Mean over episodes of the undiscounted sum of rewards.",
                "(-inf, inf)",
                "An evaluation episode ends at success, so a better policy can have a lower return",
            ),
        )
    }
)
