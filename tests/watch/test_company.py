"""Who trains a network is told from the network: this process by itself, or several together."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
from torch.nn.parallel import DistributedDataParallel

from oracles.runs import group
from oracles.together import build
from plastikit.errors import ConfigurationError
from plastikit.watch.attach import attach
from plastikit.watch.company import company_of
from plastikit.watch.schedule import every
from plastikit.watch.sharded import is_sharded, resting, whole
from plastikit.watch.together import Together


@pytest.fixture
def _one_process(tmp_path: Path) -> Iterator[None]:
    """A job of one process."""
    meeting = tmp_path / "meeting"
    torch.distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


def test_outside_a_job() -> None:
    """Where nothing is distributed the process is alone."""
    assert not company_of([build("perceptron")]).is_several


@pytest.mark.usefixtures("_one_process")
def test_one_process_is_alone() -> None:
    """A wrapper around the network of a single process changes nothing, nor does a job whose networks are its own."""
    assert not company_of([build("perceptron")]).is_several
    assert not company_of([DistributedDataParallel(build("perceptron"))]).is_several


@pytest.mark.usefixtures("_one_process")
def test_sharded_on_one_process(tmp_path: Path) -> None:
    """Parameters that fully_shard holds are brought together also where there is one piece of each."""
    model = build("perceptron")
    fully_shard(model, mesh=init_device_mesh("cpu", (1,)))
    parameters = list(model.parameters())
    assert all(map(is_sharded, parameters))
    assert isinstance(company_of([model]), Together)
    assert not is_sharded(whole(parameters[0]))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with attach(model, optimizer=optimizer, store=tmp_path / "run.zarr", schedule=every(1)):
        model(torch.ones(3, 5, dtype=torch.float64)).sum().backward()
        optimizer.step()
    first = build("perceptron")[0].weight.detach()  # type: ignore[index]
    norm = group(tmp_path / "run.zarr", "diagnostics")["weight_norm"].sel(parameter="0.weight")
    torch.testing.assert_close(float(norm[0]), float(first.norm()), rtol=1e-5, atol=0)


@pytest.mark.filterwarnings("ignore:FSDP is switching")
@pytest.mark.usefixtures("_one_process")
def test_flattened_parameters_are_refused() -> None:
    """The older way to shard keeps no parameter as it was, and is refused with the newer one's name."""
    with pytest.raises(ConfigurationError, match="fully_shard"):
        company_of([FullyShardedDataParallel(build("perceptron"), device_id=torch.device("cpu"))])


def test_a_whole_parameter_stands_for_itself() -> None:
    """A parameter that is not sharded is whole as it is, and what replaces it is another one."""
    old, new = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    assert whole(old) is old
    assert resting(old, new) is new
    assert resting(None, new) is new
