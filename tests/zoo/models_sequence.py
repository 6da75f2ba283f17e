"""Recurrent networks: whole sequences, packed ones, and cells in a loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from zoo.models_dense import affine
from zoo.reckoning import Reckoning

Values = Mapping[str, Tensor]
State = tuple[Tensor, Tensor]


def logistic(given: Tensor) -> Tensor:
    """1 / (1 + exp(-x))."""
    return 1 / (1 + torch.exp(-given))


def gru_cell(values: Values, name: str, given: Tensor, hidden: Tensor, layer: str = "") -> Tensor:
    """One step of a gated recurrent unit."""
    of_input = given @ values[f"{name}.weight_ih{layer}"].T + values[f"{name}.bias_ih{layer}"]
    of_hidden = hidden @ values[f"{name}.weight_hh{layer}"].T + values[f"{name}.bias_hh{layer}"]
    reset_i, update_i, new_i = of_input.chunk(3, dim=-1)
    reset_h, update_h, new_h = of_hidden.chunk(3, dim=-1)
    update = logistic(update_i + update_h)
    new = torch.tanh(new_i + logistic(reset_i + reset_h) * new_h)
    return (1 - update) * new + update * hidden


def lstm_cell(values: Values, name: str, given: Tensor, state: State, layer: str = "") -> State:
    """One step of a long short-term memory."""
    gates = given @ values[f"{name}.weight_ih{layer}"].T + values[f"{name}.bias_ih{layer}"]
    gates = gates + state[0] @ values[f"{name}.weight_hh{layer}"].T + values[f"{name}.bias_hh{layer}"]
    into, forget, new, out = gates.chunk(4, dim=-1)
    memory = logistic(forget) * state[1] + logistic(into) * torch.tanh(new)
    return logistic(out) * torch.tanh(memory), memory


class Recurrent(nn.Module):
    """A recurrent module with a head on all that it puts out."""

    def __init__(self, kind: type[nn.RNNBase], *, is_batch_first: bool, layers: int = 1) -> None:
        super().__init__()
        self.rnn = kind(3, 4, layers, batch_first=is_batch_first)  # type: ignore[call-arg]  # its parts take no mode
        self.act = nn.ReLU()
        self.head = nn.Linear(4, 2)

    def forward(self, given: Tensor | PackedSequence) -> Tensor:
        """Called by torch."""
        output, _ = self.rnn(given)
        if isinstance(output, PackedSequence):
            output, lengths = pad_packed_sequence(output, batch_first=True)
            output = torch.cat([output[sample, :length] for sample, length in enumerate(lengths.tolist())])
        return self.head(self.act(output))


def recurrent(kind: type[nn.RNNBase], *, is_batch_first: bool, layers: int = 1) -> Callable[[], nn.Module]:
    """Builds one."""
    return lambda: Recurrent(kind, is_batch_first=is_batch_first, layers=layers)


def _unrolled(values: Values, kind: str, given: Tensor, layers: int) -> Tensor:
    """The outputs of the last layer for [step, sample, input], as [step, sample, unit]."""
    for layer in range(layers):
        hidden = memory = torch.zeros(given.shape[1], 4, dtype=torch.float64)
        outputs = []
        for step in given:
            if kind == "gru":
                hidden = gru_cell(values, "rnn", step, hidden, f"_l{layer}")
            else:
                hidden, memory = lstm_cell(values, "rnn", step, (hidden, memory), f"_l{layer}")
            outputs.append(hidden)
        given = torch.stack(outputs)
    return given


def of_recurrent(kind: str, *, is_batch_first: bool, layers: int = 1) -> Callable[..., Tensor]:
    """What ``Recurrent`` computes."""

    def oracle(values: Values, reckoning: Reckoning, given: Tensor) -> Tensor:
        output = _unrolled(values, kind, given.transpose(0, 1) if is_batch_first else given, layers)
        output = reckoning.note("rnn", output.transpose(0, 1) if is_batch_first else output, function=kind)
        return affine(values, "head", reckoning.relu("act", output))

    return oracle


def of_packed(kind: str) -> Callable[..., Tensor]:
    """What ``Recurrent`` computes of packed sequences: each of them alone, to its own length."""

    def oracle(values: Values, reckoning: Reckoning, given: PackedSequence) -> Tensor:
        padded, lengths = pad_packed_sequence(given)
        outputs = [_unrolled(values, kind, padded[:length, [i]], 1)[:, 0] for i, length in enumerate(lengths.tolist())]
        output = reckoning.note("rnn", torch.cat(outputs), function=kind)
        return affine(values, "head", reckoning.relu("act", output))

    return oracle


class Looped(nn.Module):
    """A cell called once for each step in time."""

    def __init__(self, kind: type[nn.RNNCellBase]) -> None:
        super().__init__()
        self.cell = kind(3, 4)  # type: ignore[call-arg]  # its parts take no count of chunks
        self.head = nn.Linear(4, 2)

    def forward(self, given: Tensor) -> Tensor:
        """Called by torch."""
        state = None
        for step in given.unbind(1):
            state = self.cell(step, state)
        return self.head(state[0] if isinstance(state, tuple) else state)


def of_looped(kind: str) -> Callable[..., Tensor]:
    """What ``Looped`` computes; the outputs of all steps are those of one layer."""

    def oracle(values: Values, reckoning: Reckoning, given: Tensor) -> Tensor:
        hidden = memory = torch.zeros(len(given), 4, dtype=torch.float64)
        for step in given.unbind(1):
            if kind == "gru":
                hidden = gru_cell(values, "cell", step, hidden)
            else:
                hidden, memory = lstm_cell(values, "cell", step, (hidden, memory))
            reckoning.note("cell", hidden, function=kind)
        return affine(values, "head", hidden)

    return oracle


def sequences(number: int) -> tuple[Tensor]:
    """As many samples as steps, so that the two can be mistaken."""
    return (torch.randn(5, 5, 3),)


def packed(number: int) -> tuple[PackedSequence]:
    """Sequences of several lengths, in no order."""
    lengths = [3, 5, 1, 4] if number % 2 else [5, 2, 4, 4]
    return (pack_padded_sequence(torch.randn(4, 5, 3), lengths, batch_first=True, enforce_sorted=False),)
