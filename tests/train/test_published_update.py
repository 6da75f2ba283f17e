"""Updates are those of the published implementation: losses, clipping, optimizers, targets and temperatures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from oracles.published_networks import (
    ACTION,
    DEPTH,
    OBSERVATION,
    SAMPLES,
    TASKS,
    WIDTH,
    carry_over,
    joined,
    published_layout,
    wave,
)
from plastikit.train.config import NetworkConfig, SacConfig, TrainingConfig
from plastikit.train.replay import Batch
from plastikit.train.sac import SoftActorCritic

FIXTURE = Path(__file__).parent / "published" / "update.json"
PUBLISHED: dict[str, dict[str, Any]] = json.loads(FIXTURE.read_text(encoding="utf-8"))["architectures"]
CASES = [(architecture, setting) for architecture, settings in PUBLISHED.items() for setting in settings]
CLIP_NORMS = {"as published": 1.0, "with task weights": 1.0, "clipped nowhere": 1000.0}
TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4}


def make_agent(architecture: str, setting: str, dtype: torch.dtype) -> SoftActorCritic:
    """Our agent of the size that was compared, with the published one's first weights."""
    network = NetworkConfig(
        architecture=architecture, width=WIDTH, depth=DEPTH, part_count=2 if architecture == "soft_modules" else None
    )
    sac = SacConfig(
        learning_rate=0.01,
        alpha_learning_rate=0.02,
        target_update_rate=0.1,
        gradient_clip_norm=CLIP_NORMS[setting],
        has_task_weights=setting != "as published",
        log_std_min=-1.0,
        log_std_max=1.0,
    )
    tasks = "reach-v3,push-v3,drawer-open-v3"
    config = TrainingConfig(tasks=tasks, actor=network, critic=network, sac=sac, device="cpu")
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        agent = SoftActorCritic(config, observation_size=OBSERVATION, action_size=ACTION)
    finally:
        torch.set_default_dtype(before)
    for role, each in networks(agent).items():
        carry_over(architecture, each, role.replace("target", "critic"))
    with torch.no_grad():
        agent.log_alpha.copy_(0.5 * wave((TASKS, 1), 4))
    return agent


def networks(agent: SoftActorCritic) -> dict[str, nn.Module]:
    """All networks by the names that the fixture has for them."""
    (critic_0, critic_1), (target_0, target_1) = agent.critics, agent.targets
    return {
        "actor": agent.actor,
        "critic_0": critic_0,
        "critic_1": critic_1,
        "target_0": target_0,
        "target_1": target_1,
    }


def make_batch(number: int, dtype: torch.dtype) -> tuple[Batch, Tensor]:
    """The batch of one update, and the noise of its two draws."""
    first, each = 2000 + 10 * number, (TASKS, SAMPLES)
    batch = Batch(
        observation=wave((*each, OBSERVATION), first),
        action=wave((*each, ACTION), first + 1),
        reward=5.0 * wave(each, first + 2),
        terminated=(wave(each, first + 3) > 0.5).double(),
        next_observation=wave((*each, OBSERVATION), first + 4),
    )
    return Batch(*(part.to(dtype) for part in batch)), 2.0 * wave((2, *each, ACTION), first + 5).to(dtype)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize(("architecture", "setting"), CASES)
def test_updates_are_the_published(architecture: str, setting: str, dtype: torch.dtype) -> None:
    """Three updates in a row come to the published losses, temperatures, and changes of each parameter and target."""
    agent, expected = make_agent(architecture, setting, dtype), PUBLISHED[architecture][setting]
    before = {role: flat_layout(architecture, each) for role, each in networks(agent).items()}
    for number, losses in enumerate(expected["losses"]):
        found = agent.learn(*make_batch(number, dtype))
        assert [loss.item() for loss in found] == pytest.approx(losses, rel=TOLERANCE[dtype])
    assert agent.log_alpha.flatten().tolist() == pytest.approx(expected["log_alpha"], rel=TOLERANCE[dtype])

    for role, each in networks(agent).items():
        after = flat_layout(architecture, each)
        assert after.keys() == expected[role].keys()
        for path, of_path in expected[role].items():
            change = after[path] - before[role][path]
            # However little a parameter has changed, it is held to its own size's exactness.
            margin = TOLERANCE[dtype] * of_path["norm"] + torch.finfo(dtype).eps * after[path].norm().item()
            assert change.norm().item() == pytest.approx(of_path["norm"], abs=margin), (role, path)
            projection = (change * wave(tuple(change.shape), 1000)).sum().item()
            assert projection == pytest.approx(of_path["projection"], abs=margin * change.numel() ** 0.5)


def flat_layout(architecture: str, network: nn.Module) -> dict[str, Tensor]:
    """A copy of each published tensor by its path."""
    layout = published_layout(architecture, dict(network.named_parameters()))
    return {path: joined(views).detach().double().clone() for path, views in layout.items()}


def test_some_published_gradients_are_clipped_and_some_are_not() -> None:
    """The compared updates meet both: every gradient of a setting is longer than what it is clipped to, or none is."""
    for architecture, setting in CASES:
        norms = [norm for norms in PUBLISHED[architecture][setting]["gradient_norms"] for norm in norms]
        is_clipped = {norm > CLIP_NORMS[setting] for norm in norms}
        assert is_clipped == {setting != "clipped nowhere"}
