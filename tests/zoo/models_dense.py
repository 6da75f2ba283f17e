"""Networks of matrices: modules and functions, tied, parametrized, frozen, re-used, routed."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import orthogonal, spectral_norm, weight_norm
from torch.utils.checkpoint import checkpoint

from zoo.reckoning import Reckoning

Values = Mapping[str, Tensor]


def affine(values: Values, name: str, given: Tensor) -> Tensor:
    """A linear module, by sums of products."""
    weight = values[f"{name}.weight"]
    output = (given.unsqueeze(-2) * weight).sum(dim=-1)
    return output + values[f"{name}.bias"] if f"{name}.bias" in values else output


def normalised(values: Values, name: str, given: Tensor, epsilon: float = 1e-5) -> Tensor:
    """Layer normalisation over the last axis."""
    centred = given - given.mean(dim=-1, keepdim=True)
    scaled = centred / (centred.square().mean(dim=-1, keepdim=True) + epsilon).sqrt()
    return scaled * values[f"{name}.weight"] + values[f"{name}.bias"]


def rows(number: int) -> tuple[Tensor]:
    """Twelve samples of five numbers."""
    return (torch.randn(12, 5),)


def by_modules() -> nn.Module:
    """Activations as modules, dropout between them."""
    return nn.Sequential(
        nn.Linear(5, 8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 6), nn.Tanh(), nn.Dropout(0.2), nn.Linear(6, 2)
    )


def of_modules(values: Values, reckoning: Reckoning, given: Tensor) -> Tensor:
    """What ``by_modules`` computes."""
    hidden = reckoning.drop(reckoning.relu("1", affine(values, "0", given)), 0.2)
    return affine(values, "6", reckoning.drop(reckoning.tanh("4", affine(values, "3", hidden)), 0.2))


class Functions(nn.Module):
    """Activations as functions, methods and in place; a squashed output; a layer called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.block = Block()
        self.first = nn.Linear(6, 6)
        self.second = nn.Linear(6, 6)
        self.out = nn.Linear(6, 2)

    def forward(self, given: Tensor) -> Tensor:
        """Called by torch."""
        hidden = self.block(given)
        hidden = self.first(hidden).relu_()
        hidden = torch.tanh(self.second(hidden))
        hidden = functional.gelu(self.first(hidden))
        hidden = functional.dropout(hidden, 0.1, self.training, True)
        hidden = functional.silu(self.second(hidden) + hidden, inplace=True)
        hidden += 1
        hidden = self.second(hidden)
        hidden = torch.relu(hidden)
        return torch.sigmoid(self.out(hidden))


class Block(nn.Module):
    """A part that calls a function by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(5, 6)

    def forward(self, given: Tensor) -> Tensor:
        """Called by torch."""
        return functional.relu(self.inner(given), True)


def of_functions(values: Values, reckoning: Reckoning, given: Tensor) -> Tensor:
    """What ``Functions`` computes."""
    hidden = reckoning.relu("block.relu", affine(values, "block.inner", given))
    hidden = reckoning.relu("relu", affine(values, "first", hidden))
    hidden = reckoning.tanh("tanh", affine(values, "second", hidden))
    hidden = reckoning.drop(reckoning.gelu("gelu", affine(values, "first", hidden)), 0.1)
    hidden = reckoning.silu("silu", affine(values, "second", hidden) + hidden) + 1
    hidden = reckoning.relu("relu#2", affine(values, "second", hidden))
    return 1 / (1 + torch.exp(-affine(values, "out", hidden)))


class Checkpointed(nn.Module):
    """Parts that are computed again in the backward pass, dropout among them."""

    def __init__(self, *, is_reentrant: bool) -> None:
        super().__init__()
        self.is_reentrant = is_reentrant
        self.block = Block()
        self.middle = nn.Sequential(nn.Linear(6, 6), nn.Tanh(), nn.Dropout(0.2), nn.Linear(6, 6), nn.ReLU(inplace=True))
        self.out = nn.Linear(6, 2)

    def forward(self, given: Tensor) -> Tensor:
        """Called by torch."""
        hidden = checkpoint(self.block, given, use_reentrant=self.is_reentrant)
        return self.out(checkpoint(self.middle, hidden, use_reentrant=self.is_reentrant))


def of_checkpointed(values: Values, reckoning: Reckoning, given: Tensor) -> Tensor:
    """What ``Checkpointed`` computes."""
    hidden = reckoning.relu("block.relu", affine(values, "block.inner", given))
    hidden = reckoning.drop(reckoning.tanh("middle.1", affine(values, "middle.0", hidden)), 0.2)
    return affine(values, "out", reckoning.relu("middle.4", affine(values, "middle.3", hidden)))


def slopes(number: int) -> tuple[Tensor]:
    """Samples that gradients go through, as reentrant checkpointing wants them."""
    return (torch.randn(12, 5, requires_grad=True),)


class Tied(nn.Module):
    """One matrix in three places: two modules share it, and the output is its transpose."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(5, 5)
        self.second = nn.Linear(5, 5, bias=False)
        self.second.weight = self.first.weight
        self.act = nn.ReLU()

    def forward(self, given: Tensor) -> Tensor:
        """Called by torch."""
        hidden = self.act(self.second(functional.elu(self.first(given))))
        return functional.linear(hidden, self.first.weight.t())


def of_tied(values: Values, reckoning: Reckoning, given: Tensor) -> Tensor:
    """What ``Tied`` computes."""
    first = affine(values, "first", given)
    hidden = reckoning.note("elu", torch.where(first > 0, first, torch.exp(first) - 1), first, function="gelu")
    shared = {"second.weight": values["first.weight"], "back.weight": values["first.weight"].T}
    return affine(shared, "back", reckoning.relu("act", affine(shared, "second", hidden)))


def parametrized() -> nn.Module:
    """Weights that are made of other parameters at each use."""
    return nn.Sequential(
        weight_norm(nn.Linear(5, 6)), nn.ReLU(), spectral_norm(nn.Linear(6, 6)), nn.Tanh(),
        orthogonal(nn.Linear(6, 6), orthogonal_map="cayley", use_trivialization=False), nn.ReLU(), nn.Linear(6, 2),
    )  # fmt: skip


def of_parametrized(values: Values, reckoning: Reckoning, given: Tensor) -> Tensor:
    """What ``parametrized`` computes."""
    made = dict(values)
    lengths, directions = (values[f"0.parametrizations.weight.original{number}"] for number in (0, 1))
    made["0.weight"] = lengths * directions / directions.square().sum(dim=1, keepdim=True).sqrt()
    matrix = values["2.parametrizations.weight.original"]
    left, right = values["2.parametrizations.weight.0._u"], values["2.parametrizations.weight.0._v"]
    with torch.no_grad():
        left = matrix @ right
        left = left / left.norm()
        right = matrix.T @ left
        right = right / right.norm()
    made["2.weight"] = matrix / (left @ matrix @ right)
    lower = values["4.parametrizations.weight.original"].tril()
    skew, one = (lower - lower.T) / 2, torch.eye(6, dtype=torch.float64)
    made["4.weight"] = torch.linalg.inv(one - skew) @ (one + skew)
    hidden = reckoning.tanh("3", affine(made, "2", reckoning.relu("1", affine(made, "0", given))))
    return affine(made, "6", reckoning.relu("5", affine(made, "4", hidden)))


class Reused(nn.Module):
    """One activation module and one linear module in three places."""

    def __init__(self) -> None:
        super().__init__()
        self.into = nn.Linear(5, 6)
        self.again = nn.Linear(6, 6)
        self.act = nn.ReLU(inplace=True)
        self.out = nn.Linear(6, 2)

    def forward(self, given: Tensor) -> Tensor:
        """Called by torch."""
        hidden = self.act(self.into(given))
        hidden = hidden + self.act(self.again(hidden))
        return self.out(self.act(self.again(hidden)))


def of_reused(values: Values, reckoning: Reckoning, given: Tensor) -> Tensor:
    """What ``Reused`` computes."""
    hidden = reckoning.relu("act", affine(values, "into", given))
    hidden = hidden + reckoning.relu("act#2", affine(values, "again", hidden))
    return affine(values, "out", reckoning.relu("act#3", affine(values, "again", hidden)))


class Experts(nn.Module):
    """Each sample goes to one of three experts; the last one gets none at first."""

    def __init__(self) -> None:
        super().__init__()
        self.router = nn.Linear(5, 3)
        with torch.no_grad():
            self.router.bias.copy_(torch.tensor([0.0, 0.0, -50.0]))
        self.experts = nn.ModuleList(nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 2)) for _ in range(3))

    def forward(self, given: Tensor) -> Tensor:
        """Called by torch."""
        weight, choice = self.router(given).softmax(dim=-1).max(dim=-1)
        output = given.new_zeros(len(given), 2)
        for number, expert in enumerate(self.experts):
            (chosen,) = (choice == number).nonzero(as_tuple=True)
            output = output.index_add(0, chosen, expert(given[chosen]) * weight[chosen, None])
        return output


def of_experts(values: Values, reckoning: Reckoning, given: Tensor) -> Tensor:
    """What ``Experts`` computes."""
    shares = torch.exp(affine(values, "router", given))
    shares = shares / shares.sum(dim=-1, keepdim=True)
    outputs = torch.zeros(len(given), 2, dtype=torch.float64)
    for number in range(3):
        chosen = [sample for sample in range(len(given)) if int(shares[sample].argmax()) == number]
        hidden = reckoning.relu(f"experts.{number}.1", affine(values, f"experts.{number}.0", given[chosen]))
        if chosen:
            weighed = affine(values, f"experts.{number}.2", hidden) * shares[chosen, number, None]
            outputs = outputs.index_add(0, torch.tensor(chosen), weighed)
    return outputs


def frozen() -> nn.Module:
    """The first layer does not learn, nor does a gradient reach it."""
    model = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 2))
    model[0].requires_grad_(False)
    return model


def of_frozen(values: Values, reckoning: Reckoning, given: Tensor) -> Tensor:
    """What ``frozen`` computes."""
    hidden = reckoning.relu("1", affine(values, "0", given))
    return affine(values, "4", reckoning.relu("3", affine(values, "2", hidden)))


class Bare(nn.Module):
    """Parameters without modules, multiplied in every way, an ensemble of two among them."""

    def __init__(self) -> None:
        super().__init__()
        self.into = nn.Parameter(torch.randn(5, 6))
        self.left = nn.Parameter(torch.randn(6, 6))
        self.ensemble = nn.Parameter(torch.randn(2, 6, 4))
        self.bias = nn.Parameter(torch.randn(2, 1, 4))
        self.out = nn.Parameter(torch.randn(2, 4, 1))

    def forward(self, given: Tensor) -> Tensor:
        """Called by torch."""
        hidden = functional.relu(given @ self.into)
        hidden = torch.tanh(self.left @ hidden.T).T
        hidden = functional.relu(
            torch.baddbmm(self.bias.detach() * 0, hidden.expand(2, -1, -1), self.ensemble) + self.bias
        )
        return torch.bmm(hidden, self.out)


def of_bare(values: Values, reckoning: Reckoning, given: Tensor) -> Tensor:
    """What ``Bare`` computes."""
    hidden = reckoning.relu("relu", affine({"x.weight": values["into"].T}, "x", given))
    hidden = reckoning.tanh("tanh", affine({"x.weight": values["left"]}, "x", hidden))
    made = torch.stack([affine({"x.weight": matrix.T}, "x", hidden) for matrix in values["ensemble"]])
    hidden = reckoning.relu("relu#2", made + values["bias"])
    return torch.stack([affine({"x.weight": values["out"][number].T}, "x", hidden[number]) for number in (0, 1)])


class Mixed(nn.Module):
    """Embeddings, layer normalisation, an activation that learns, a gated one, a softplus."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(7, 6)
        self.norm = nn.LayerNorm(6)
        self.learns = nn.PReLU()
        self.gate = nn.Linear(6, 8)
        self.gated = nn.GLU()
        self.soft = nn.Linear(4, 5)
        self.out = nn.Linear(5, 1)

    def forward(self, given: Tensor) -> Tensor:
        """Called by torch."""
        hidden = self.gated(self.gate(self.learns(self.norm(self.words(given)))))
        return self.out(functional.softplus(self.soft(hidden)).mean(dim=1))


def of_mixed(values: Values, reckoning: Reckoning, given: Tensor) -> Tensor:
    """What ``Mixed`` computes."""
    normal = normalised(values, "norm", values["words.weight"][given])
    kinked = torch.where(normal > 0, normal, values["learns.weight"] * normal)
    gate = affine(values, "gate", reckoning.note("learns", kinked, normal, function="prelu"))
    gated = gate[..., :4] / (1 + torch.exp(-gate[..., 4:]))
    soft = affine(values, "soft", reckoning.note("gated", gated, gate, function="glu"))
    smooth = reckoning.note("softplus", torch.log(1 + torch.exp(soft)), soft, function="softplus")
    return affine(values, "out", smooth.mean(dim=1))


def words(number: int) -> tuple[Tensor]:
    """Four sequences of three words."""
    return (torch.randint(0, 7, (4, 3)),)
