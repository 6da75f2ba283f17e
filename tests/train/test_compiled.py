"""Updates that are compiled, and on a GPU captured in CUDA graphs."""

from __future__ import annotations

import os
from typing import Any

import pytest
import torch
from torch import Tensor

from plastikit.train import compiled
from plastikit.train.config import NetworkConfig, SacConfig, TrainingConfig
from plastikit.train.replay import Batch
from plastikit.train.sac import SoftActorCritic

TASKS, SAMPLES, FEATURES, ACTIONS = 2, 6, 5, 3
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def make_agent(architecture: str = "multi_head", **changes: Any) -> SoftActorCritic:
    """A small agent with task weights."""
    network = NetworkConfig(architecture=architecture, width=8, depth=2)
    settings: dict[str, Any] = {
        "tasks": "reach-v3,push-v3",
        "actor": network,
        "critic": network,
        "sac": SacConfig(critic_output_range=1.0, actor_output_range=0.5, has_task_weights=True),
        "device": "cpu",
    }
    config = TrainingConfig(**(settings | changes))
    return SoftActorCritic(config, observation_size=FEATURES, action_size=ACTIONS)


def make_batch(seed: int, device: torch.device) -> Batch:
    """Random transitions, some of which end."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(TASKS, SAMPLES, *shape, generator=generator)

    batch = Batch(normal(FEATURES), normal(ACTIONS).tanh(), normal() * 10, (normal() > 1.0).float(), normal(FEATURES))
    return Batch(*(part.to(device) for part in batch))


def assert_alike(agent: SoftActorCritic, other: SoftActorCritic, *, updates: int = 3, tolerance: float = 1e-4) -> None:
    """Updates from the same noise come to the same losses and weights, to within rounding."""
    for step in range(updates):
        noise = torch.randn(2, TASKS, SAMPLES, ACTIONS, generator=torch.Generator().manual_seed(step))
        one, two = (each.learn(make_batch(step, each.device), noise.to(each.device)) for each in (agent, other))
        assert [loss.item() for loss in one] == pytest.approx([loss.item() for loss in two], rel=tolerance)
    for mine, theirs in zip((agent.actor, *agent.critics, *agent.targets), networks(other), strict=True):
        for here, there in zip(mine.parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(here.cpu(), there.cpu(), rtol=tolerance, atol=tolerance / 10)
    torch.testing.assert_close(agent.alpha.cpu(), other.alpha.cpu(), rtol=tolerance, atol=0.0)


def networks(agent: SoftActorCritic) -> tuple[torch.nn.Module, ...]:
    """All networks of an agent."""
    return (agent.actor, *agent.critics, *agent.targets)


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> list[torch.fx.GraphModule]:
    """The graphs that are captured; they run as captured, so that no compiler is needed."""
    captured: list[torch.fx.GraphModule] = []

    def keep(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Any:
        from torch._dynamo.backends.registry import lookup_backend

        captured.append(graph)
        return lookup_backend("aot_eager")(graph, inputs)

    monkeypatch.setattr(compiled, "OPTIONS", {"cpu": {"backend": keep}})
    monkeypatch.setattr(compiled, "require_compiler", lambda _: None)
    return captured


@pytest.mark.parametrize("architecture", ["multi_head", "soft_modules"])
def test_losses_are_captured_whole(architecture: str, graphs: list[torch.fx.GraphModule]) -> None:
    """Two graphs, once each; compiled updates agree with those that run as written."""
    assert_alike(make_agent(architecture, is_compiled=True), make_agent(architecture))
    assert len(graphs) == 2


def test_a_process_may_compile_many_agents(graphs: list[torch.fx.GraphModule]) -> None:
    """More than torch compiles one function for, which is eight unless it is told otherwise."""
    with torch._dynamo.config.patch(recompile_limit=1):
        for _ in range(3):
            agent = make_agent(is_compiled=True)
            agent.update(make_batch(0, agent.device))
    assert len(graphs) == 6


def test_recorded_updates_are_measured_at_full_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the losses are told and where optimizers are heard, products are those that a user's own would be."""
    agent = make_agent()
    monkeypatch.setattr(agent, "_is_tf32", True)
    heard: list[str] = []

    def hear(*_: object) -> None:
        heard.append(torch.get_float32_matmul_precision())

    agent.critics[0].trunk.hidden_1.register_forward_hook(hear)
    agent.critics[0].trunk.linear_1.weight.register_hook(hear)
    agent.critic_optimizer.register_step_pre_hook(hear)
    agent.update(make_batch(0, agent.device), hear)
    assert heard == ["high", "highest", "high", "highest", "highest"]


def test_optimizers_are_heard_and_find_their_gradients(graphs: list[torch.fx.GraphModule]) -> None:
    """A compiled update steps each optimizer once, with a gradient for each of its parameters and none for others."""
    agent, other = make_agent(is_compiled=True), make_agent()
    heard: list[str] = []
    for each in (agent, other):
        for name in ("critic", "actor", "alpha"):
            getattr(each, f"{name}_optimizer").register_step_pre_hook(lambda *_, name=name: heard.append(name))
        each.update(make_batch(0, each.device))
    assert len(graphs) == 2
    assert heard == ["critic", "actor", "alpha"] * 2
    for one, two in zip(agent._critic_parameters, other._critic_parameters, strict=True):
        assert one.requires_grad
        torch.testing.assert_close(one.grad, two.grad)


def test_an_update_that_is_listened_to_runs_as_written(graphs: list[torch.fx.GraphModule]) -> None:
    """Hooks on layers see it, nothing is captured, and the losses are told."""
    agent, seen, told = make_agent(is_compiled=True), [], []
    agent.critics[0].trunk.hidden_1.register_forward_hook(lambda *_: seen.append(1))
    agent.update(make_batch(0, agent.device), lambda network, _: told.append(network))
    assert told == ["critic", "actor"]
    assert len(seen) == 1  # the actor learns from a twin of the critics
    assert not graphs
    agent.update(make_batch(1, agent.device))
    assert len(graphs) == 2


@pytest.mark.skipif("PLASTIKIT_TEST_INDUCTOR" not in os.environ, reason="takes a compiler, and its time")
def test_what_the_compiler_makes_of_it_agrees() -> None:
    """The default backend, on a CPU."""
    assert_alike(make_agent(is_compiled=True), make_agent())


@needs_cuda
@pytest.mark.parametrize("is_compiled", [False, True])
def test_a_gpu_agrees_with_the_cpu(is_compiled: bool) -> None:
    """The same weights at first, and the same updates; captured ones too, replayed with other batches."""
    assert_alike(make_agent(device="cuda", is_compiled=is_compiled), make_agent(), updates=6, tolerance=1e-3)


@needs_cuda
@pytest.mark.parametrize("is_compiled", [False, True])
@pytest.mark.parametrize("precision", ["tf32", "bfloat16"])
def test_lower_precisions_come_near(precision: str, is_compiled: bool) -> None:
    """Losses agree to a few percent, and what is outside the update keeps its precision."""
    before = torch.get_float32_matmul_precision()
    agent = make_agent(device="cuda", precision=precision, is_compiled=is_compiled)
    exact = make_agent(device="cuda")
    for step in range(4):
        noise = torch.randn(2, TASKS, SAMPLES, ACTIONS, device="cuda")
        batch = make_batch(step, agent.device)
        one, two = agent.learn(batch, noise), exact.learn(batch, noise)
        assert one.critic.dtype == torch.float32
        assert [loss.item() for loss in one] == pytest.approx([loss.item() for loss in two], rel=0.05, abs=0.05)
    assert torch.get_float32_matmul_precision() == before


@needs_cuda
def test_losses_of_captured_updates_stay_as_they_were() -> None:
    """What an update gives back is not written over by the next one."""
    agent = make_agent(device="cuda", is_compiled=True)
    losses = [agent.update(make_batch(step, agent.device)) for step in range(6)]
    again = make_agent(device="cuda", is_compiled=True)
    for step, kept in enumerate(losses):
        fresh = [loss.item() for loss in again.update(make_batch(step, again.device))]
        assert [loss.item() for loss in kept] == pytest.approx(fresh, rel=1e-4)


@needs_cuda
@pytest.mark.parametrize("is_compiled", [False, True])
def test_all_of_an_agent_lies_on_its_gpu(is_compiled: bool) -> None:
    """Weights, optimizers' states and generators; and a state saved there goes on in another agent."""
    agent, other = (make_agent(device="cuda", is_compiled=is_compiled) for _ in range(2))
    for step in range(2):
        agent.update(make_batch(step, agent.device))
    state = agent.state_dict()
    assert all(tensor.is_cuda for network in networks(agent) for tensor in network.parameters())
    other.load_state_dict(state)
    batch = make_batch(2, agent.device)
    assert [loss.item() for loss in agent.update(batch)] == [loss.item() for loss in other.update(batch)]
