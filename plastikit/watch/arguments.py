"""What attach is given, and all that can be wrong with it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from torch.nn.parameter import UninitializedParameter
from torch.optim import Optimizer

from plastikit.errors import ConfigurationError, NothingToWatchError
from plastikit.watch.capture import NetworkWatch
from plastikit.watch.clock import owned_by
from plastikit.watch.schedule import Budget, Schedule


def optimizers_of(given: Optimizer | Iterable[Optimizer] | Mapping[str, Optimizer] | None) -> list[Optimizer]:
    """The optimizers to listen to, each once.

    Raises:
        ConfigurationError: something that is no optimizer.
    """
    if given is None:
        return []
    if isinstance(given, Optimizer):
        return [given]
    found = list(given.values() if isinstance(given, Mapping) else given) if isinstance(given, Iterable) else [given]
    for entry in found:
        if not isinstance(entry, Optimizer):
            raise ConfigurationError(
                f"optimizer is a {type(entry).__name__}, where a torch optimizer was expected; give what updates the "
                "model, or none and call monitor.step() after each update"
            )
    return list({id(optimizer): optimizer for optimizer in found}.values())


def check(networks: Sequence[NetworkWatch], optimizers: Sequence[Optimizer], schedule: Schedule | Budget) -> None:
    """All that can be wrong, before anything is written or hooked.

    Raises:
        ConfigurationError: a lazy parameter, or a schedule that is none.
        NothingToWatchError: the optimizers update no parameter of the networks.
    """
    for network in networks:
        for name, parameter in network.named.items():
            if isinstance(parameter, UninitializedParameter):
                raise ConfigurationError(
                    f"parameter {name} has no shape yet; run one forward through the lazy module before attaching"
                )
    if optimizers and not any(owned_by(network, optimizers) for network in networks):
        raise NothingToWatchError(
            f"the optimizer updates no parameter of {', '.join(network.name for network in networks)}; "
            "give the optimizer that was built from this model's parameters"
        )
    if not isinstance(schedule, Budget) and (not callable(schedule) or isinstance(schedule, type)):
        raise ConfigurationError(
            f"schedule is {schedule!r}, where a function of the step was expected; give such as every(100)"
        )
