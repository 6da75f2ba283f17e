"""What happened between two log rows."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
import torch

from plastikit.errors import DivergedError
from plastikit.train.ledger import EpisodeLedger, LossLedger, Stopwatch
from plastikit.train.sac import Losses
from plastikit.train.workers import VectorStep


def losses(critic: float, actor: float, alpha: float) -> Losses:
    """Losses of one update."""
    return Losses(torch.tensor(critic), torch.tensor(actor), torch.tensor(alpha))


def outcome(reward: list[float], ended: list[bool]) -> VectorStep:
    """One vector step with these rewards and truncations."""
    nothing = np.zeros((len(reward), 1), dtype=np.float32)
    never = np.zeros(len(reward), dtype=np.bool_)
    return VectorStep(nothing, nothing, np.array(reward, dtype=np.float32), never, np.array(ended), never)


def test_losses_settle_to_their_means_and_start_anew() -> None:
    """A row holds the mean of each loss since the last one; without updates it is NaN."""
    ledger = LossLedger()
    ledger.add(10, losses(1.0, -1.0, 0.0))
    ledger.add(20, losses(3.0, -2.0, 0.5))
    assert ledger.settle() == {"critic_loss": 2.0, "actor_loss": -1.5, "alpha_loss": 0.25}
    assert all(math.isnan(value) for value in ledger.settle().values())


def test_the_first_loss_that_is_not_finite_is_named() -> None:
    """The error says which loss, at which step, what it was, and what to do."""
    ledger = LossLedger()
    ledger.add(1_000, losses(1.0, 1.0, 1.0))
    ledger.add(2_000, losses(1.0, float("inf"), 1.0))
    ledger.add(3_000, losses(float("nan"), 1.0, 1.0))
    with pytest.raises(DivergedError, match=r"actor loss was inf at environment step 2,000.*Lower learning_rate"):
        ledger.settle()


def test_returns_are_summed_over_whole_episodes() -> None:
    """Only finished episodes count, each with all of its rewards, in whichever rows they fell."""
    ledger = EpisodeLedger(2)
    ledger.add(outcome([1.0, 10.0], [False, False]))
    assert math.isnan(ledger.settle())
    ledger.add(outcome([2.0, 20.0], [True, False]))
    ledger.add(outcome([5.0, 30.0], [False, True]))
    assert ledger.settle() == pytest.approx((3.0 + 60.0) / 2)
    ledger.add(outcome([6.0, 1.0], [True, True]))
    assert ledger.settle() == pytest.approx((11.0 + 1.0) / 2)


def test_pauses_do_not_count_into_the_rate() -> None:
    """An evaluation does not slow the reported speed of training."""
    stopwatch = Stopwatch()
    with stopwatch.paused():
        time.sleep(0.2)
    time.sleep(0.01)
    assert stopwatch.rate(100) > 100 / 0.15


def test_what_waits_for_its_row_is_kept_and_gone_on_with() -> None:
    """Losses and returns that a checkpoint holds count into the next row as if nothing had happened."""
    whole, parted, whole_episodes, episodes = LossLedger(), LossLedger(), EpisodeLedger(2), EpisodeLedger(2)
    for ledger in (whole, parted):
        ledger.add(10, losses(0.1, -1.0, 0.0))
        ledger.add(20, losses(0.2, -2.0, 0.5))
    for one in (whole_episodes, episodes):
        one.add(outcome([1.1, 10.0], [True, False]))
    parted_again, episodes_again = LossLedger(), EpisodeLedger(2)
    parted_again.load_state_dict(parted.state_dict())
    episodes_again.load_state_dict(episodes.state_dict())
    for ledger in (whole, parted_again):
        ledger.add(30, losses(0.3, -3.0, 0.25))
    for one in (whole_episodes, episodes_again):
        one.add(outcome([2.2, 0.3], [False, True]))
    assert parted_again.settle() == whole.settle()
    assert episodes_again.settle() == whole_episodes.settle() == pytest.approx((1.1 + 10.3) / 2)
    parted_again.load_state_dict(LossLedger().state_dict())
    assert math.isnan(parted_again.settle()["critic_loss"])


def test_a_loss_that_a_checkpoint_kept_is_named_too() -> None:
    """The first that is not finite, whichever process computed it."""
    first, second = LossLedger(), LossLedger()
    first.add(1_000, losses(1.0, 1.0, float("nan")))
    second.load_state_dict(first.state_dict())
    second.add(2_000, losses(float("nan"), 1.0, 1.0))
    with pytest.raises(DivergedError, match=r"alpha loss was nan at environment step 1,000"):
        second.settle()
