"""What the two halves of plastikit share: dimension names, and the passport of a stored variable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Self

SCHEMA_VERSION: Final = 2

STEP: Final = "step"
LAYER: Final = "layer"
PARAMETER: Final = "parameter"
UNIT: Final = "unit"
NETWORK: Final = "network"
TAU: Final = "tau"
GROUP: Final = "group"
HEAD: Final = "head"
QUANTILE: Final = "quantile"
PROBE: Final = "probe"
TASK: Final = "task"
EVENT: Final = "event"
RUN: Final = "run"

DIMENSIONS: Final = frozenset(
    {STEP, LAYER, PARAMETER, UNIT, NETWORK, TAU, GROUP, HEAD, QUANTILE, PROBE, TASK, EVENT, RUN}
)

DIAGNOSTICS: Final = "diagnostics"
TRAINING: Final = "training"
EVALUATION: Final = "evaluation"
EVENTS: Final = "events"

RUNNING: Final = "running"
FINISHED: Final = "finished"
FAILED: Final = "failed"
INTERRUPTED: Final = "interrupted"

TRAINING_BATCH: Final = "training batch"
PROBE_BATCH: Final = "probe batch"
OBSERVED: Final = "observed_"
"""What a variable measured on a probe batch has before its name; on a training batch it has the plain name."""

Scalar = float | int | bool | str
_PARAMETER_PREFIX: Final = "parameter_"


@dataclass(frozen=True, kw_only=True)
class Definition:
    """The passport of a stored variable: what its numbers mean, and what they may be compared with.

    Two variables of one name are comparable only where ``id`` and ``parameters`` are equal.
    """

    variable: str
    """Name on disk."""
    id: str
    """Which definition this is, such as ``dormant_fraction/sokar2023``."""
    long_name: str
    """What a reader calls it, in a few words."""
    units: str
    """``"1"`` for a pure number."""
    dims: tuple[str, ...]
    """Dimensions after ``step``."""
    description: str
    """The definition in one or two sentences."""
    valid_range: str
    """The values it can take, in words or as an interval."""
    pitfalls: str
    """What misleads a reader who does not know it."""
    reference: str
    """Citation with its arXiv id or DOI; empty for a plain statistic."""
    cost: str
    """What one measurement costs."""
    source: str = TRAINING_BATCH
    """What it was measured on."""
    parameters: Mapping[str, Scalar] = field(default_factory=dict)
    """The constants that the definition leaves open, such as delta or epsilon."""

    def to_attrs(self) -> dict[str, Scalar]:
        """The attributes that lie beside the variable on disk."""
        attrs: dict[str, Scalar] = {
            "long_name": self.long_name,
            "units": self.units,
            "definition": self.id,
            "description": self.description,
            "valid_range": self.valid_range,
            "pitfalls": self.pitfalls,
            "source": self.source,
            "reference": self.reference,
            "cost": self.cost,
        }
        return attrs | {f"{_PARAMETER_PREFIX}{name}": value for name, value in self.parameters.items()}

    @classmethod
    def from_attrs(cls, variable: str, dims: tuple[str, ...], attrs: Mapping[str, Scalar]) -> Self:
        """Read a passport back; an attribute that is absent reads as an empty text."""

        def text(name: str) -> str:
            return str(attrs.get(name, ""))

        return cls(
            variable=variable,
            id=text("definition"),
            long_name=text("long_name"),
            units=text("units"),
            dims=dims,
            description=text("description"),
            valid_range=text("valid_range"),
            pitfalls=text("pitfalls"),
            reference=text("reference"),
            cost=text("cost"),
            source=text("source"),
            parameters={
                name.removeprefix(_PARAMETER_PREFIX): value
                for name, value in attrs.items()
                if name.startswith(_PARAMETER_PREFIX)
            },
        )

    def differences(self, other: Definition) -> list[str]:
        """What makes the two incomparable, a sentence fragment each; empty where nothing does.

        >>> plain = Definition(variable="srank", id="srank/kumar2021", long_name="", units="1", dims=("layer",),
        ...     description="", valid_range="", pitfalls="", reference="", cost="", parameters={"delta": 0.01})
        >>> from dataclasses import replace
        >>> plain.differences(replace(plain, parameters={"delta": 0.05}))
        ['delta is 0.01 in one and 0.05 in the other']
        """
        found = [
            f"{label} is {ours!r} in one and {theirs!r} in the other"
            for label, ours, theirs in (
                ("definition", self.id, other.id),
                ("units", self.units, other.units),
                ("source", self.source, other.source),
            )
            if ours != theirs
        ]
        for name in sorted(self.parameters.keys() | other.parameters.keys()):
            ours, theirs = self.parameters.get(name), other.parameters.get(name)
            if ours != theirs:
                found.append(f"{name} is {ours!r} in one and {theirs!r} in the other")
        return found
