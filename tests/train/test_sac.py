"""Networks, optimizers and one update of multi-task soft actor-critic."""

from __future__ import annotations

import copy
import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Normal

from plastikit.train.config import NetworkConfig, SacConfig, TrainingConfig
from plastikit.train.replay import Batch
from plastikit.train.sac import SoftActorCritic, clip_together

TASKS, SAMPLES, FEATURES, ACTIONS = 2, 6, 5, 3


def make_agent(*, seed: int = 0, **sac: float | bool) -> SoftActorCritic:
    """A small agent whose gradients are well above the clipping norm."""
    network = NetworkConfig(width=8, depth=2)
    settings = replace(SacConfig(critic_output_range=1.0, actor_output_range=0.5, target_entropy=-3.0), **sac)  # type: ignore[arg-type]
    config = TrainingConfig(
        tasks="reach-v3,push-v3", seed=seed, actor=network, critic=network, sac=settings, device="cpu"
    )
    return SoftActorCritic(config, observation_size=FEATURES, action_size=ACTIONS)


def make_batch(seed: int) -> Batch:
    """Random transitions, some of which end."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(TASKS, SAMPLES, *shape, generator=generator)

    return Batch(normal(FEATURES), normal(ACTIONS).tanh(), normal() * 10, (normal() > 1.0).float(), normal(FEATURES))


class SlowUpdate:
    """The published update written the obvious way: double loops, torch's distributions, plain Adam."""

    def __init__(self, agent: SoftActorCritic) -> None:
        self.settings = agent.settings
        self.actor, self.critics, self.targets = copy.deepcopy((agent.actor, agent.critics, agent.targets))
        self.log_alpha = agent.log_alpha.detach().clone().requires_grad_()
        self.critic_parameters = [parameter for critic in self.critics for parameter in critic.parameters()]
        self.critic_optimizer = self.adam(self.critic_parameters)
        self.actor_optimizer = self.adam(list(self.actor.parameters()))
        self.alpha_optimizer = self.adam([self.log_alpha])

    def adam(self, parameters: list[nn.Parameter] | list[Tensor]) -> torch.optim.Adam:
        return torch.optim.Adam(parameters, lr=3e-4, eps=1e-5, foreach=False, fused=False)

    def act(self, observation: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_std = self.actor(observation).chunk(2, dim=-1)
        deviation = log_std.clamp(-20.0, 2.0).exp()
        before = mean + deviation * noise
        slope = 1.0 - before.double().tanh().square()
        density = Normal(mean, deviation).log_prob(before) - slope.log()
        return before.tanh(), density.sum(dim=-1).float()

    def lowest(self, critics: tuple[nn.Module, ...], observation: Tensor, action: Tensor) -> Tensor:
        values = [critic(torch.cat((action, observation), dim=-1))[..., 0] for critic in critics]
        return torch.minimum(values[0], values[1])

    def __call__(self, batch: Batch, noise: Tensor) -> tuple[float, float, float]:
        alpha = self.log_alpha.detach().exp()
        weight = torch.ones(TASKS)
        if self.settings.has_task_weights:
            inverse = 1.0 / alpha[:, 0]
            weight = inverse / inverse.sum() * TASKS

        with torch.no_grad():
            next_action, next_density = self.act(batch.next_observation, noise[0])
            next_value = self.lowest(self.targets, batch.next_observation, next_action) - alpha * next_density
            wanted = batch.reward + 0.99 * (1 - batch.terminated) * next_value
        errors = []
        for critic in self.critics:
            value = critic(torch.cat((batch.action, batch.observation), dim=-1))[..., 0]
            for task in range(TASKS):
                errors += [weight[task] * (value[task, n] - wanted[task, n]) ** 2 for n in range(SAMPLES)]
        critic_loss = torch.stack(errors).sum() / len(errors)
        self.critic_optimizer.zero_grad()
        critic_loss.backward()
        clip(self.critic_parameters)
        self.critic_optimizer.step()

        for target, critic in zip(self.targets, self.critics, strict=True):
            for old, new in zip(target.parameters(), critic.parameters(), strict=True):
                old.data = 0.995 * old.data + 0.005 * new.data

        action, density = self.act(batch.observation, noise[1])
        gain = self.lowest(self.critics, batch.observation, action) - alpha * density
        actor_loss = -(weight[:, None] * gain).mean()
        self.actor_optimizer.zero_grad()
        actor_loss.backward()
        clip(list(self.actor.parameters()))
        self.actor_optimizer.step()

        alpha_loss = -(self.log_alpha * (density.detach() + self.settings.target_entropy)).mean()
        self.alpha_optimizer.zero_grad()
        alpha_loss.backward()
        self.alpha_optimizer.step()
        return critic_loss.item(), actor_loss.item(), alpha_loss.item()


def clip(parameters: list[nn.Parameter]) -> None:
    """Scale the gradients, taken as one vector, down to length 1."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    length = torch.cat([gradient.flatten() for gradient in gradients]).norm()
    assert length > 1.0, "the case is meant to clip"
    for gradient in gradients:
        gradient.mul_(1.0 / (length + 1e-6))


@pytest.mark.parametrize("has_task_weights", [False, True])
def test_updates_equal_the_obvious_ones(has_task_weights: bool) -> None:
    """After several updates the losses and every parameter agree with a slow recomputation."""
    agent = make_agent(has_task_weights=has_task_weights)
    slow = SlowUpdate(agent)
    noise = copy.deepcopy(agent._update_noise)
    for step in range(4):
        batch = make_batch(step)
        losses = agent.update(batch)
        expected = slow(batch, torch.randn((2, TASKS, SAMPLES, ACTIONS), generator=noise))
        assert [loss.item() for loss in losses] == pytest.approx(expected, rel=1e-4)
    for network, reference in zip(
        (agent.actor, *agent.critics, *agent.targets), (slow.actor, *slow.critics, *slow.targets), strict=True
    ):
        for parameter, value in zip(network.parameters(), reference.parameters(), strict=True):
            torch.testing.assert_close(parameter, value, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(agent.log_alpha, slow.log_alpha, rtol=1e-5, atol=1e-7)


def test_both_critics_are_clipped_as_one() -> None:
    """The gradient that the critics' optimizer sees has length 1 over both critics together."""
    agent = make_agent()
    agent.update(make_batch(0))
    gradients = [parameter.grad for critic in agent.critics for parameter in critic.parameters()]
    length = torch.cat([gradient.flatten() for gradient in gradients if gradient is not None]).norm()
    assert length.item() == pytest.approx(1.0, rel=1e-4)


def test_targets_are_no_part_of_any_graph() -> None:
    """The targets follow the critics without gradients, update after update."""
    agent = make_agent()
    for step in range(2):
        agent.update(make_batch(step))
    for target in agent.targets:
        for parameter in target.parameters():
            assert parameter.is_leaf
            assert not parameter.requires_grad


def test_alpha_moves_for_each_task_by_its_own_entropy() -> None:
    """Where the policy is more random than wanted the temperature falls, elsewhere it rises."""
    agent = make_agent(target_entropy=0.0)
    density = torch.tensor([[-5.0] * SAMPLES, [5.0] * SAMPLES])
    agent._update_alpha(density)
    assert agent.alpha[0] < 1.0 < agent.alpha[1]


def test_exploring_draws_and_exploiting_does_not() -> None:
    """Two explored actions differ; two exploited ones are equal, and neither builds a graph."""
    agent = make_agent()
    observation = np.random.default_rng(0).standard_normal((TASKS, FEATURES)).astype(np.float32)
    assert not np.array_equal(agent.explore(observation), agent.explore(observation))
    assert np.array_equal(agent.exploit(observation), agent.exploit(observation))
    assert agent.explore(observation).shape == (TASKS, ACTIONS)
    assert np.abs(agent.explore(observation)).max() <= 1.0


def test_the_two_critics_start_apart_and_the_targets_as_their_copies() -> None:
    """Each critic has first weights of its own, which its target shares."""
    agent = make_agent()
    first, second = (next(critic.parameters()) for critic in agent.critics)
    assert not torch.equal(first, second)
    for critic, target in zip(agent.critics, agent.targets, strict=True):
        for mine, copied in zip(critic.parameters(), target.parameters(), strict=True):
            assert torch.equal(mine, copied)
            assert mine.data_ptr() != copied.data_ptr()


def test_an_agent_that_loads_another_goes_on_bit_for_bit() -> None:
    """Saved after some updates and loaded into a fresh agent: the same losses, actions and weights from there on."""
    agent, observation = make_agent(), np.ones((TASKS, FEATURES), dtype=np.float32)
    for step in range(3):
        agent.update(make_batch(step))
        agent.explore(observation)
    file = io.BytesIO()
    torch.save(agent.state_dict(), file)
    file.seek(0)
    other = make_agent(seed=1)
    other.load_state_dict(torch.load(file))
    for step in range(3, 6):
        batch = make_batch(step)
        assert agent.update(batch) == other.update(batch)
        assert np.array_equal(agent.explore(observation), other.explore(observation))
    assert_same(agent, other)


def assert_same(agent: SoftActorCritic, other: SoftActorCritic) -> None:
    """All that two agents hold is equal bit for bit."""
    torch.testing.assert_close(agent.state_dict(), other.state_dict(), rtol=0.0, atol=0.0)


@pytest.mark.parametrize("has_task_weights", [False, True])
def test_losses_of_samples_are_told_before_each_backward(has_task_weights: bool) -> None:
    """Critics', then actor's; their means are the update's losses, their gradients the update's own."""
    agent, batch = make_agent(has_task_weights=has_task_weights, gradient_clip_norm=1e9), make_batch(0)
    with torch.no_grad():
        agent.log_alpha[0] = 1.0
    told: dict[str, float] = {}
    gradients: dict[str, list[Tensor]] = {}

    def hear(network: str, losses: Tensor) -> None:
        assert losses.shape == (TASKS, SAMPLES)
        parameters = [agent.actor, *agent.critics]
        heard = [each for part in parameters[:1] if network == "actor" for each in part.parameters()]
        heard += [each for part in parameters[1:] if network == "critic" for each in part.parameters()]
        assert all(each.grad is None for each in heard)
        told[network] = losses.mean().item()
        gradients[network] = list(torch.autograd.grad(losses.mean(), heard, retain_graph=True))

    losses = agent.update(batch, hear)
    assert list(told) == ["critic", "actor"]
    assert [told["critic"], told["actor"]] == pytest.approx([losses.critic.item(), losses.actor.item()])
    for name, parameters in (("actor", agent._actor_parameters), ("critic", agent._critic_parameters)):
        for gradient, parameter in zip(gradients[name], parameters, strict=True):
            assert parameter.grad is not None
            torch.testing.assert_close(gradient, parameter.grad)


def test_an_update_that_is_listened_to_is_the_same_bit_for_bit() -> None:
    """Telling the losses, and taking gradients of them, changes no number."""
    agent, other = make_agent(), make_agent()

    def hear(network: str, losses: Tensor) -> None:
        parameters = {"actor": agent._actor_parameters, "critic": agent._critic_parameters}[network]
        torch.autograd.grad(losses[0].sum(), parameters, retain_graph=True)

    for step in range(3):
        assert agent.update(make_batch(step), hear) == other.update(make_batch(step))
    assert_same(agent, other)


def test_gradients_within_the_norm_are_not_touched() -> None:
    """What is not longer than the norm stays bit for bit, what is longer comes to the norm exactly."""
    parameter = nn.Parameter(torch.zeros(3))
    for length in (0.9, 1.0, 4.0):
        gradient = torch.tensor([0.6, 0.0, 0.8]) * length
        parameter.grad = gradient.clone()
        clip_together([parameter], 1.0)
        if length < 1.0:
            assert torch.equal(parameter.grad, gradient)
        else:
            torch.testing.assert_close(parameter.grad, torch.tensor([0.6, 0.0, 0.8]), rtol=1e-7, atol=0.0)
