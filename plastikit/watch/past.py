"""What a monitor has to know of a training that goes on from a checkpoint."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, Self, runtime_checkable

from torch import Tensor

from plastikit.errors import ConfigurationError
from plastikit.record.store import RunStore
from plastikit.watch.capture import NetworkWatch
from plastikit.watch.clock import Clock
from plastikit.watch.ledger import labels_of
from plastikit.watch.probe import Probe
from plastikit.watch.together import Elsewhere

_KINDS: Final = {"run": str, "rows": Mapping, "step": int, "initial": Mapping, "probes": Mapping}


@runtime_checkable
class Remembering(Protocol):
    """A probe whose readings depend on earlier ones."""

    def state_dict(self) -> dict[str, Any]:
        """What it remembers, in what ``torch.save`` and ``torch.load`` with ``weights_only`` pass on."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Remember that."""
        ...


@dataclass(frozen=True)
class Past:
    """A monitor's state, checked."""

    run: str
    """The run's id."""
    rows: Mapping[str, int]
    """Rows that it held, by group."""
    step: int
    """Updates done."""
    _initial: Mapping[str, Mapping[str, Tensor]]
    """Network -> parameter -> as it was when the monitor was first attached."""

    @staticmethod
    def state_of(
        store: RunStore | Elsewhere, step: int, clocks: Iterable[Clock], probes: Sequence[Probe]
    ) -> dict[str, Any]:
        """The state that ``of`` takes."""
        named = zip(labels_of(probes), probes, strict=False)
        return {
            "run": store.id,
            "rows": dict(store.committed),
            "step": step,
            "initial": {clock.name: dict(clock.initial) for clock in clocks},
            "probes": {label: probe.state_dict() for label, probe in named if isinstance(probe, Remembering)},
        }

    @classmethod
    def of(cls, state: Mapping[str, Any], probes: Sequence[Probe]) -> Self:
        """Read a state, and hand to each probe what it remembered.

        Raises:
            ConfigurationError: it is none.
        """
        is_state = isinstance(state, Mapping) and set(state) == set(_KINDS)
        if not is_state or not all(isinstance(state[key], kind) for key, kind in _KINDS.items()):
            found = (
                f"a mapping of {', '.join(map(str, state)) or 'nothing'}" if isinstance(state, Mapping) else repr(state)
            )
            raise ConfigurationError(
                f"resume is {found}, where what Monitor.state_dict() gave was expected; save that with each checkpoint"
            )
        for label, probe in zip(labels_of(probes), probes, strict=False):
            if label in state["probes"] and isinstance(probe, Remembering):
                probe.load_state_dict(state["probes"][label])
        return cls(state["run"], state["rows"], state["step"], state["initial"])

    def initial(self, network: NetworkWatch) -> dict[str, Tensor]:
        """The initial parameters of a network, where they are known and fit; on the parameters' devices.

        Raises:
            ConfigurationError: they are those of another model.
        """
        known = self._initial.get(network.name)
        if known is None:
            raise ConfigurationError(
                f"resume holds the initial parameters of {', '.join(self._initial) or 'no network'}, and not those of "
                f"{network.name}; give the state that was saved with this training's checkpoint"
            )
        found = {}
        for name, initial in known.items():
            parameter = network.named.get(name)
            if parameter is None or parameter.shape != initial.shape:
                raise ConfigurationError(
                    f"resume holds the parameter {name} of shape {tuple(initial.shape)}, which the model "
                    f"{'does not have' if parameter is None else f'has with shape {tuple(parameter.shape)}'}; give the "
                    "state that was saved with this training's checkpoint"
                )
            found[name] = initial.to(parameter.device)
        return found
