"""The passport of a variable goes to disk and back, and tells what may be compared."""

from __future__ import annotations

from dataclasses import replace

import pytest

from plastikit.probes import PROBES
from plastikit.schema import DIMENSIONS, Definition

PASSPORT = Definition(
    variable="srank",
    id="srank/kumar2021",
    long_name="srank",
    units="1",
    dims=("layer",),
    description="d",
    valid_range="[1, n]",
    pitfalls="p",
    reference="r",
    cost="c",
    parameters={"delta": 0.01, "centred": False},
)


def test_there_and_back() -> None:
    """What is written as attributes is read back as the same passport."""
    assert Definition.from_attrs("srank", ("layer",), PASSPORT.to_attrs()) == PASSPORT


def test_absent_attributes_are_empty() -> None:
    """A variable of another origin reads as a passport without content."""
    passport = Definition.from_attrs("x", (), {})
    assert passport.id == passport.reference == ""
    assert passport.parameters == {}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({}, []),
        ({"long_name": "other", "description": "other", "cost": "other"}, []),
        ({"id": "srank/other"}, ["definition is 'srank/kumar2021' in one and 'srank/other' in the other"]),
        ({"source": "probe batch"}, ["source is 'training batch' in one and 'probe batch' in the other"]),
        ({"units": "bit"}, ["units is '1' in one and 'bit' in the other"]),
        ({"parameters": {"delta": 0.01}}, ["centred is False in one and None in the other"]),
    ],
)
def test_differences(change: dict[str, object], told: list[str]) -> None:
    """Definition, units, source and constants must agree; wording need not."""
    assert PASSPORT.differences(replace(PASSPORT, **change)) == told  # type: ignore[arg-type]


@pytest.mark.parametrize("name", PROBES)
def test_every_variable_has_a_whole_passport(name: str) -> None:
    """Each variable that is stored says what it is, what it can be, what misleads and what it costs."""
    for passport in PROBES[name]().definitions:
        assert passport.id.split("/")[0] in {passport.variable, f"network_{passport.variable}"}
        assert passport.description.endswith(".")
        assert all((passport.long_name, passport.units, passport.valid_range, passport.pitfalls, passport.cost))
        assert set(passport.dims) <= DIMENSIONS


def test_no_two_variables_share_a_name() -> None:
    """Two definitions never share a name."""
    names = [passport.variable for make in PROBES.values() for passport in make().definitions]
    assert len(set(names)) == len(names)
