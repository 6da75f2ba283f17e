"""Processes that train one network together: what each saw reaches the one that measures and writes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Final

import torch
import torch.distributed
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from plastikit.errors import ConfigurationError, NotTogetherError
from plastikit.record.store import RunStore
from plastikit.schema import FINISHED, RUNNING
from plastikit.watch.agenda import Agenda, Due
from plastikit.watch.agreed import Agreed
from plastikit.watch.budget import Governor
from plastikit.watch.capture import OF_LAYERS
from plastikit.watch.clock import Clock
from plastikit.watch.joining import Bundle, Outline, bundled, from_bytes, joined, outlined, size_of, to_bytes
from plastikit.watch.probe import Capture
from plastikit.watch.sharded import made_whole, pieces_of
from plastikit.watch.sight import Sight

PATIENCE: Final = timedelta(minutes=5)
"""How long a process waits for the others at a record, or for them to attach."""

_HOST: Final = torch.device("cpu")

_groups: Final[dict[tuple[int, ...], torch.distributed.ProcessGroup]] = {}


class Elsewhere:
    """Stands in for the store and its recorder in a process that writes nothing."""

    def __init__(self) -> None:
        self.state = RUNNING
        self.id = ""
        self.committed: Mapping[str, int] = {}

    def write(self, *_: object) -> None:
        """Nothing."""

    def write_scalars(self, *_: object) -> None:
        """Nothing."""

    def check_stamps(self, *_: object) -> None:
        """Nothing."""

    def lose(self, *_: object) -> None:
        """Nothing."""

    def event(self, *_: object) -> None:
        """Nothing."""

    def commit(self) -> None:
        """Nothing."""

    def close(self, state: str = FINISHED, *, error: str | None = None) -> None:  # noqa: ARG002  as a store is closed
        """Only say so."""
        self.state = state


class Alone:
    """A process that trains its networks by itself: it measures what it sees, and writes it."""

    is_writer = True
    is_sharded = False
    is_several = False

    def open(self, make: Callable[[], RunStore], settings: Mapping[str, Any]) -> RunStore | Elsewhere:  # noqa: ARG002
        """The store."""
        return make()

    def agenda(self, agenda: Agenda) -> Agenda:
        """As it is."""
        return agenda

    def see(self, clock: Clock, due: Due, *, of_update: bool) -> tuple[Capture | None, list[str]]:  # noqa: ARG002
        """What the probes are to look at, and what could not be measured; no capture where they are not to run here."""
        sight = _sight(clock, due)
        return clock.capture(sight), [] if sight is None else sight.problems

    def leave(self) -> None:
        """From now on the other processes are not waited for."""


@dataclass(frozen=True)
class _Note:
    """What a process tells the others before they hand their tensors over."""

    place: tuple[object, ...]
    """Which record this is of."""
    sight: Sight | None = None
    """What it saw, without the tensors."""
    outline: Outline = field(default_factory=dict)
    """What those tensors are."""
    sharded: frozenset[tuple[str, ...]] = frozenset()
    """What of its capture lies in pieces."""
    failure: str | None = None


class Together(Alone):
    """One of several processes that train the same networks. On due steps all of them meet; the first one writes.

    They talk through a process group of their own, on the host, so that nothing comes between what the training sends.
    """

    is_several = True

    def __init__(self, ranks: list[int], wrappers: list[DistributedDataParallel], *, is_sharded: bool) -> None:
        self.is_sharded = is_sharded
        self.is_writer = torch.distributed.get_rank() == ranks[0]
        self._ranks = ranks
        self._wrappers = wrappers
        self._group: torch.distributed.ProcessGroup | None = None

    def open(self, make: Callable[[], RunStore], settings: Mapping[str, Any]) -> RunStore | Elsewhere:
        """The store, in the process that writes; once all of them are there and watch the same.

        Raises:
            ConfigurationError: some process did not attach, or did so with other settings.
        """
        try:
            self._group = _group_of(self._ranks)
            known = self._tell_all(dict(settings))
        except RuntimeError as error:
            raise ConfigurationError(
                f"not all {len(self._ranks)} processes that train the model called attach within {PATIENCE}; call it "
                "in every one of them, also in those that write nothing"
            ) from error
        try:
            _check_alike(known)
            return self._open(make)
        except BaseException:
            self.leave()
            raise

    def agenda(self, agenda: Agenda) -> Agenda:
        """The same for all, where it follows the clock of one process."""
        return Agreed(agenda, self._tell_decision, is_writer=self.is_writer) if isinstance(agenda, Governor) else agenda

    def see(self, clock: Clock, due: Due, *, of_update: bool) -> tuple[Capture | None, list[str]]:
        """What all processes saw, in the one that writes; None in the others.

        Raises:
            NotTogetherError: another process is gone, stands at another record, or could not be read.
        """
        if self._group is None:
            return None, []
        if any(wrapper._join_config.enable for wrapper in self._wrappers):  # noqa: SLF001  there is no public way
            raise ConfigurationError(
                f"{clock.name} is trained inside join(), where a process that has run out of batches meets the others "
                "no more; give every process the same number of batches, and leave join() out"
            )
        place = (clock.name, clock.due, of_update, tuple(number for number, _ in due.probes))
        try:
            sight = _sight(clock, due)
            capture = clock.capture(None)
            bundle = {} if sight is None else bundled(sight)
            flat = to_bytes({} if self.is_writer else bundle)
            note = _Note(place, sight and _described(sight), outlined(bundle), frozenset(pieces_of(capture, due.needs)))
        except Exception as error:
            # The others must not wait for what does not come.
            self._meet(_Note(place, failure=f"{type(error).__name__}: {error}"))
            raise
        notes = self._meet(note)
        if self.is_sharded:
            shared = frozenset.intersection(*(each.sharded for each in notes))
            capture = made_whole(capture, due.needs, shared, is_kept=self.is_writer)
        if sight is None:
            return capture if self.is_writer else None, []
        bundles = self._gather(bundle, flat, [each.outline for each in notes])
        if not self.is_writer:
            return None, []
        sights = [
            replace(each.sight, **bundle)  # type: ignore[arg-type]  # its keys are those fields that hold tensors
            for each, bundle in zip(notes, bundles, strict=True)
            if each.sight is not None
        ]
        devices = {label: features.device for label, features in sight.features.items()}
        shown = joined(sights, devices, next((each.device for each in clock.watch.named.values()), _HOST))
        for label, features in shown.features.items():
            clock.watch.units.setdefault(label, features.shape[-1])
        return replace(capture, **shown.shown(scale=clock.loss_scale)), shown.problems

    def leave(self) -> None:
        """From now on the other processes are not waited for: they may be elsewhere, or gone."""
        self._group = None

    def _open(self, make: Callable[[], RunStore]) -> RunStore | Elsewhere:
        store: RunStore | None = None
        failure: BaseException | None = None
        if self.is_writer:
            try:
                store = make()
            except Exception as error:  # noqa: BLE001  raised below, once the others know of it
                failure = error
        outcome = self._tell_all((type(failure), str(failure)) if failure is not None else None)[0]
        if failure is not None:
            raise failure
        if outcome is not None:
            kind, message = outcome
            raise kind(message) if issubclass(kind, ConfigurationError | OSError) else NotTogetherError(message)
        return store or Elsewhere()

    def _meet(self, note: _Note) -> list[_Note]:
        """Every process's note; they agree on where they are."""
        notes = self._tell_all(note)
        failed = {rank: each.failure for rank, each in zip(self._ranks, notes, strict=True) if each.failure is not None}
        if failed and note.failure is None:
            told = "; ".join(f"process {rank}: {failure}" for rank, failure in failed.items())
            raise NotTogetherError(f"what other processes saw could not be read, so that there is no record: {told}")
        if not failed and any(each.place != note.place for each in notes):
            raise NotTogetherError(
                "the processes are at different records: "
                + ", ".join(f"{rank} at {each.place[:2]}" for rank, each in zip(self._ranks, notes, strict=True))
                + "; give attach a schedule that follows from the step alone, and step the optimizers alike"
            )
        return notes

    def _tell_all(self, message: Any) -> list[Any]:
        """What each process has to say, in the order of their ranks."""
        messages: list[Any] = [None] * len(self._ranks)
        try:
            torch.distributed.all_gather_object(messages, message, group=self._group)
        except RuntimeError as error:
            raise self._gone() from error
        return messages

    def _gather(self, own: Bundle, flat: Tensor, outlines: list[Outline]) -> list[Bundle]:
        """What every process saw in the one that writes; nothing in the others."""
        try:
            if not self.is_writer:
                if len(flat):
                    torch.distributed.send(flat, self._ranks[0], group=self._group)
                return []
            others = [torch.empty(size_of(outline), dtype=torch.uint8) for outline in outlines[1:]]
            for other, rank in zip(others, self._ranks[1:], strict=True):
                if len(other):
                    torch.distributed.recv(other, rank, group=self._group)
        except RuntimeError as error:
            raise self._gone() from error
        return [own, *(from_bytes(other, outline) for other, outline in zip(others, outlines[1:], strict=True))]

    def _tell_decision(self, decision: Tensor) -> Tensor:
        """The writer's; nothing is due where the processes have parted."""
        if self._group is None:
            return torch.zeros_like(decision)
        try:
            torch.distributed.broadcast(decision, src=self._ranks[0], group=self._group)
        except RuntimeError as error:
            raise self._gone() from error
        return decision

    def _gone(self) -> NotTogetherError:
        """Another process does not answer; whatever is still under way in the group is of no use to a later monitor."""
        _groups.pop(tuple(self._ranks), None)
        self._group = None
        return NotTogetherError(
            f"another process that trains the model is gone, or did not come to a record within {PATIENCE}; "
            "step the optimizers alike in all of them, and end all where one ends"
        )


def _check_alike(known: list[dict[str, Any]]) -> None:
    """What is watched, and when, must not depend on the process."""
    for name in known[0]:
        # Where an object lies in memory is no setting.
        found = list(dict.fromkeys(re.sub(" at 0x[0-9a-fA-F]+", "", str(settings[name])) for settings in known))
        if len(found) > 1:
            raise ConfigurationError(
                f"{name} is not the same in all processes that train the model: {' and '.join(found)}; "
                "give attach the same in each"
            )


def _group_of(ranks: list[int]) -> torch.distributed.ProcessGroup:
    """The group in which monitors of these processes talk; one for all that are attached one after the other."""
    known = _groups.get(tuple(ranks))
    if known is not None:
        # One that ended with all others of the process is known no more.
        with suppress(KeyError, ValueError):
            torch.distributed.get_process_group_ranks(known)
            return known
    is_part = len(ranks) < torch.distributed.get_world_size()
    fresh: torch.distributed.ProcessGroup = torch.distributed.new_group(
        ranks, timeout=PATIENCE, backend="gloo", use_local_synchronization=is_part
    )
    _groups[tuple(ranks)] = fresh
    return fresh


def _sight(clock: Clock, due: Due) -> Sight | None:
    return clock.watch.sight() if due.needs & OF_LAYERS else None


def _described(sight: Sight) -> Sight:
    """Without its tensors."""
    return replace(sight, features={}, pre_activations={}, feature_gradients={}, pre_gradients={}, groups={})
