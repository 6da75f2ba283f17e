"""What is kept of a finished run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

NETWORKS: Final = ("actor", "critic_0", "critic_1", "target_0", "target_1")


def final_networks(state: Mapping[str, Any], *, env_steps: int, configuration: str) -> dict[str, Any]:
    """Give the networks and temperatures of an agent's ``state``, for ``torch.load(path, weights_only=True)`` anywhere.

    They are copied to the CPU from where they lie: tensors of a GPU could not be read on a machine without one.
    """
    networks = {name: {key: tensor.cpu() for key, tensor in state[name].items()} for name in NETWORKS}
    return networks | {
        "log_alpha": state["log_alpha"].cpu(),
        "env_steps": env_steps,
        "configuration": configuration,
    }
