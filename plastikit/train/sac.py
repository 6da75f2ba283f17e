"""Multi-task soft actor-critic: the networks, their optimizers and one update, as McLean et al. 2025 publish it."""

from __future__ import annotations

import copy
import math
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor, nn

from plastikit.train.config import TrainingConfig
from plastikit.train.networks.architectures import build_network
from plastikit.train.networks.blueprint import TaskNetwork
from plastikit.train.policy import sample_action, typical_action
from plastikit.train.randomness import torch_generator
from plastikit.train.replay import Batch

FloatArray = NDArray[np.float32]


class Losses(NamedTuple):
    """The losses of one update, still tensors."""

    critic: Float[Tensor, ""]
    actor: Float[Tensor, ""]
    alpha: Float[Tensor, ""]


class SoftActorCritic:
    """An actor, two critics with their targets, and an entropy temperature for every task."""

    def __init__(self, config: TrainingConfig, *, observation_size: int, action_size: int) -> None:
        self.settings = config.sac
        self._noise_size = action_size
        given = config.sac.target_entropy
        self._target_entropy = float(-action_size) if given is None else given
        self._exploration = torch_generator(config.seed, "exploration")
        self._update_noise = torch_generator(config.seed, "update noise")

        self.actor = build_network(
            config.actor,
            task_count=config.task_count,
            feature_size=observation_size,
            output_size=2 * action_size,
            output_range=config.sac.actor_output_range,
            generator=torch_generator(config.seed, "actor"),
        )
        critic_0, critic_1 = (
            build_network(
                config.critic,
                task_count=config.task_count,
                feature_size=action_size + observation_size,
                output_size=1,
                output_range=config.sac.critic_output_range,
                generator=torch_generator(config.seed, name),
            )
            for name in ("critic_0", "critic_1")
        )
        self.critics = (critic_0, critic_1)
        self.targets = (_frozen_copy(critic_0), _frozen_copy(critic_1))
        self.log_alpha = nn.Parameter(torch.full((config.task_count, 1), math.log(config.sac.initial_alpha)))

        self._actor_parameters = list(self.actor.parameters())
        self._critic_parameters = [parameter for critic in self.critics for parameter in critic.parameters()]
        self._target_tensors: list[Tensor] = [tensor for target in self.targets for tensor in target.parameters()]
        self._critic_tensors: list[Tensor] = list(self._critic_parameters)
        self.actor_optimizer = self._adam(self._actor_parameters, config.sac.learning_rate)
        self.critic_optimizer = self._adam(self._critic_parameters, config.sac.learning_rate)
        self.alpha_optimizer = self._adam([self.log_alpha], config.sac.alpha_learning_rate)

    @torch.no_grad()
    def explore(self, observation: Float[FloatArray, "task feature"]) -> Float[FloatArray, "task action"]:
        """Draw an action for each task from its policy."""
        features = torch.from_numpy(observation).unsqueeze(1)
        noise = torch.randn((len(observation), 1, self._noise_size), generator=self._exploration)
        action, _ = self._policy(features, noise)
        return action.squeeze(1).numpy()

    @torch.no_grad()
    def exploit(self, observation: Float[FloatArray, "task feature"]) -> Float[FloatArray, "task action"]:
        """Give each task's typical action; nothing is drawn."""
        features = torch.from_numpy(observation).unsqueeze(1)
        return typical_action(self.actor(features)).squeeze(1).numpy()

    @property
    def alpha(self) -> Float[Tensor, "task"]:
        """Each task's entropy temperature."""
        return self.log_alpha.detach().exp().squeeze(1)

    def update(self, batch: Batch) -> Losses:
        """Learn from one batch: the critics, their targets, the actor, the temperatures, in this order."""
        noise = torch.randn((2, *batch.action.shape), generator=self._update_noise)
        log_alpha = self.log_alpha.detach()
        alpha = log_alpha.exp()
        weights = torch.softmax(-log_alpha, dim=0) * len(log_alpha) if self.settings.has_task_weights else None

        critic_loss = self._update_critics(batch, noise[0], alpha, weights)
        self._follow()
        actor_loss, log_density = self._update_actor(batch, noise[1], alpha, weights)
        alpha_loss = self._update_alpha(log_density)
        return Losses(critic_loss.detach(), actor_loss.detach(), alpha_loss.detach())

    def _update_critics(
        self,
        batch: Batch,
        noise: Float[Tensor, "task sample action"],
        alpha: Float[Tensor, "task 1"],
        weights: Float[Tensor, "task 1"] | None,
    ) -> Float[Tensor, ""]:
        with torch.no_grad():
            next_action, next_log_density = self._policy(batch.next_observation, noise)
            next_value = torch.minimum(*self._values(self.targets, batch.next_observation, next_action))
            next_value -= alpha * next_log_density
            target = batch.reward + self.settings.discount * (1.0 - batch.terminated) * next_value

        values = torch.stack(self._values(self.critics, batch.observation, batch.action))
        loss = _weighted_mean((values - target).square(), weights)
        self.critic_optimizer.zero_grad()
        loss.backward(inputs=self._critic_parameters)
        self._clip(self._critic_parameters)
        self.critic_optimizer.step()
        return loss

    def _update_actor(
        self,
        batch: Batch,
        noise: Float[Tensor, "task sample action"],
        alpha: Float[Tensor, "task 1"],
        weights: Float[Tensor, "task 1"] | None,
    ) -> tuple[Float[Tensor, ""], Float[Tensor, "task sample"]]:
        action, log_density = self._policy(batch.observation, noise)
        value = torch.minimum(*self._values(self.critics, batch.observation, action))
        loss = _weighted_mean(alpha * log_density - value, weights)
        self.actor_optimizer.zero_grad()
        # Naming the actor's parameters spares the critics' weight gradients and leaves their .grad alone.
        loss.backward(inputs=self._actor_parameters)
        self._clip(self._actor_parameters)
        self.actor_optimizer.step()
        return loss, log_density.detach()

    def _update_alpha(self, log_density: Float[Tensor, "task sample"]) -> Float[Tensor, ""]:
        loss = -(self.log_alpha * (log_density + self._target_entropy)).mean()
        self.alpha_optimizer.zero_grad()
        loss.backward()
        self.alpha_optimizer.step()
        return loss

    @torch.no_grad()
    def _follow(self) -> None:
        torch._foreach_lerp_(self._target_tensors, self._critic_tensors, self.settings.target_update_rate)

    def _policy(
        self, observation: Float[Tensor, "task sample feature"], noise: Float[Tensor, "task sample action"]
    ) -> tuple[Float[Tensor, "task sample action"], Float[Tensor, "task sample"]]:
        return sample_action(
            self.actor(observation), noise, log_std_min=self.settings.log_std_min, log_std_max=self.settings.log_std_max
        )

    def _values(
        self,
        critics: tuple[nn.Module, nn.Module],
        observation: Float[Tensor, "task sample feature"],
        action: Float[Tensor, "task sample action"],
    ) -> tuple[Float[Tensor, "task sample"], Float[Tensor, "task sample"]]:
        features = torch.cat((action, observation), dim=-1)
        return critics[0](features).squeeze(-1), critics[1](features).squeeze(-1)

    def _adam(self, parameters: list[nn.Parameter], learning_rate: float) -> torch.optim.Adam:
        return torch.optim.Adam(parameters, lr=learning_rate, eps=self.settings.adam_epsilon, fused=True)

    def _clip(self, parameters: list[nn.Parameter]) -> None:
        nn.utils.clip_grad_norm_(parameters, self.settings.gradient_clip_norm, foreach=True)


def _frozen_copy(network: TaskNetwork) -> TaskNetwork:
    frozen = copy.deepcopy(network)
    for parameter in frozen.parameters():
        parameter.requires_grad = False
    return frozen


def _weighted_mean(
    losses: Float[Tensor, "*critic task sample"], weights: Float[Tensor, "task 1"] | None
) -> Float[Tensor, ""]:
    return losses.mean() if weights is None else (weights * losses).mean()
