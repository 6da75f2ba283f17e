"""Multi-task soft actor-critic: the networks, their optimizers and one update, as McLean et al. 2025 publish it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor, nn

from plastikit.train.compiled import compiled
from plastikit.train.config import TrainingConfig
from plastikit.train.device import tf32, training_device
from plastikit.train.networks.architectures import build_network
from plastikit.train.networks.blueprint import TaskNetwork
from plastikit.train.policy import sample_action, typical_action
from plastikit.train.randomness import torch_generator
from plastikit.train.replay import Batch
from plastikit.train.rows import handed
from plastikit.train.twins import constant_twin, target_of

FloatArray = NDArray[np.float32]
Tell = Callable[[str, Float[Tensor, "task sample"]], None]
"""Hears the loss of each sample before its backward: ``actor``, or ``critic`` with the mean over both critics."""


class Losses(NamedTuple):
    """The losses of one update, still tensors."""

    critic: Float[Tensor, ""]
    actor: Float[Tensor, ""]
    alpha: Float[Tensor, ""]


class SoftActorCritic:
    """An actor, two critics with their targets, and an entropy temperature for every task.

    Raises:
        UnknownNameError: the configuration names no device.
        ConfigurationError: the device is not there, or the precision needs a GPU.
    """

    def __init__(self, config: TrainingConfig, *, observation_size: int, action_size: int) -> None:
        self.device = training_device(config)
        self.settings = config.sac
        self._noise_size = action_size
        given = config.sac.target_entropy
        self._target_entropy = float(-action_size) if given is None else given
        self._is_tf32 = config.precision == "tf32"
        self._is_bfloat16 = config.precision == "bfloat16"
        self._exploration = torch_generator(config.seed, "exploration", device=self.device)
        self._update_noise = torch_generator(config.seed, "update noise", device=self.device)

        # First weights are drawn on the CPU, so that they are the same on every device.
        self.actor = build_network(
            config.actor,
            task_count=config.task_count,
            feature_size=observation_size,
            output_size=2 * action_size,
            output_range=config.sac.actor_output_range,
            generator=torch_generator(config.seed, "actor"),
        ).to(self.device)
        critic_0, critic_1 = (
            build_network(
                config.critic,
                task_count=config.task_count,
                feature_size=action_size + observation_size,
                output_size=1,
                output_range=config.sac.critic_output_range,
                generator=torch_generator(config.seed, name),
            ).to(self.device)
            for name in ("critic_0", "critic_1")
        )
        self.critics = (critic_0, critic_1)
        self.targets = (target_of(critic_0), target_of(critic_1))
        self._constant_actor = constant_twin(self.actor)
        self._constant_critics = (constant_twin(critic_0), constant_twin(critic_1))
        first = torch.full((config.task_count, 1), math.log(config.sac.initial_alpha), device=self.device)
        self.log_alpha = nn.Parameter(first)

        self._actor_parameters = list(self.actor.parameters())
        self._critic_parameters = [parameter for critic in self.critics for parameter in critic.parameters()]
        self._target_tensors: list[Tensor] = [tensor for target in self.targets for tensor in target.parameters()]
        self._critic_tensors: list[Tensor] = list(self._critic_parameters)
        self.actor_optimizer = self._adam(self._actor_parameters, config.sac.learning_rate)
        self.critic_optimizer = self._adam(self._critic_parameters, config.sac.learning_rate)
        self.alpha_optimizer = self._adam([self.log_alpha], config.sac.alpha_learning_rate)

        self._is_compiled = config.is_compiled
        if config.is_compiled:
            self._compiled_critic_losses = compiled(self._critic_losses, self.device)
            self._compiled_actor_losses = compiled(self._actor_losses, self.device)

    @torch.no_grad()
    def explore(self, observation: Float[FloatArray, "task feature"]) -> Float[FloatArray, "task action"]:
        """Draw an action for each task from its policy."""
        features = handed(torch.from_numpy(observation), self.device).unsqueeze(1)
        noise = self._normal(self._exploration, len(observation), 1)
        with self._products():
            action, _ = self._policy(self._constant_actor, features, noise)
        actions: FloatArray = action.squeeze(1).cpu().numpy()
        return actions

    @torch.no_grad()
    def exploit(self, observation: Float[FloatArray, "task feature"]) -> Float[FloatArray, "task action"]:
        """Give each task's typical action; nothing is drawn."""
        features = handed(torch.from_numpy(observation), self.device).unsqueeze(1)
        with self._products():
            outputs = self._outputs(self._constant_actor, features)
        actions: FloatArray = typical_action(outputs).squeeze(1).cpu().numpy()
        return actions

    @property
    def alpha(self) -> Float[Tensor, "task"]:
        """Each task's entropy temperature."""
        return self.log_alpha.detach().exp().squeeze(1)

    def update(self, batch: Batch, tell: Tell | None = None) -> Losses:
        """Learn from one batch: the critics, their targets, the actor, the temperatures, in this order.

        Args:
            batch: transitions of every task, on the agent's device.
            tell: called before each of the two backwards with ``actor`` or ``critic`` and the loss of each sample,
                weighted as it enters the mean, its graph attached. With it the update runs as it is written, compiled
                or not, so that hooks on layers see it; hand it in for updates that are recorded.
        """
        return self.learn(batch, self._normal(self._update_noise, 2, *batch.action.shape[:2]), tell)

    def learn(self, batch: Batch, noise: Float[Tensor, "2 task sample action"], tell: Tell | None = None) -> Losses:
        """Do what ``update`` does with standard normal noise of the caller's: the critics' update's, the actor's."""
        is_compiled = self._is_compiled and tell is None
        for optimizer in (self.critic_optimizer, self.actor_optimizer, self.alpha_optimizer):
            optimizer.zero_grad()
        if is_compiled:
            torch.compiler.cudagraph_mark_step_begin()
        log_alpha = self.log_alpha.detach()
        alpha = log_alpha.exp()
        weights = torch.softmax(-log_alpha, dim=0) * len(log_alpha) if self.settings.has_task_weights else None

        # Whoever is told, or hears the optimizers, measures outside of the lower precision.
        critic_losses = self._compiled_critic_losses if is_compiled else self._critic_losses
        with self._products():
            losses = critic_losses(batch, noise[0], alpha, weights)
        if tell is not None:
            tell("critic", losses.mean(dim=0))
        critic_loss = self._descend(losses, self.critic_optimizer, self._critic_parameters)
        self._follow()

        actor_losses = self._compiled_actor_losses if is_compiled else self._actor_losses
        with self._products():
            losses, log_density = actor_losses(batch.observation, noise[1], alpha, weights)
        if tell is not None:
            tell("actor", losses)
        actor_loss = self._descend(losses, self.actor_optimizer, self._actor_parameters)

        return Losses(critic_loss, actor_loss, self._update_alpha(log_density))

    def state_dict(self) -> dict[str, Any]:
        """Give all that the agent has come to, random generators included: another that loads it goes on bit for bit.

        Tensors are the agent's own, not copies.
        """
        return {name: part.state_dict() for name, part in self._parts().items()} | {
            "log_alpha": self.log_alpha.detach(),
            "generators": {name: each.get_state() for name, each in self._generators().items()},
        }

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from where the agent stood that ``state`` was taken of; it may lie on another device."""
        for name, part in self._parts().items():
            part.load_state_dict(state[name])
        self.log_alpha.copy_(state["log_alpha"])
        for name, generator in self._generators().items():
            generator.set_state(state["generators"][name].cpu())

    def _parts(self) -> dict[str, nn.Module | torch.optim.Optimizer]:
        return {
            "actor": self.actor,
            **{f"critic_{number}": critic for number, critic in enumerate(self.critics)},
            **{f"target_{number}": target for number, target in enumerate(self.targets)},
            "actor_optimizer": self.actor_optimizer,
            "critic_optimizer": self.critic_optimizer,
            "alpha_optimizer": self.alpha_optimizer,
        }

    def _generators(self) -> dict[str, torch.Generator]:
        return {"exploration": self._exploration, "update noise": self._update_noise}

    def _normal(self, generator: torch.Generator, *shape: int) -> Float[Tensor, "*batch action"]:
        return torch.randn((*shape, self._noise_size), generator=generator, device=self.device)

    def _critic_losses(
        self,
        batch: Batch,
        noise: Float[Tensor, "task sample action"],
        alpha: Float[Tensor, "task 1"],
        weights: Float[Tensor, "task 1"] | None,
    ) -> Float[Tensor, "critic task sample"]:
        with torch.no_grad():
            next_action, next_log_density = self._policy(self._constant_actor, batch.next_observation, noise)
            next_value = torch.minimum(*self._values(self.targets, batch.next_observation, next_action))
            next_value = next_value - alpha * next_log_density
            target = batch.reward + self.settings.discount * (1.0 - batch.terminated) * next_value

        values = torch.stack(self._values(self.critics, batch.observation, batch.action))
        return _weighted((values - target).square(), weights)

    def _actor_losses(
        self,
        observation: Float[Tensor, "task sample feature"],
        noise: Float[Tensor, "task sample action"],
        alpha: Float[Tensor, "task 1"],
        weights: Float[Tensor, "task 1"] | None,
    ) -> tuple[Float[Tensor, "task sample"], Float[Tensor, "task sample"]]:
        action, log_density = self._policy(self.actor, observation, noise)
        value = torch.minimum(*self._values(self._constant_critics, observation, action))
        return _weighted(alpha * log_density - value, weights), log_density.detach()

    def _update_alpha(self, log_density: Float[Tensor, "task sample"]) -> Float[Tensor, ""]:
        loss = -(self.log_alpha * (log_density + self._target_entropy)).mean()
        loss.backward()
        self.alpha_optimizer.step()
        return loss.detach()

    def _descend(
        self, losses: Float[Tensor, "*losses"], optimizer: torch.optim.Optimizer, parameters: list[nn.Parameter]
    ) -> Float[Tensor, ""]:
        loss = losses.mean()
        with self._products():
            loss.backward()
        clip_together(parameters, self.settings.gradient_clip_norm)
        optimizer.step()
        return loss.detach()

    def _products(self) -> AbstractContextManager[None]:
        return tf32(is_on=self._is_tf32)

    @torch.no_grad()
    def _follow(self) -> None:
        torch._foreach_lerp_(self._target_tensors, self._critic_tensors, self.settings.target_update_rate)

    def _policy(
        self,
        actor: TaskNetwork,
        observation: Float[Tensor, "task sample feature"],
        noise: Float[Tensor, "task sample action"],
    ) -> tuple[Float[Tensor, "task sample action"], Float[Tensor, "task sample"]]:
        return sample_action(
            self._outputs(actor, observation),
            noise,
            log_std_min=self.settings.log_std_min,
            log_std_max=self.settings.log_std_max,
        )

    def _values(
        self,
        critics: tuple[TaskNetwork, TaskNetwork],
        observation: Float[Tensor, "task sample feature"],
        action: Float[Tensor, "task sample action"],
    ) -> tuple[Float[Tensor, "task sample"], Float[Tensor, "task sample"]]:
        features = torch.cat((action, observation), dim=-1)
        first, second = (self._outputs(critic, features).squeeze(-1) for critic in critics)
        return first, second

    def _outputs(
        self, network: TaskNetwork, features: Float[Tensor, "task sample feature"]
    ) -> Float[Tensor, "task sample output"]:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._is_bfloat16):
            outputs: Tensor = network(features)
        return outputs.to(features.dtype)

    def _adam(self, parameters: list[nn.Parameter], learning_rate: float) -> torch.optim.Adam:
        return torch.optim.Adam(parameters, lr=learning_rate, eps=self.settings.adam_epsilon, fused=True)


def clip_together(parameters: list[nn.Parameter], largest: float) -> None:
    """Scale gradients down to a norm of ``largest``, taken as one vector; shorter ones stay bit for bit.

    Without the 1e-6 that torch's own clipping adds to the norm, as published.
    """
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    norm = nn.utils.get_total_norm(gradients, foreach=True)
    torch._foreach_mul_(gradients, largest / norm.clamp(min=largest))


def _weighted(
    losses: Float[Tensor, "*critic task sample"], weights: Float[Tensor, "task 1"] | None
) -> Float[Tensor, "*critic task sample"]:
    return losses if weights is None else weights * losses
