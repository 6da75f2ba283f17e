"""Who trains a network: this process by itself, or several together; and what of that cannot be watched."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import torch.distributed
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from plastikit.errors import ConfigurationError
from plastikit.watch.sharded import has_ancestor, is_sharded, reshard
from plastikit.watch.together import Alone, Together


def company_of(models: Iterable[nn.Module]) -> Alone:
    """Who trains these networks: this process by itself, or several together.

    Raises:
        ConfigurationError: they are distributed in a way that is not watched.
    """
    if not torch.distributed.is_available() or not torch.distributed.is_initialized():
        return Alone()
    wrappers: list[DistributedDataParallel] = []
    groups: list[torch.distributed.ProcessGroup] = []
    sharded = False
    for model in models:
        if not isinstance(model, nn.Module):
            continue
        reshard(model)
        own = [module for module in model.modules() if isinstance(module, DistributedDataParallel)]
        wrappers += own
        groups += [wrapper.process_group for wrapper in own]
        mesh = _mesh_of(model)
        sharded |= mesh is not None
        groups += [] if mesh is None else [mesh.get_group()]
        if own or mesh is not None:
            _check_shared(model, own)
    members = {tuple(sorted(torch.distributed.get_process_group_ranks(group))) for group in groups}
    if len(members) > 1:
        raise ConfigurationError(
            f"the networks are trained by different processes: {' and '.join(map(str, sorted(members)))}; "
            "attach to those of each group apart, each to its own store"
        )
    ranks = [rank for group in members for rank in group]
    return Together(ranks, wrappers, is_sharded=sharded) if sharded or len(ranks) > 1 else Alone()


def _mesh_of(model: nn.Module) -> Any:
    """The processes that hold the pieces of its parameters; None where each holds them whole."""
    if any(has_ancestor(module, "FullyShardedDataParallel") for module in model.modules()):
        raise ConfigurationError(
            "the model is wrapped in FullyShardedDataParallel, whose flattened parameters are not watched; "
            "shard it with torch.distributed.fsdp.fully_shard instead"
        )
    meshes = [cast("Any", parameter).device_mesh for parameter in model.parameters() if is_sharded(parameter)]
    if not meshes:
        return None
    if not any(has_ancestor(module, "FSDPModule") for module in model.modules()):
        raise ConfigurationError(
            "the parameters are DTensors, but not those of fully_shard; a model whose layers are split between "
            "processes is not watched"
        )
    if any(mesh != meshes[0] for mesh in meshes) or meshes[0].ndim != 1:
        raise ConfigurationError(
            f"the parameters lie on {meshes[0]}, where a mesh of one dimension was expected, the same for all; "
            "shard the model over one: init_device_mesh(device, (processes,))"
        )
    return meshes[0]


def _check_shared(model: nn.Module, wrappers: Iterable[nn.Module]) -> None:
    """A parameter that each process trains by itself has no one value."""
    shared = {id(parameter) for wrapper in wrappers for parameter in wrapper.parameters()}
    apart = [
        name
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and id(parameter) not in shared and not is_sharded(parameter)
    ]
    if apart:
        raise ConfigurationError(
            f"only parts of the model are distributed: each process trains its own {', '.join(apart)}; "
            "attach to the distributed parts: {'name': part, ...}"
        )
