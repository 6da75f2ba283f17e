"""By group: the rows of each group in every layout, or a message; a sample lends its group to all its rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

import plastikit
from oracles import dormancy
from plastikit.probes.dormancy import DormantFraction
from zoo import models_attention as attention
from zoo import models_convolution as convolution
from zoo import models_dense as dense
from zoo import models_sequence as sequence
from zoo.reckoning import Reckoning, matrix

GROUPS = torch.tensor([0, 1, 1, 0])


def _packed(given: Tensor, lengths: Tensor) -> PackedSequence:
    return pack_padded_sequence(given, lengths, batch_first=True, enforce_sorted=False)


def _reckoned(build: Callable[[], nn.Module], oracle: Callable[..., Tensor], given: object) -> Reckoning:
    """The oracle on the samples of one group alone, which is all that there is to a group."""
    torch.manual_seed(0)
    values = {name: tensor.detach().double() for name, tensor in build().state_dict().items()}
    reckoning = Reckoning()
    oracle(values, reckoning, given)
    return reckoning


def _recorded(build: Callable[[], nn.Module], given: object, path: Path) -> dict[str, np.ndarray]:
    torch.manual_seed(0)
    model = build()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with plastikit.attach(
        model,
        optimizer=optimizer,
        store=path,
        probes=[DormantFraction(taus=(0.0, 0.5, 1.0, 1.5))],
        groups=lambda *_: GROUPS,
    ):
        model(given).sum().backward()
        optimizer.step()
    diagnostics = plastikit.open_run(path)["diagnostics"].to_dataset()
    if "group_dormant_fraction" not in diagnostics:
        return {}
    row = diagnostics["group_dormant_fraction"].sel(step=0)
    return {str(label): row.sel(layer=label).values for label in diagnostics["layer"].values}


class Behind(nn.Module):
    """An activation behind a recurrent module that puts steps first: nobody tells which axis counts samples."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRU(3, 4)
        self.head = nn.Linear(4, 5)
        self.out = nn.Linear(5, 1)

    def forward(self, given: Tensor) -> Tensor:
        """Called by torch."""
        return self.out(torch.relu(self.head(self.rnn(given)[0])))


def of_behind(values: dense.Values, reckoning: Reckoning, given: Tensor) -> Tensor:
    """What ``Behind`` computes."""
    output = sequence._unrolled(values, "gru", given, 1)
    hidden = reckoning.relu("relu", dense.affine(values, "head", reckoning.note("rnn", output, function="gru")))
    return dense.affine(values, "out", hidden)


CASES = {
    "rows": (dense.frozen, dense.of_frozen, (4, 5), 0),
    "convolution": (convolution.ThenSequence, convolution.of_then_sequence, (4, 2, 4), 0),
    "recurrent, batch first": (
        sequence.recurrent(nn.GRU, is_batch_first=True),
        sequence.of_recurrent("gru", is_batch_first=True),
        (4, 4, 3),
        0,
    ),
    "recurrent, steps first": (Behind, of_behind, (6, 4, 3), 1),
    "attention, batch first": (
        attention.encoder(is_batch_first=True, share=0.0),
        attention.of_encoder(is_batch_first=True, share=0.0),
        (4, 4, 8),
        0,
    ),
    "attention, steps first": (
        attention.encoder(is_batch_first=False, share=0.0),
        attention.of_encoder(is_batch_first=False, share=0.0),
        (4, 4, 8),
        1,
    ),
    "cells in a loop": (lambda: sequence.Looped(nn.LSTMCell), sequence.of_looped("lstm"), (4, 4, 3), 0),
}


def _check(found: dict[str, np.ndarray], reckoning: Reckoning, group: int) -> None:
    for label, noted in reckoning.layers.items():
        features = matrix(noted.outputs, noted.axis)
        wanted = [dormancy.dormant_fraction(features, tau) for tau in (0.0, 0.5, 1.0, 1.5)]
        np.testing.assert_allclose(found[label][group], wanted, rtol=1e-6, err_msg=f"{label} of group {group}")


@pytest.mark.parametrize("name", CASES)
def test_by_group(name: str, tmp_path: Path) -> None:
    """The dormant fraction of a group is that of its samples alone, wherever they lie."""
    build, oracle, shape, axis = CASES[name]
    torch.manual_seed(3)
    given = torch.randn(shape)
    found = _recorded(build, given, tmp_path / "run.zarr")
    for group in (0, 1):
        chosen = torch.tensor([sample for sample in range(4) if GROUPS[sample] == group])
        _check(found, _reckoned(build, oracle, given.index_select(axis, chosen).double()), group)


def test_by_group_of_packed_sequences(tmp_path: Path) -> None:
    """Each row of a packed sequence belongs to the sample that it was packed from."""
    torch.manual_seed(3)
    given, lengths = torch.randn(4, 5, 3), torch.tensor([3, 1, 5, 2])
    build, oracle = sequence.recurrent(nn.GRU, is_batch_first=True), sequence.of_packed("gru")
    with pytest.warns(UserWarning, match="layer act put out .* not measured by group"):
        found = _recorded(build, _packed(given, lengths), tmp_path / "run.zarr")
    for group in (0, 1):
        chosen = group == GROUPS
        reckoning = _reckoned(build, oracle, _packed(given[chosen].double(), lengths[chosen]))
        del reckoning.layers["act"]
        _check(found, reckoning, group)


def test_as_many_steps_as_samples_are_told_apart_or_not_measured(tmp_path: Path) -> None:
    """Behind a module that puts steps first nobody knows which axis is which, and a guess could be wrong."""
    with pytest.warns(UserWarning, match="layer relu put out .* not measured by group"):
        found = _recorded(Behind, torch.randn(4, 4, 3), tmp_path / "run.zarr")
    assert np.isnan(found["relu"]).all()
    assert not np.isnan(found["rnn"]).any()


def test_members_of_an_ensemble_are_no_samples(tmp_path: Path) -> None:
    """An ensemble of as many members as there are samples is not measured by group."""

    class Ensemble(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(4, 3, 5))
            self.out = nn.Parameter(torch.randn(4, 5, 1))

        def forward(self, given: Tensor) -> Tensor:
            return torch.bmm(torch.relu(torch.bmm(given.expand(4, -1, -1), self.weight)), self.out)

    with pytest.warns(UserWarning, match="not measured by group"):
        _recorded(Ensemble, torch.randn(4, 3), tmp_path / "run.zarr")
