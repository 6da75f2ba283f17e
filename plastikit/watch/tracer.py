"""Sees every torch function that a forward calls: which activations they are, and which axis counts units."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from time import perf_counter
from typing import Any, Final, Protocol

import torch
from torch import Tensor
from torch.compiler import is_compiling
from torch.nn import functional
from torch.overrides import TorchFunctionMode, _get_current_function_mode, _pop_mode, _push_mode

from plastikit.watch.activations import FUNCTIONS, is_in_place
from plastikit.watch.axes import WEIGHING, Given, Tags, tensors_in
from plastikit.watch.hooks import charge

_NOTHING: Final = nullcontext()
_PROPERTIES: Final = frozenset({"T", "mT", "H", "mH", "data"})


class Listener(Protocol):
    """Who is told what a forward calls."""

    def before_write(self, target: Tensor) -> None:
        """A function is about to write into ``target``."""
        ...

    def before_function(self, function: str, given: Tensor) -> Any:
        """An activation function is about to be called on ``given``; what is returned comes back after it."""
        ...

    def after_function(self, function: str, token: Any, output: Tensor) -> None:
        """It put out ``output``."""
        ...

    def attention(self, output: Tensor, heads: int | None, rows: Tensor | None) -> None:
        """Attention put out [..., head, step, unit] or, its heads joined, [row, unit] with the sample of each row."""
        ...

    def consumed(self, labels: frozenset[str]) -> None:
        """What these layers put out went into weights."""
        ...


class Tracer(TorchFunctionMode):
    """On while a watched forward runs; calls every function as it was called, and only looks at it."""

    def __init__(self, listener: Listener) -> None:
        super().__init__()
        self.tags = Tags()
        self._listener = listener

    def __torch_function__(
        self, func: Callable[..., Any], _types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Called by torch in place of ``func``; a compiler that traces it finds ``func`` alone."""
        kwargs = kwargs or {}
        name = None if is_compiling() else _name(func)
        if name is None:
            return func(*args, **kwargs)
        start = perf_counter()
        token = self._before(name, args, kwargs)
        tensors = self.tags.given(args, kwargs)
        if name in WEIGHING:
            self._tell_consumed(tensors)
        with self._heads_seen(args, kwargs) if name == "multi_head_attention_forward" else _NOTHING:
            called = perf_counter()
            output = func(*args, **kwargs)
        returned = perf_counter()
        if outputs := tensors_in(output):
            self.tags.follow(name, args, kwargs, tensors, outputs)
        if token is not None and isinstance(output, Tensor):
            self._listener.after_function(FUNCTIONS[name], token, output)
        elif name == "scaled_dot_product_attention" and isinstance(output, Tensor):
            self._listener.attention(output, output.shape[-3] if output.ndim > 3 else None, None)
        charge(perf_counter() - returned + called - start)
        return output

    def turn_on(self) -> None:
        """Look at every function from now on."""
        _push_mode(self)

    def turn_off(self) -> None:
        """Take it off, wherever it lies; what others have put above it stays."""
        above = []
        while (mode := _get_current_function_mode()) is not None and mode is not self:
            above.append(_pop_mode())
        if mode is self:
            _pop_mode()
        for each in reversed(above):
            _push_mode(each)
        self.tags.clear()

    def _before(self, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Tell what an activation is called on, and what is about to be written over."""
        function = FUNCTIONS.get(name)
        given = args[0] if args else kwargs.get("input")
        token = None
        if function is not None and isinstance(given, Tensor) and not self.tags.of(given).is_weight:
            token = self._listener.before_function(function, given)
        if is_in_place(name, args, kwargs):
            for target in tensors_in(given):
                self._listener.before_write(target)
        for target in tensors_in(kwargs.get("out")) if kwargs else ():
            self._listener.before_write(target)
        return token

    def _tell_consumed(self, tensors: list[Given]) -> None:
        for _, tag in tensors:
            if tag.sources:
                self._listener.consumed(tag.sources)

    @contextmanager
    def _heads_seen(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Iterator[None]:
        """Look at what goes into the output projection, which attention applies by itself, to its joined heads."""
        weight = kwargs.get("out_proj_weight", args[11] if len(args) > 11 else None)
        count = kwargs.get("num_heads", args[4] if len(args) > 4 else None)
        query: Tensor = kwargs.get("query", args[0] if args else None)
        linear = functional.linear

        def watched(given: Tensor, used: Tensor, bias: Tensor | None = None) -> Tensor:
            if used is weight:
                samples = query.shape[1] if query.ndim > 2 else 1
                self._listener.attention(given, count, torch.arange(len(given), device=given.device) % samples)
            return linear(given, used, bias)

        functional.linear = watched  # type: ignore[assignment]  # back again as soon as the call is over
        try:
            yield
        finally:
            functional.linear = linear


def _name(func: Callable[..., Any]) -> str | None:
    """What a function is called; None for a property that makes no new tensor."""
    name: str = getattr(func, "__name__", "")
    if name != "__get__":
        return name
    attribute = str(getattr(func.__self__, "__name__", ""))  # type: ignore[attr-defined]  # a descriptor's getter
    return attribute if attribute in _PROPERTIES else None
