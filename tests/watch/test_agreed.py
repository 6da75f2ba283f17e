"""One process decides what is due; the others hear of it only at the steps that were agreed before."""

from __future__ import annotations

import time

import torch
from torch import Tensor

from plastikit.probes import DormantFraction, FeatureRank
from plastikit.watch.agreed import Agreed
from plastikit.watch.budget import Governor
from plastikit.watch.ledger import Ledger


def _governor(ledger: Ledger) -> Governor:
    return Governor(0.5, [DormantFraction(), FeatureRank()], ledger)


def _ledger() -> Ledger:
    """After one record whose costly probe took a tenth of a second."""
    ledger = Ledger(2)
    ledger.charge_probes(0.1)
    ledger.close_record(torch.tensor([0.001, 0.1]).numpy())
    return ledger


def test_all_decide_alike() -> None:
    """What the writer was allowed is what the others hear, at the same steps and with the same probes."""
    said: list[Tensor] = []

    def tell(decision: Tensor) -> Tensor:
        said.append(decision.clone())
        return decision

    writer = Agreed(_governor(_ledger()), tell, is_writer=True)
    decided = {}
    for step in range(1, 400):
        time.sleep(0.001)
        due = writer(step)
        decided[step] = None if due is None else [place for place, _ in due.probes]
    heard = iter(said)
    other = Agreed(_governor(Ledger(2)), lambda _: next(heard), is_writer=False)
    for step, places in decided.items():
        due = other(step)
        assert places == (None if due is None else [place for place, _ in due.probes])
    assert next(heard, None) is None
    assert any(places is not None for places in decided.values())
    assert len(said) < len(decided)


def test_a_wrong_guess_is_made_good() -> None:
    """Steps that seem to take no time are not trusted for longer than as many again."""
    meetings = []

    def tell(decision: Tensor) -> Tensor:
        meetings.append(int(decision[0]))
        return decision

    agreed = Agreed(_governor(_ledger()), tell, is_writer=True)
    agreed(1)
    assert 1 < meetings[0] <= 12
    # Nothing is said before that step.
    for step in range(2, meetings[0]):
        assert agreed(step) is None
    assert len(meetings) == 1
