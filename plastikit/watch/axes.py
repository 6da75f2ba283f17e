"""Which axis of a tensor counts units, told by the functions that made it, never by its number of dimensions.

Axes are counted from the end: -1 for what a linear map puts out, -3 for the channels of an image.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple
from weakref import ref

import torch
from torch import Tensor, nn

Arguments = Sequence[Any]
Keywords = Mapping[str, Any]

_MADE: Final[Mapping[str, int]] = {
    **{f"conv{transposed}{space}d": -1 - space for space in (1, 2, 3) for transposed in ("", "_transpose")},
    **dict.fromkeys(("bilinear", "embedding", "multi_head_attention_forward"), -1),
    **dict.fromkeys(("lstm", "gru", "rnn_tanh", "rnn_relu"), -1),
    **dict.fromkeys(("lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell"), -1),
}
"""Functions that make units, and the axis on which they lie."""

UNTOLD: Final = 0
"""In place of an axis: weights came in, and even of a matrix nobody can tell where its units are."""

_LEFT: Final = {"addmm": 1, "baddbmm": 1, "addbmm": 1}
"""Matrix products that add something first, and where the left factor stands behind it."""


class Tag(NamedTuple):
    """What is known of a tensor."""

    axis: int | None = None
    """The axis that counts units, from the end; None where nobody tells, ``UNTOLD`` where nobody can."""
    is_weight: bool = False
    """Whether it was made of parameters alone."""
    sources: frozenset[str] = frozenset()
    """The layers that it was computed from, without a weight in between."""


Given = tuple[Tensor, Tag]
"""A tensor, and what is known of it."""


class Tags:
    """Tags of the tensors of one forward; a tensor that is gone takes its tag with it."""

    def __init__(self) -> None:
        self._tags: dict[int, tuple[ref[Tensor], Tag]] = {}

    def of(self, tensor: Tensor) -> Tag:
        """What is known of ``tensor``."""
        known = self._tags.get(id(tensor))
        if known is not None and known[0]() is tensor:
            return known[1]
        return _WEIGHT if isinstance(tensor, nn.Parameter) else _UNKNOWN

    def put(self, tensor: Tensor, tag: Tag) -> None:
        """Note what is known of ``tensor``."""
        self._tags[id(tensor)] = ref(tensor), tag

    def clear(self) -> None:
        """Forget every tensor."""
        self._tags.clear()

    def given(self, args: Arguments, kwargs: Keywords) -> list[Given]:
        """The tensors among the arguments of a call, and what is known of each."""
        found = [(each, self.of(each)) for each in args if isinstance(each, Tensor)]
        if kwargs or len(found) < len(args):
            others = [each for each in (*args, *kwargs.values()) if isinstance(each, list | tuple | dict)]
            named = [each for each in kwargs.values() if isinstance(each, Tensor)]
            found += [(each, self.of(each)) for each in (*named, *tensors_in(others))]
        return found

    def follow(
        self, name: str, args: Arguments, kwargs: Keywords, given: Sequence[Given], outputs: Sequence[Tensor]
    ) -> None:
        """Note what is known of ``outputs`` of the function ``name``, from what is known of its arguments."""
        is_weight = bool(given)
        sources = _NOWHERE
        for _, tag in given:
            is_weight = is_weight and tag.is_weight
            if tag.sources:
                sources |= tag.sources
        if name in WEIGHING:
            sources = _NOWHERE
        made = _MADE.get(name)
        for output in outputs:
            axis = made
            if is_weight:
                axis = None
            elif made is None:
                axis = produced_axis(Call(name, args, kwargs, given, output))
            self._tags[id(output)] = ref(output), Tag(axis, is_weight, sources)


_NOWHERE: Final = frozenset[str]()
_UNKNOWN: Final = Tag()
_WEIGHT: Final = Tag(is_weight=True)


def tensors_in(value: Any) -> list[Tensor]:
    """Every tensor in nested sequences and mappings."""
    if value is None:
        return []
    if isinstance(value, Tensor):
        return [value]
    found: list[Tensor] = []
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for entry in value:
            if isinstance(entry, Tensor):
                found.append(entry)
            elif isinstance(entry, list | tuple | dict):
                found += tensors_in(entry)
    return found


class Call(NamedTuple):
    """A call of a torch function, as far as its output's unit axis follows from it."""

    name: str
    args: Arguments
    kwargs: Keywords
    given: Sequence[Given]
    """The tensors among the arguments, and what is known of each."""
    output: Tensor

    @property
    def known(self) -> list[tuple[Tensor, int]]:
        """Those tensors whose unit axis is known."""
        return [(tensor, tag.axis) for tensor, tag in self.given if tag.axis]

    @property
    def weighs(self) -> bool:
        """Whether weights and other tensors come together in it."""
        return len({tag.is_weight for _, tag in self.given}) > 1


def produced_axis(call: Call) -> int | None:
    """The unit axis of what a call put out, from the end; None where the function does not tell.

    ``UNTOLD`` where it may have put samples where units would be looked for.
    """
    made = _MADE.get(call.name)
    if made is not None:
        return made
    if call.name not in WEIGHING and any(tag.axis == UNTOLD for _, tag in call.given):
        return UNTOLD
    rule = _RULES.get(call.name) or (_kept if "pool" in call.name else _alike)
    return rule(call)


def _of_linear(call: Call) -> int:
    """Units come last, except where somebody gives the weight as the input."""
    weights = [tag.is_weight for _, tag in call.given]
    return -2 if call.weighs and weights[0] and not weights[1] else -1


def _of_product(call: Call) -> int | None:
    """A weight on the right puts units last, one on the left puts them before."""
    left = _LEFT.get(call.name, 0)
    factors = call.given[left : left + 2]
    weights = [tensor for tensor, tag in factors if tag.is_weight]
    if len(factors) != 2 or len(weights) != 1:
        return None
    if weights[0].ndim < 2:
        return UNTOLD
    return -1 if factors[1][1].is_weight else -2


def _of_any_product(call: Call) -> int | None:
    """Nobody follows the axes through it."""
    return UNTOLD if call.weighs else None


def _of_einsum(call: Call) -> int | None:
    """The one index that the output shares with the weights alone."""
    if not call.weighs:
        return None
    equation = call.args[0].replace(" ", "") if call.args and isinstance(call.args[0], str) else ""
    inputs, arrow, out = equation.partition("->")
    terms = inputs.split(",")
    if not arrow:
        single = sorted(index for index in set(inputs) - set(".,") if inputs.count(index) == 1)
        out = "".join(["..."] * ("." in inputs) + single)
    if len(terms) != len(call.given):
        return UNTOLD
    of_weights, of_others = set[str](), set[str]()
    for term, (_, tag) in zip(terms, call.given, strict=True):
        (of_weights if tag.is_weight else of_others).update(term)
    own = [index for index in out if index in of_weights - of_others]
    if len(own) != 1:
        return UNTOLD
    before, _, behind = out.rpartition("...")
    return behind.index(own[0]) - len(behind) if own[0] in behind else before.index(own[0]) - call.output.ndim


def _normalised(call: Call) -> int | None:
    """Normalisations by channel have them second, where nobody has told yet."""
    if call.known:
        return _alike(call)
    return 1 - call.output.ndim if call.output.ndim > 1 else None


def _alike(call: Call) -> int | None:
    """The axis stays where it was in the inputs that have the output's shape."""
    axes = {axis for tensor, axis in call.known if tensor.shape == call.output.shape}
    if len(axes) == 1:
        return axes.pop()
    return UNTOLD if _is_spread(call) else None


def _is_spread(call: Call) -> bool:
    """Whether weights and others are spread over each other, as in a product that is summed up later."""
    size = call.output.numel()
    has_matrix = any(tag.is_weight and tensor.ndim > 1 for tensor, tag in call.given)
    return call.weighs and has_matrix and all(tensor.numel() < size for tensor, _ in call.given)


def _stacked(call: Call) -> int | None:
    """Axes before the new one are one farther from the end than they were."""
    axes = {axis for _, axis in call.known}
    if len(axes) != 1:
        return UNTOLD if axes else None
    place: int = call.kwargs.get("dim", call.args[1] if len(call.args) > 1 else 0)
    axis = axes.pop()
    return axis if axis > (place - call.output.ndim if place >= 0 else place) else axis - 1


def _kept(call: Call) -> int | None:
    """The axis stays where it was, though sizes change."""
    axes = {axis for _, axis in call.known}
    return axes.pop() if len(axes) == 1 else None


def _transposed(call: Call) -> int | None:
    """Two axes change places."""
    if not call.known:
        return None
    tensor, axis = call.known[0]
    order = list(range(tensor.ndim))
    places = (*call.args[1:], *call.kwargs.values())[:2] or (-2, -1)
    one, other = (place % tensor.ndim for place in places) if tensor.ndim > 1 else (0, 0)
    order[one], order[other] = order[other], order[one]
    return order.index(axis % tensor.ndim) - tensor.ndim


def _permuted(call: Call) -> int | None:
    """All axes get a new order."""
    if not call.known:
        return None
    tensor, axis = call.known[0]
    ndim = tensor.ndim
    places: Sequence[Any] = (*call.args[1:], *call.kwargs.values())
    if call.name == "permute":
        order = [place % ndim for place in (places[0] if isinstance(places[0], list | tuple) else places)]
    elif call.name in {"movedim", "moveaxis"}:
        if not all(isinstance(place, int) for place in places):
            return UNTOLD
        order = list(range(ndim))
        order.insert(places[1] % ndim, order.pop(places[0] % ndim))
    else:
        order = list(reversed(range(ndim)))
    return order.index(axis % ndim) - ndim


def _reshaped(call: Call) -> int | None:
    """Units stay last where they were last and as many; all that a sample holds becomes units in a matrix."""
    if not call.known:
        return None
    (before, axis), output = call.known[0], call.output
    if before.shape == output.shape:
        return axis
    is_last = axis == -1 and output.ndim > 0 and before.shape[-1] == output.shape[-1]
    is_matrix = output.ndim == 2 and before.ndim > 2 and before.shape[0] == output.shape[0]
    return -1 if is_last or is_matrix else None


def _indexed(call: Call) -> int | None:
    """Samples, steps in time or places were chosen, not units."""
    if not call.known:
        return None
    (before, axis), index = call.known[0], call.args[1]
    entries = index if isinstance(index, tuple) else (index,)
    if any(entry is Ellipsis for entry in entries):
        return None
    consumed = sum(_consumed(entry) for entry in entries)
    return axis if consumed <= before.ndim + axis and call.output.ndim >= -axis else None


def _consumed(entry: Any) -> int:
    """How many axes an index takes."""
    if entry is None:
        return 0
    return entry.ndim if isinstance(entry, Tensor) and entry.dtype == torch.bool else 1


_PRODUCTS: Final = ("matmul", "__matmul__", "linalg_matmul", "mm", "bmm", "inner", *_LEFT)
_OTHER_PRODUCTS: Final = (
    "tensordot",
    "mv",
    "chain_matmul",
    "linalg_multi_dot",
    "outer",
    "ger",
    "addmv",
    "addr",
    "kron",
)

_RULES: Final[Mapping[str, Callable[[Call], int | None]]] = {
    "linear": _of_linear,
    "stack": _stacked,
    **dict.fromkeys(_PRODUCTS, _of_product),
    **dict.fromkeys(_OTHER_PRODUCTS, _of_any_product),
    **dict.fromkeys(("batch_norm", "group_norm", "instance_norm"), _normalised),
    **dict.fromkeys(("transpose", "transpose_", "swapaxes", "swapdims", "t", "adjoint", "mT", "mH"), _transposed),
    **dict.fromkeys(("permute", "movedim", "moveaxis", "T", "H"), _permuted),
    **dict.fromkeys(
        ("reshape", "view", "flatten", "unflatten", "reshape_as", "view_as", "squeeze", "unsqueeze"), _reshaped
    ),
    **dict.fromkeys(
        ("chunk", "split", "tensor_split", "split_with_sizes", "cat", "concat", "concatenate", "interpolate"), _kept
    ),
    **dict.fromkeys(("pad", "glu"), _kept),
    "einsum": _of_einsum,
    "__getitem__": _indexed,
}
"""How the unit axis goes through a function; through any other it goes where input and output are of one shape."""

WEIGHING: Final = frozenset({*_MADE, *_PRODUCTS, *_OTHER_PRODUCTS, "linear", "einsum", "scaled_dot_product_attention"})
"""Functions that bring in weights, or mix samples: what goes into one of them is hidden."""
