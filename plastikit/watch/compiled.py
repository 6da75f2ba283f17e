"""Sees what torch.compile hides: on a due step a compiled module first runs as it was written, on copied inputs.

The compiled run itself is left alone: no hook and no tracer stands in it, and nothing is compiled again.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from time import perf_counter
from typing import Any, Final, Protocol

import torch
from torch import Tensor, nn
from torch.overrides import _get_current_function_mode, _pop_mode, _push_mode
from torch.utils._pytree import tree_map

from plastikit.watch.devices import wait_for_training
from plastikit.watch.hooks import charge, seconds_in_hooks
from plastikit.watch.layers import unwrapped
from plastikit.watch.tracer import Tracer
from plastikit.watch.undisturbed import undisturbed

_FRAMES: Final = "torch._dynamo.eval_frame"


class Watcher(Protocol):
    """Who wants to look at the modules of a network."""

    is_paused: bool
    is_looking_anyway: bool

    def wants(self, module: nn.Module) -> bool:
        """Whether a call of ``module`` is to be looked at."""
        ...

    def disarm(self) -> None:
        """Stop looking."""
        ...

    def hide(self) -> None:
        """Take the hooks off the modules."""
        ...

    def show(self) -> None:
        """Set them again."""
        ...

    def adopt(self, shown: Any, output: Any) -> None:
        """What is known of ``shown`` holds for ``output``."""
        ...


class _Region:
    """Stands for the compiled call of a module that was compiled in place."""

    def __init__(self, module: nn.Module, call: Callable[..., Any]) -> None:
        self.call = call
        self._module = module

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return _run(self._module, self.call, args, kwargs)


_WATCHERS: Final[list[Watcher]] = []
_UNDO: Final[dict[str, Callable[[], None]]] = {}


def watch_compiled(watcher: Watcher, modules: Mapping[str, nn.Module]) -> None:
    """Look at compiled calls of the network's modules, until ``leave_compiled``."""
    _WATCHERS.append(watcher)
    for module in modules.values():
        call = module._compiled_call_impl  # noqa: SLF001  where torch keeps it
        if call is not None and not isinstance(call, _Region):
            module._compiled_call_impl = _Region(module, call)  # noqa: SLF001
    _see_wrappers()
    if "torch.compile" not in _UNDO:
        compile_as_it_was = torch.compile
        torch.compile = _seeing(compile_as_it_was)
        _UNDO["torch.compile"] = functools.partial(setattr, torch, "compile", compile_as_it_was)


def leave_compiled(watcher: Watcher, modules: Mapping[str, nn.Module]) -> None:
    """Put back all that was put in the way of compiled calls."""
    if watcher in _WATCHERS:
        _WATCHERS.remove(watcher)
    for module in modules.values():
        call = module._compiled_call_impl  # noqa: SLF001
        if isinstance(call, _Region) and not any(other.wants(module) for other in _WATCHERS):
            module._compiled_call_impl = call.call  # noqa: SLF001
    if not _WATCHERS:
        for undo in _UNDO.values():
            undo()
        _UNDO.clear()


def _see_wrappers() -> None:
    """Stand before the calls of modules that torch.compile returned; the compiler is not loaded to ask for them."""
    frames = sys.modules.get(_FRAMES)
    if frames is None or _FRAMES in _UNDO:
        return
    wrapper: Any = frames.OptimizedModule
    as_it_was = wrapper.__call__

    def call(compiled: nn.Module, *args: Any, **kwargs: Any) -> Any:
        return _run(unwrapped(compiled), functools.partial(as_it_was, compiled), args, kwargs)

    wrapper.__call__ = call
    _UNDO[_FRAMES] = functools.partial(setattr, wrapper, "__call__", as_it_was)


def _seeing(compile_as_it_was: Callable[..., Any]) -> Callable[..., Any]:
    """``torch.compile`` on a due step: what it compiles can be seen at once."""

    @functools.wraps(compile_as_it_was)
    def compile_and_see(*args: Any, **kwargs: Any) -> Any:
        compiled = compile_as_it_was(*args, **kwargs)
        _see_wrappers()
        function = args[0] if args else None
        module = getattr(function, "__self__", None)
        is_in_place = isinstance(module, nn.Module) and getattr(function, "__name__", "") == "_call_impl"
        return _Region(module, compiled) if isinstance(module, nn.Module) and is_in_place else compiled

    return compile_and_see


def _run(module: nn.Module, call: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    watchers = [] if torch.compiler.is_compiling() else [watcher for watcher in _WATCHERS if watcher.wants(module)]
    if not watchers:
        with _alone([]):
            return call(*args, **kwargs)
    shown = _look(module, watchers, args, kwargs)
    with _alone(watchers):
        output = call(*args, **kwargs)
    for watcher in watchers:
        watcher.adopt(shown, output)
    return output


def _look(module: nn.Module, watchers: list[Watcher], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run ``module`` as it was written, without gradients; nothing of it remains but what the watchers saw."""
    copied, named = tree_map(_copied, (args, kwargs))
    wait_for_training(module.parameters())
    start = perf_counter() - seconds_in_hooks()
    with ExitStack() as stack:
        for watcher in watchers:
            stack.callback(setattr, watcher, "is_looking_anyway", watcher.is_looking_anyway)
            watcher.is_looking_anyway = True
        stack.enter_context(undisturbed(module, is_evaluating=False))
        stack.enter_context(torch.no_grad())
        stack.enter_context(torch.compiler.set_stance("force_eager"))
        output = module._call_impl(*copied, **named)  # noqa: SLF001  the call without what is compiled in place
    charge(perf_counter() - seconds_in_hooks() - start)
    return output


@contextmanager
def _alone(watchers: list[Watcher]) -> Iterator[None]:
    """Inside, nothing looks: a compiler would take the tracer and the hooks for a part of the network."""
    tracers = []
    while isinstance(_get_current_function_mode(), Tracer):
        tracers.append(_pop_mode())
    paused = [(watcher, watcher.is_paused) for watcher in watchers]
    for watcher in watchers:
        watcher.is_paused = True
        # Compiled with hooks on it, a module would be compiled again without them.
        watcher.hide()
    try:
        yield
    finally:
        for watcher, was_paused in paused:
            watcher.is_paused = was_paused
            watcher.show()
        for tracer in reversed(tracers):
            _push_mode(tracer)


def _copied(value: Any) -> Any:
    return value.detach().clone() if isinstance(value, Tensor) else value
