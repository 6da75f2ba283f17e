"""The same small trainings in several processes and in one, for comparing what was recorded of them."""

from __future__ import annotations

import multiprocessing
import runpy
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
import torch.distributed
from torch import Tensor, nn

PROCESSES = 2


class Convolutions(nn.Module):
    """Two convolutions and a head; ``tasks`` says only to which task each image belongs."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Conv2d(4, 6, 3), nn.GELU(), nn.Flatten(), nn.Linear(24, 1)
        )

    def forward(self, images: Tensor, tasks: Tensor) -> Tensor:
        """One number for each image."""
        assert len(images) == len(tasks)
        return self.layers(images)  # type: ignore[no-any-return]


class Expert(nn.Module):
    """A network of which a part sees only the samples that begin with a positive number."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(5, 8), nn.Tanh())
        self.expert = nn.Sequential(nn.Linear(8, 8), nn.ReLU())
        self.head = nn.Linear(8, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        """One number for each sample."""
        hidden = self.trunk(inputs)
        chosen = inputs[:, 0] > 0
        if chosen.any():
            hidden = hidden.index_add(0, chosen.nonzero()[:, 0], self.expert(hidden[chosen]))
        return self.head(hidden)  # type: ignore[no-any-return]


def perceptron() -> nn.Sequential:
    """Two hidden layers, one of them a function of torch's that saturates."""
    return nn.Sequential(nn.Linear(5, 16), nn.Tanh(), nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 1))


def task_of(_images: Tensor, tasks: Tensor) -> Tensor:
    """The tasks that the network was told."""
    return tasks


def build(kind: str) -> nn.Module:
    """The network of a training, the same in every process; in double precision, so that orders of sums hardly tell."""
    torch.manual_seed(0)
    made = {"convolutions": Convolutions, "expert": Expert}.get(kind, perceptron)
    return made().to(torch.float64)


def batch(kind: str, step: int, micro: int, rank: int) -> tuple[Tensor, ...]:
    """What one process trains on; the processes have batches of different sizes."""
    generator = torch.Generator().manual_seed(1000 * step + 10 * micro + rank)
    size = 9 + 5 * rank
    if kind == "convolutions":
        images = torch.randn(size, 2, 6, 6, generator=generator, dtype=torch.float64)
        return images, torch.randint(0, 3, (size,), generator=generator)
    inputs = torch.randn(size, 5, generator=generator, dtype=torch.float64)
    if kind == "expert":
        inputs[:, 0] = inputs[:, 0].abs() * (1 - 2 * rank)
    return (inputs,)


def train(
    model: Callable[..., Tensor],
    optimizer: torch.optim.Optimizer,
    kind: str,
    ranks: list[int],
    *,
    steps: int = 4,
    unsynced: Callable[[], AbstractContextManager[Any]] = nullcontext,
) -> None:
    """Train on the batches of ``ranks``, joined; the loss is the mean of their losses, as it is between processes."""
    micros = 2 if kind == "accumulation" else 1
    for step in range(steps):
        optimizer.zero_grad()
        for micro in range(micros):
            parts = [batch(kind, step, micro, rank) for rank in ranks]
            with unsynced() if micro + 1 < micros else nullcontext():
                outputs = model(*(torch.cat(column) for column in zip(*parts, strict=True)))
                split = outputs.split([len(part[0]) for part in parts])
                losses = [(output - 1).square().mean() for output in split]
                torch.stack(losses).mean().backward()
        optimizer.step()


def state(model: nn.Module, optimizer: torch.optim.Optimizer) -> list[Any]:
    """Weights, gradients, the optimizer's state and the random state, as plain values."""
    local = [_local(tensor) for tensor in model.state_dict().values()]
    gradients = [None if each.grad is None else _local(each.grad) for each in model.parameters()]
    kept = [_local(value) for values in optimizer.state.values() for value in values.values()]
    return [local, gradients, kept, torch.get_rng_state().tolist()]


def start(work: Callable[[int, Path], None], folder: Path) -> list[BaseProcess]:
    """Begin ``work`` in every process, each with its rank."""
    context = multiprocessing.get_context("spawn")
    # By file and name: a file of tests is no module that another process could import.
    place = work.__code__.co_filename, work.__name__
    processes: list[BaseProcess] = [
        context.Process(target=_run, args=(*place, rank, folder), daemon=True) for rank in range(PROCESSES)
    ]
    for process in processes:
        process.start()
    return processes


def finish(processes: list[BaseProcess], folder: Path, *, seconds: float = 120) -> list[str]:
    """Wait for all of them; the errors with which they ended, empty texts where there was none."""
    for process in processes:
        process.join(seconds)
    alive = [rank for rank, process in enumerate(processes) if process.is_alive()]
    for process in processes:
        process.kill()
    assert not alive, f"processes {alive} hang"
    files = [folder / f"error{rank}" for rank in range(len(processes))]
    return [file.read_text(encoding="utf-8") if file.exists() else "did not end" for file in files]


def run(work: Callable[[int, Path], None], folder: Path) -> None:
    """Do ``work`` in every process, to the end and without an error."""
    errors = finish(start(work, folder), folder)
    assert not any(errors), "\n".join(errors)


def _run(file: str, name: str, rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    work = runpy.run_path(file)[name]
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder / 'meeting'}", rank=rank, world_size=PROCESSES
    )
    error = ""
    try:
        work(rank, folder)
    except Exception:  # noqa: BLE001  the test that waits for this process reads it
        error = traceback.format_exc()
    (folder / f"error{rank}").write_text(error, encoding="utf-8")
    if not error:
        torch.distributed.destroy_process_group()


def _local(tensor: Tensor) -> Any:
    """What of it lies in this process."""
    return getattr(tensor, "_local_tensor", tensor).tolist()
