"""How a model of the zoo is trained: step by step, the same with a monitor and without one."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from zoo.reckoning import Reckoning

Oracle = Callable[..., Tensor]
"""From parameters and buffers by name, a reckoning and the inputs to the output, in float64 and by hand."""


def squares(output: Tensor) -> Tensor:
    """A loss of any output."""
    return (output - 0.3).square().mean()


@dataclass
class Moment:
    """One update: what stood before it, and what it was done on."""

    before: dict[str, Tensor]
    training: dict[str, bool]
    random_state: Tensor
    inputs: tuple[Any, ...]
    twin: nn.Module = field(default_factory=nn.Identity)
    """A copy of the model, where what it puts out is measured on one."""
    gradients: dict[str, Tensor] = field(default_factory=dict)
    after: dict[str, Tensor] = field(default_factory=dict)


@dataclass
class Training:
    """One model, one optimizer, one forward and one backward to an update."""

    build: Callable[[], nn.Module]
    batch: Callable[[int], tuple[Any, ...]]
    oracle: Oracle
    loss: Callable[[Tensor], Tensor] = squares
    attach_to: Callable[[nn.Module], Any] = lambda model: model

    def __post_init__(self) -> None:
        torch.manual_seed(0)
        self.model = self.build()
        self.optimizers = self.make_optimizers()
        self.moments: list[Moment] = []
        self.is_noting = False
        torch.manual_seed(1)
        np.random.seed(1)
        random.seed(1)

    def make_optimizers(self) -> list[Optimizer]:
        """What updates the model."""
        return [torch.optim.Adam([p for p in self.model.parameters() if p.requires_grad], lr=0.01)]

    def step(self, number: int) -> None:
        """One update."""
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        inputs = self.batch(number)
        self.note(inputs)
        self.loss(self.forward(*inputs)).backward()
        for optimizer in self.optimizers:
            optimizer.step()
        self.note_update()

    def forward(self, *inputs: Any) -> Tensor:
        """The output of the model."""
        output = self.model(*inputs)
        return output if isinstance(output, Tensor) else output.logits

    def note(self, inputs: tuple[Any, ...]) -> None:
        """Copy by hand what the record of the update that follows has to be reckoned from."""
        if self.is_noting:
            named = {**dict(self.model.named_parameters()), **dict(self.model.named_buffers())}
            self.moments.append(
                Moment(
                    {name: tensor.detach().clone() for name, tensor in named.items()},
                    {name: module.training for name, module in self.model.named_modules()},
                    torch.get_rng_state(),
                    inputs,
                )
            )

    def note_update(self) -> None:
        """Copy the gradients that the optimizer saw, and the parameters as it left them."""
        if self.is_noting:
            for name, parameter in self.model.named_parameters():
                self.moments[-1].after[name] = parameter.detach().clone()
                if parameter.grad is not None:
                    self.moments[-1].gradients[name] = parameter.grad.clone()

    def reckon(self, moment: Moment) -> Reckoning:
        """What each layer put out at that moment, and the gradients of it, by hand."""
        learns = {name for name, parameter in self.model.named_parameters() if parameter.requires_grad}
        values = {
            name: tensor.to(torch.float64).requires_grad_(name in learns) if tensor.is_floating_point() else tensor
            for name, tensor in moment.before.items()
        }
        reckoning = Reckoning(moment.training)
        with torch.random.fork_rng():
            torch.set_rng_state(moment.random_state)
            output = self.oracle(values, reckoning, *map(widened, moment.inputs))
        if output.requires_grad:
            self.loss(output).backward()
        return reckoning

    def state(self) -> dict[str, Any]:
        """All that watching could change, bit by bit."""
        models = self.model.values() if isinstance(self.model, Mapping) else [self.model]
        return {
            "weights": [bits(tensor) for model in models for tensor in model.state_dict().values()],
            "gradients": [bits(tensor.grad) for model in models for tensor in model.parameters()],
            "optimizer": [
                {key: bits(value) for key, value in state.items()}
                for optimizer in self.optimizers
                for state in optimizer.state_dict()["state"].values()
            ],
            "modes": [module.training for model in models for module in model.modules()],
            "versions": [tensor._version for model in models for tensor in (*model.parameters(), *model.buffers())],
            "torch": bits(torch.get_rng_state()),
            "numpy": str(np.random.get_state()),
            "python": random.getstate(),
        }

    def traces(self) -> Iterator[str]:
        """Where something hangs on the models or the optimizers, or torch is not as it came."""
        models = self.model.values() if isinstance(self.model, Mapping) else [self.model]
        for model in models:
            for name, module in model.named_modules():
                for kind in ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks"):
                    yield from (f"{kind} of {name}" for _ in getattr(module, kind))
                if type(module._compiled_call_impl).__module__.startswith("plastikit"):
                    yield f"compiled call of {name}"
            for name, parameter in model.named_parameters():
                yield from (f"hook of {name}" for _ in parameter._backward_hooks or ())
                yield from (f"hook of {name}" for _ in parameter._post_accumulate_grad_hooks or ())
        for optimizer in self.optimizers:
            for kind in ("_optimizer_step_pre_hooks", "_optimizer_step_post_hooks"):
                yield from (kind for _ in getattr(optimizer, kind))
        yield from traces_in_torch()


def traces_in_torch() -> Iterator[str]:
    """What of torch is not its own."""
    import torch._dynamo.eval_frame as frames

    for name, function in (
        ("torch.compile", torch.compile),
        ("functional.linear", nn.functional.linear),
        ("OptimizedModule.__call__", frames.OptimizedModule.__call__),
    ):
        if "plastikit" in str(getattr(function, "__module__", "")) or hasattr(function, "__wrapped__"):
            yield name
    if torch.overrides._get_current_function_mode() is not None:
        yield "a mode for torch functions"


def widened(value: Any) -> Any:
    """Floating point tensors in float64."""
    if isinstance(value, Tensor):
        return value.to(torch.float64) if value.is_floating_point() else value
    if isinstance(value, nn.utils.rnn.PackedSequence):
        return value.to(torch.float64)
    return value


def bits(value: Any) -> Any:
    """A value that is equal where every bit is."""
    if isinstance(value, Tensor):
        return (
            value.dtype,
            tuple(value.shape),
            value.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes() if value.ndim else value.item(),
        )
    return value
