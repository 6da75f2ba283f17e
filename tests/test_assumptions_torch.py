"""What plastikit leans on in torch: an upgrade that breaks one of these says which."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn


def test_hooks_surround_the_optimizers_step() -> None:
    """Pre-hooks see the parameters before the step and post-hooks after it, in the order of registration."""
    parameter = nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    seen: list[tuple[str, float]] = []
    for name in ("first", "second"):
        optimizer.register_step_pre_hook(lambda *_, name=name: seen.append((f"{name} before", parameter.item())))
        optimizer.register_step_post_hook(lambda *_, name=name: seen.append((f"{name} after", parameter.item())))
    parameter.grad = torch.ones(1)
    optimizer.step()
    assert seen == [("first before", 1), ("second before", 1), ("first after", 0), ("second after", 0)]


def test_hooks_are_handed_the_closure() -> None:
    """The arguments of a hook begin with the optimizer itself; a closure comes next, or by its name."""
    parameter = nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    found: list[object] = []
    optimizer.register_step_pre_hook(
        lambda _, args, kwargs: found.append((args[0] is optimizer, len(args), dict(kwargs)))
    )

    def closure() -> float:
        parameter.grad = torch.ones(1)
        return 0.0

    optimizer.step(closure)
    optimizer.step(closure=closure)
    assert found == [(True, 2, {}), (True, 1, {"closure": closure})]


def test_no_post_hook_after_an_error() -> None:
    """A step that raises runs its pre-hooks, and no post-hook."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=1.0)
    seen: list[str] = []
    optimizer.register_step_pre_hook(lambda *_: seen.append("before"))
    optimizer.register_step_post_hook(lambda *_: seen.append("after"))

    def closure() -> float:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        optimizer.step(closure)
    assert seen == ["before"]


def test_a_detached_tensor_shares_the_count_of_writes() -> None:
    """A write through any alias shows in ``_version`` of the detached tensor, a read does not."""
    output = torch.ones(3, requires_grad=True) * 2
    kept = output.detach()
    version = kept._version
    output.sum()
    assert kept._version == version
    output[0] = 5
    assert kept._version == version + 1
    output.view(3).add_(1)
    assert kept._version > version + 1


def test_inference_tensors_count_no_writes() -> None:
    """They say that they are inference tensors, and have no ``_version``."""
    with torch.inference_mode():
        output = torch.ones(3) * 2
    assert output.is_inference()
    with pytest.raises(RuntimeError):
        _ = output._version


def test_always_called_hooks_are_called_after_an_error() -> None:
    """A forward hook with ``always_call`` runs although the forward raised."""

    class Fails(nn.Module):
        def forward(self, inputs: Tensor) -> Tensor:
            raise ZeroDivisionError

    module = Fails()
    seen = []
    module.register_forward_hook(lambda *_: seen.append(1), always_call=True)
    with pytest.raises(ZeroDivisionError):
        module(torch.ones(1))
    assert seen == [1]


def test_forward_hooks_see_the_modules_own_output() -> None:
    """The hook of a module is handed the very tensor that the next module gets, in-place functions included."""
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(inplace=True), nn.Identity())
    seen: list[tuple[Tensor, Tensor]] = []

    def note(_module: nn.Module, args: tuple[Tensor], output: Tensor) -> None:
        seen.append((args[0], output))

    for module in model:
        module.register_forward_hook(note)
    model(torch.ones(1, 2))
    assert all(following[0] is former[1] for former, following in pairwise(seen))
    assert seen[0][1] is seen[1][1]


def test_modules_are_named_once() -> None:
    """A module or parameter that appears twice has the name of its first place."""
    relu, linear = nn.ReLU(), nn.Linear(2, 2)
    model = nn.Sequential(linear, relu, linear, relu)
    assert [name for name, _ in model.named_modules() if name] == ["0", "1"]
    assert [name for name, _ in model.named_parameters()] == ["0.weight", "0.bias"]


def test_fused_optimizers_are_handed_scaled_gradients() -> None:
    """With a gradient scaler a fused optimizer sees scaled gradients, and ``grad_scale`` while it steps."""
    parameter = nn.Parameter(torch.ones(2))
    optimizer = torch.optim.Adam([parameter], fused=True)
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    seen: list[tuple[float, float]] = []
    optimizer.register_step_pre_hook(
        lambda *_: seen.append((float(parameter.grad[0]), float(optimizer.grad_scale)))  # type: ignore[index,attr-defined]
    )
    scaler.scale(parameter.sum()).backward()
    scaler.step(optimizer)
    assert seen == [(8, 8)]
    assert getattr(optimizer, "grad_scale", None) is None


def test_autocast_keeps_what_it_casts_without_gradients_to_itself() -> None:
    """Weights cast where gradients are off do not stand in for those of the training that follows."""
    model = nn.Linear(3, 2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        with torch.no_grad():
            model(torch.ones(4, 3))
        model(torch.ones(4, 3)).float().sum().backward()
    assert model.weight.grad is not None


def test_products_in_a_graph_tell_what_went_in() -> None:
    """A linear layer's node and a stack's: bias, input, weight in this order, the input kept, the gradient handed over.

    Pieces of a batch are differentiated at once by these; without them each is by itself, which takes longer.
    """
    rows, layer = torch.randn(4, 3), nn.Linear(3, 2)
    node = layer(rows).grad_fn
    assert node.name() == "AddmmBackward0"
    assert torch.equal(node._saved_mat1, rows)
    assert (node._saved_alpha, node._saved_beta) == (1, 1)
    bias, _, weight = (edge for edge, _ in node.next_functions)
    assert bias.variable is layer.bias
    assert weight.name() == "TBackward0"
    assert weight.next_functions[0][0].variable is layer.weight
    stack, stacked_bias = torch.randn(2, 3, 5, requires_grad=True), torch.zeros(2, 1, 5, requires_grad=True)
    output = torch.baddbmm(stacked_bias, torch.ones(2, 4, 3), stack)
    node = output.grad_fn
    assert node is not None
    assert node.name() == "BaddbmmBackward0"
    reached = [getattr(edge, "variable", None) for edge, _ in node.next_functions if edge is not None]
    assert [id(each) for each in reached] == [id(stacked_bias), id(stack)]
    handed: list[torch.Tensor] = []
    node.register_prehook(lambda gradients: handed.append(gradients[0]))
    torch.autograd.grad(output.sum(), stacked_bias)
    assert torch.equal(handed[0], torch.ones(2, 4, 5))
