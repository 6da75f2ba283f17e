"""One forward as it runs: which module is at work, what each layer put out, and what that was fed into."""

from __future__ import annotations

from threading import get_ident
from typing import Any, Final

from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from plastikit.errors import UnitAxisError, UnknownNameError
from plastikit.watch.activations import SQUASHING, function_of
from plastikit.watch.axes import tensors_in
from plastikit.watch.calls import Frame, has_failed, is_within, running_call
from plastikit.watch.layers import ATTENTION, Choice, Layer, nothing_found, unit_axis
from plastikit.watch.probe import Needs
from plastikit.watch.samples import lies_otherwise, told_axis
from plastikit.watch.sight import Held, Seen, is_wrapped, listen_again, packed_rows
from plastikit.watch.tracer import Tracer

_UNNAMED: Final = True
"""Stands in for the input of an activation function where nobody needs it."""


class Forward:
    """What the forwards that count showed so far; a forward of the whole network begins it anew."""

    def __init__(self, model: nn.Module, choice: Choice, *, prefix: str, units: dict[str, int]) -> None:
        self.needs = ~Needs(0)
        self.seen: dict[str, Seen] = {}
        self.layers = choice.found()
        """The layers known so far, by name."""
        self.skipped: dict[str, str] = {}
        """What was met and is not watched, and why."""
        self.problems: list[str] = []
        self.units = units
        self._model = model
        self._choice = choice
        self._prefix = prefix
        self._tracer = Tracer(self)
        self._frames: list[Frame] = []
        self._plain: dict[nn.Module, bool] = {}
        self._calls: dict[str, int] = {}
        self._held: list[Held] = []
        self._met: set[str] = set()
        self._consumed: set[str] = set()
        self._is_inside = False
        self._thread = 0
        self._axes: dict[str, tuple[int, int]] = {}
        """Dimensions and unit axis of each layer in the last forward of the whole network."""
        self._has_other_layouts = any(map(lies_otherwise, model.modules()))
        self.is_plain_run = False
        """Whether all that can be known of a forward is known, so that nothing has to be traced."""

    @property
    def is_running(self) -> bool:
        """Whether a module of the network is at work."""
        return bool(self._frames)

    @property
    def is_elsewhere(self) -> bool:
        """Whether a module of the network is at work in another thread."""
        return bool(self._frames) and self._thread != get_ident()

    def abandon(self) -> None:
        """Let go of a forward that never ended: an interrupt takes no leave."""
        if self._frames:
            self._frames.clear()
            self._tracer.turn_off()
            if self._is_inside:
                self.forget()
            self._held.clear()

    def forget(self) -> None:
        """Let go of what was seen."""
        self.seen.clear()
        self._held.clear()
        self._consumed.clear()

    def enter(self, path: str, module: nn.Module, args: tuple[Any, ...]) -> None:
        """A module begins; the outermost one turns the tracer on."""
        call = running_call()
        if self._frames and not is_within(call, self._frames[-1].call):
            self.abandon()
        if not self._frames:
            self._thread = get_ident()
            self._is_inside = module is self._model
            self._calls.clear()
            if self._is_inside:
                self.forget()
            if not self.is_plain_run:
                self._tracer.turn_on()
        frame = Frame(path, module, self._is_plain(module), call)
        if frame.is_plain and args and isinstance(args[0], Tensor):
            frame.given = self._hold_input(args[0])
        self._frames.append(frame)

    def leave(self, module: nn.Module, output: Any) -> None:
        """A module is done; one that ended in an error takes those inside it with it."""
        if self._frames[-1].module is not module and not any(frame.module is module for frame in self._frames):
            return
        while (frame := self._frames.pop()).module is not module:
            pass
        try:
            if output is not None:
                self._take_module(frame, output)
        finally:
            if not self._frames:
                self._tracer.turn_off()
                self._held.clear()
        if not self._frames and self._is_inside:
            if output is None and has_failed(frame.call):
                # Half a forward is none.
                self.forget()
            else:
                self._finish()

    def adopt(self, shown: Any, output: Any) -> None:
        """What is known of ``shown`` holds for ``output``, which a compiled module put out in its place."""
        for known, tensor in zip(tensors_in(shown), tensors_in(output), strict=False):
            self._tracer.tags.put(tensor, self._tracer.tags.of(known))

    def before_write(self, target: Tensor) -> None:
        """Copy what is about to be written over."""
        if not self._held or is_wrapped(target):
            return
        storage = target.untyped_storage().data_ptr()
        for held in self._held:
            if held.tensor.untyped_storage().data_ptr() == storage:
                held.copy()

    def before_function(self, function: str, given: Tensor) -> Held | bool | None:
        """Hold what goes into an activation function that a module calls by itself."""
        frame = self._frames[-1]
        if frame.is_plain:
            return _UNNAMED
        label = self._name(frame.path, function)
        self._met.add(label)
        if self._choice.function(label, frame.path, function) is None:
            return None
        return self._hold_input(given) or _UNNAMED

    def after_function(self, function: str, token: Any, output: Tensor) -> None:
        """Take what it put out: as the module's own if that is an activation, else as a layer."""
        frame = self._frames[-1]
        if frame.is_plain:
            frame.function, frame.output = function, output
            return
        label = self._name(frame.path, function)
        layer = self._choice.function(label, frame.path, function)
        if layer is not None and (output.ndim > 1 or self._tracer.tags.of(output).axis):
            inputs = [token] if isinstance(token, Held) and token.tensor.shape == output.shape else []
            self._note(layer, output, function=function, inputs=inputs, is_own=False)

    def attention(self, output: Tensor, heads: int | None, rows: Tensor | None) -> None:
        """Take the heads of attention."""
        frame = self._frames[-1]
        is_module = isinstance(frame.module, nn.MultiheadAttention)
        label = frame.path if is_module else self._name(frame.path, ATTENTION)
        self._met.add(label)
        layer = (
            self._choice.module(label, frame.module)
            if is_module
            else self._choice.function(label, frame.path, ATTENTION)
        )
        if layer is not None:
            self._note(layer, output, function=ATTENTION, heads=heads, rows=rows, axis=-1)

    def consumed(self, labels: frozenset[str]) -> None:
        """These layers are hidden."""
        self._consumed |= labels

    def _take_module(self, frame: Frame, output: Any) -> None:
        module = frame.module
        acts = frame.is_plain and frame.function is not None
        layer = self._choice.module(frame.path, module, is_activation=acts) if frame.path or acts else None
        if layer is None and not frame.path and frame.path in self._choice.modules:
            layer = self._choice.module(frame.path, module)
        if layer is None or (isinstance(module, nn.MultiheadAttention) and self._prefixed(frame.path) in self.seen):
            return
        if isinstance(module, nn.RNNBase | nn.RNNCellBase):
            self._take_recurrent(layer, module, output)
        elif isinstance(output, Tensor):
            is_last = frame.output is output
            function = frame.function if is_last else function_of(module)
            given = frame.given
            inputs = [given] if given is not None and (acts or function) and given.tensor.shape == output.shape else []
            self._note(layer, output, function=function, inputs=inputs)
        else:
            raise UnitAxisError(
                f"layer {frame.path!r} puts out a {type(output).__name__}, where one tensor was expected; "
                "name a module inside or behind it: layers=['name', ...]"
            )

    def _take_recurrent(self, layer: Layer, module: nn.RNNBase | nn.RNNCellBase, output: Any) -> None:
        name = module.mode if isinstance(module, nn.RNNBase) else type(module).__name__.removesuffix("Cell")
        function = name.partition("_")[0].lower()
        first = output[0] if isinstance(output, tuple) else output
        if isinstance(output, tuple) and isinstance(output[0], PackedSequence):
            packed: PackedSequence = output[0]
            self._note(layer, packed.data, function=function, axis=-1, rows=packed_rows(packed))
        elif isinstance(module, nn.RNNBase):
            is_sequence_first = not module.batch_first and first.ndim > 2
            self._note(layer, first, function=function, axis=-1, sample_axis=int(is_sequence_first))
        else:
            self._note(layer, first, function=function, axis=-1, is_looped=True)

    def _note(
        self,
        layer: Layer,
        output: Tensor,
        *,
        function: str | None,
        inputs: list[Held] | None = None,
        heads: int | None = None,
        rows: Tensor | None = None,
        axis: int | None = None,
        sample_axis: int | None = None,
        is_looped: bool = False,
        is_own: bool = True,
    ) -> None:
        if is_wrapped(output):
            self._tell(
                f"layer {layer.label} runs under torch.func, where no single tensor shows it; it is not measured"
            )
            return
        label = self._label(layer.label, is_looped=is_looped)
        known = self.seen.get(label)
        if known is not None and known.is_of_whole and not self._is_inside:
            listen_again(known, output)
            return
        if axis is None:
            axis = self._unit_axis(layer, label, output, is_own=is_own)
            if axis is None:
                return
        held = Held(output)
        if Needs.FEATURE_GRADIENTS in self.needs:
            held.listen(output)
        self._held.append(held)
        if is_looped and known is not None and self._is_inside:
            known.outputs.append(held)
            return
        self.layers.setdefault(layer.label, layer)
        if sample_axis is None:
            sample_axis = told_axis((frame.module for frame in reversed(self._frames)), output)
        is_doubtful = sample_axis is None and self._has_other_layouts
        seen = Seen([held], axis, self._is_inside, inputs or [], function, heads, sample_axis or 0, rows, is_doubtful)
        self.seen[label] = seen
        if self._is_inside and not self.is_plain_run:
            tag = self._tracer.tags.of(output)
            self._tracer.tags.put(output, type(tag)(tag.axis, sources=tag.sources | {label}))
        elif not self._is_inside:
            self._check_units(label, seen)

    def _unit_axis(self, layer: Layer, label: str, output: Tensor, *, is_own: bool) -> int | None:
        """The axis of ``output`` that counts units; None, and a word about it, where it cannot be told."""
        produced = self._tracer.tags.of(output).axis
        is_known = self.is_plain_run or not self._is_inside
        if produced is None and is_known and self._axes.get(label, (0, 0))[0] == output.ndim:
            produced = self._axes[label][1]
        try:
            axis = unit_axis(layer, output, produced)
        except UnitAxisError as error:
            if output.ndim < 2 and self._choice.is_auto:
                self.layers.pop(layer.label, None)
                self.skipped[layer.label] = "not watched: it puts out one number for each sample"
                return None
            # Of a part alone nothing can be asked of the user.
            if layer.unit_axis is not None or (is_own and self._is_inside):
                raise
            self._tell(f"{error}; it is not measured")
            return None
        if self._is_inside:
            self._axes[label] = output.ndim, axis
        return axis

    def _finish(self) -> None:
        """The forward of the whole network is over: what is left out, and whether anything is there at all."""
        ends = {
            label
            for label, seen in self.seen.items()
            if not self.is_plain_run and seen.function in SQUASHING and label not in self._consumed and seen.is_of_whole
        }
        if self._choice.is_auto and ends < self.seen.keys():
            for label in ends:
                own = label.removeprefix(self._prefix)
                self.seen.pop(label)
                self.layers.pop(own, None)
                self.skipped[own] = "not watched: it goes into no weights, so that it is an output of the network"
        for label, seen in self.seen.items():
            self._check_units(label, seen)
        if not self.seen and self._choice.is_open and not self.problems:
            raise nothing_found(self._model)
        for pattern in self._choice.unmatched(self._met):
            raise UnknownNameError.of("layer", pattern, [*self._choice.modules, *self._met])

    def _check_units(self, label: str, seen: Seen) -> None:
        units = seen.width
        known = self.units.setdefault(label, units)
        if known != units:
            raise UnitAxisError(
                f"layer {label!r} puts out {units} units, where it put out {known} before; a layer has one width: "
                "watch modules that are called with one width only, layers=['name', ...]"
            )

    def _hold_input(self, given: Tensor) -> Held | None:
        if not self.needs & (Needs.PRE_ACTIVATIONS | Needs.PRE_GRADIENTS) or is_wrapped(given):
            return None
        held = Held(given)
        if Needs.PRE_GRADIENTS in self.needs:
            held.listen(given)
        self._held.append(held)
        return held

    def _is_plain(self, module: nn.Module) -> bool:
        known = self._plain.get(module)
        if known is None:
            own = module.parameters(recurse=False)
            known = not any(module.children()) and all(parameter.ndim < 2 for parameter in own)
            self._plain[module] = known
        return known

    def _label(self, name: str, *, is_looped: bool) -> str:
        """The layer's name; the second and later calls of a re-used module in one forward are told apart."""
        if not self._is_inside or is_looped:
            return self._prefixed(name)
        call = self._calls[name] = self._calls.get(name, 0) + 1
        return self._prefixed(name) + (f"#{call}" if call > 1 else "")

    def _prefixed(self, name: str) -> str:
        return f"{self._prefix}{name}"

    def _name(self, path: str, function: str) -> str:
        return f"{path}.{function}" if path else function

    def _tell(self, problem: str) -> None:
        if problem not in self.problems:
            self.problems.append(problem)
