"""The training that watching is measured on, and what may watch it besides a monitor."""

from __future__ import annotations

import atexit
import importlib.util
import itertools
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

_PIECE = 256
"""Samples of a layer that fit a cache."""

Watcher = Callable[["Training"], Callable[[float], None]]
"""Begins to watch a training; what it gives is called with the loss after each update."""


class Training:
    """An MLP 49-width-width-width-1 with Adam on one batch of random numbers."""

    def __init__(self, batch: int, watcher: Watcher | None = None, *, width: int = 400) -> None:
        torch.manual_seed(0)
        sizes = [49, width, width, width]
        hidden = [layer for pair in itertools.pairwise(sizes) for layer in (nn.Linear(*pair), nn.ReLU())]
        self.model = nn.Sequential(*hidden, nn.Linear(width, 1))
        self.optimizer = torch.optim.Adam(self.model.parameters())
        self.inputs, self.targets = torch.randn(batch, 49), torch.randn(batch, 1)
        self.before: Callable[[], object] | None = None
        """What a watcher wants to be called before each forward."""
        self._after = None if watcher is None else watcher(self)

    def run(self, updates: int) -> None:
        """Train."""
        for _ in range(updates):
            if self.before is not None:
                self.before()
            self.optimizer.zero_grad()
            loss = nn.functional.mse_loss(self.model(self.inputs), self.targets)
            loss.backward()
            self.optimizer.step()
            if self._after is not None:
                self._after(loss)


def bare_decompositions(training: Training) -> Callable[[Any], None]:
    """One float64 eigendecomposition of the smaller Gram matrix of each layer: no tool that gives ranks does less."""
    features = _features_of(training.model)

    def after(_loss: Tensor) -> None:
        for output in features.values():
            rows = output if output.shape[0] <= output.shape[1] else output.T
            torch.linalg.eigvalsh((rows @ rows.T).double())

    return after


def bare_passes(training: Training) -> Callable[[Any], None]:
    """One pass for each statistic of the S tier, in as few operations as torch has; nothing is named, kept or stored.

    Outputs, their gradients and what went into them; parameters, gradients, the way from the start and of the update.
    """
    features, inputs, gradients = _features_of(training.model), dict[str, Tensor](), dict[str, Tensor]()
    for name, module in training.model.named_modules():
        if isinstance(module, nn.ReLU):
            module.register_forward_hook(partial(_keep_backward, name, inputs, gradients))
    parameters = list(training.model.parameters())
    initial, before = ([parameter.detach().clone() for parameter in parameters] for _ in range(2))
    changed = [torch.empty_like(parameter) for parameter in parameters]
    room = torch.empty(_PIECE * max(parameter.shape[0] for parameter in parameters))

    @torch.no_grad()
    def after(_loss: Tensor) -> None:
        for name, output in features.items():
            output.mean(dim=0)
            for given, gradient in zip(inputs[name].split(_PIECE), gradients[name].split(_PIECE), strict=True):
                # A piece stays in the cache from one statistic to the next, and so does what is written of it.
                own = room[: given.numel()].view(given.shape)
                torch.linalg.vector_norm(given, dim=1).mean()
                torch.gt(given, 0, out=own).sum(dim=0)
                torch.abs(gradient, out=own).sum(dim=0)
        of_loss = [parameter.grad for parameter in parameters if parameter.grad is not None]
        torch._foreach_norm(before)
        torch._foreach_norm(of_loss)
        for start, now, change, gradient in zip(initial, before, changed, of_loss, strict=True):
            torch.linalg.vector_norm(torch.sub(now, start, out=change))
            torch.abs(now, out=change).sum()
            torch.abs(gradient, out=change).amax()
            change.ne_(0).sum()
        torch._foreach_copy_(changed, parameters)
        torch._foreach_norm(torch._foreach_sub(changed, before))
        torch._foreach_copy_(before, parameters)

    return after


def bare_everything(training: Training) -> Callable[[Any], None]:
    """The passes and the decompositions, one step of power iteration for each weight, and what Adam's memory tells."""
    passes, decompositions = bare_passes(training), bare_decompositions(training)
    weights = [parameter.detach() for parameter in training.model.parameters() if parameter.ndim > 1]
    vectors = [torch.ones(4, weight.shape[1]) for weight in weights]

    @torch.no_grad()
    def after(loss: Tensor) -> None:
        passes(loss)
        decompositions(loss)
        for weight, vector in zip(weights, vectors, strict=True):
            vector @ weight.mT @ weight
        for state in training.optimizer.state.values():
            roots = state["exp_avg_sq"].sqrt()
            np.sort(roots.view(-1)[:1024].numpy())
            torch.lt(roots, 1e-8, out=torch.empty_like(roots)).sum()
            torch.linalg.vector_norm(torch.div(state["exp_avg"], roots.add_(1e-8), out=roots))

    return after


def by_hand(training: Training) -> Callable[[Any], None]:
    """What people write into their training loop: forward hooks, ``svdvals``, and ``.item()`` for each value."""
    model, features = training.model, _features_of(training.model)
    initial = [parameter.detach().clone() for parameter in model.parameters()]
    log: list[dict[str, float]] = []

    def after(loss: Tensor) -> None:
        values = {"loss": loss.item()}
        for name, output in features.items():
            score = output.abs().mean(0)
            score = score / (score.mean() + 1e-9)
            values[f"{name}/dormant"] = (score <= 0.025).float().mean().item()
            values[f"{name}/dead"] = (output <= 0).all(0).float().mean().item()
            values[f"{name}/norm"] = output.norm(dim=1).mean().item()
            singular = torch.linalg.svdvals(output)
            share = singular / singular.sum()
            values[f"{name}/effective_rank"] = torch.exp(-(share * torch.log(share + 1e-9)).sum()).item()
            values[f"{name}/srank"] = (share.cumsum(0) < 0.99).sum().item() + 1
            values[f"{name}/stable_rank"] = ((singular**2).sum() / singular[0] ** 2).item()
        for (name, parameter), start in zip(model.named_parameters(), initial, strict=True):
            values[f"{name}/weight_norm"] = parameter.norm().item()
            values[f"{name}/distance"] = (parameter - start).norm().item()
            if parameter.grad is not None:
                values[f"{name}/gradient_norm"] = parameter.grad.norm().item()
                values[f"{name}/gradient_zeros"] = (parameter.grad == 0).float().mean().item()
        log.append(values)

    return after


def torchmortem(training: Training) -> Callable[[Any], None]:
    """As its README begins."""
    module = importlib.import_module("torchmortem")
    autopsy = module.Autopsy(training.model, optimizer=training.optimizer).__enter__()
    # It would leave a report beside the checkout when the interpreter ends.
    atexit.unregister(autopsy._atexit_handler)
    return lambda loss: autopsy.step(loss=loss.item())


def neural_observatory(training: Training) -> Callable[[Any], None]:
    """As its README begins."""
    observatory = importlib.import_module("neural_observatory").Observatory(training.model)
    observatory.watch()
    steps = iter(range(10**9))
    training.before = lambda: observatory.step(step=next(steps), epoch=0)
    return lambda _loss: None


def peers() -> dict[str, Watcher | None]:
    """Other tools by name; None for one that is not installed."""
    known: dict[str, Watcher] = {"torchmortem": torchmortem, "neural_observatory": neural_observatory}
    return {name: watcher if importlib.util.find_spec(name) else None for name, watcher in known.items()}


def _keep_backward(
    name: str, into: dict[str, Tensor], gradients: dict[str, Tensor], _module: nn.Module, given: Any, output: Tensor
) -> None:
    into[name] = given[0].detach()
    output.register_hook(partial(gradients.__setitem__, name))


def _features_of(model: nn.Module) -> dict[str, Tensor]:
    features: dict[str, Tensor] = {}

    def keep(name: str, _module: nn.Module, _inputs: object, output: Tensor) -> None:
        features[name] = output.detach()

    for name, module in model.named_modules():
        if isinstance(module, nn.ReLU):
            module.register_forward_hook(partial(keep, name))
    return features
