"""What is kept of a finished run."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from plastikit.train.config import TrainingConfig
from plastikit.train.final_networks import final_networks
from plastikit.train.sac import SoftActorCritic

ConfigMaker = Callable[..., TrainingConfig]


class OnGpu(Tensor):
    """A tensor that lies on a GPU, as far as its device tells, and that can be copied to the CPU: no GPU is needed."""

    held: Tensor

    @staticmethod
    def __new__(cls: type[OnGpu], held: Tensor) -> OnGpu:  # noqa: PYI034  a Self of a static method is none
        """Take the tensor that the copy is to be equal to."""
        made: OnGpu = Tensor._make_wrapper_subclass(cls, held.shape, dtype=held.dtype, device="cuda")
        made.held = held
        return made

    @classmethod
    def __torch_dispatch__(cls, function: Any, _types: Any, given: Any = (), _named: Any = None) -> Any:
        """Copy; nothing else can be done with it."""
        assert function is torch.ops.aten._to_copy.default
        return given[0].held.clone()


def test_those_of_a_gpu_are_read_without_one(light: ConfigMaker) -> None:
    """What is kept lies on the CPU, whatever the agent lay on, and is read back with the agent's numbers."""
    agent = SoftActorCritic(light(device="cpu"), observation_size=3, action_size=1)
    state = agent.state_dict()
    on_gpu = tree_map_only(Tensor, lambda tensor: OnGpu(tensor.detach()), state)
    assert on_gpu["log_alpha"].is_cuda
    file = io.BytesIO()
    torch.save(final_networks(on_gpu, env_steps=120, configuration="{}"), file)
    file.seek(0)
    final = torch.load(file, weights_only=True)
    for name, network in (("actor", agent.actor), ("critic_1", agent.critics[1]), ("target_0", agent.targets[0])):
        assert final[name].keys() == network.state_dict().keys()
        for key, tensor in network.state_dict().items():
            assert torch.equal(final[name][key], tensor)
    assert torch.equal(final["log_alpha"], agent.log_alpha)
    assert (final["env_steps"], final["configuration"]) == (120, "{}")
