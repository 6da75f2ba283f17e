"""What watching has cost so far: seconds on the host's clock, by what they were spent on."""

from __future__ import annotations

import statistics
from collections import Counter, deque
from collections.abc import Sequence
from time import perf_counter
from typing import Final

import numpy as np
import numpy.typing as npt

from plastikit.schema import PROBE, Definition
from plastikit.watch.hooks import seconds_in_hooks
from plastikit.watch.probe import Probe

PROBE_SECONDS: Final = Definition(
    variable="probe_seconds",
    id="probe_seconds/host_clock",
    long_name="seconds spent on watching",
    units="s",
    dims=(PROBE,),
    description="Seconds on the host's clock that each probe took for the record. The entry capture is the time in "
    "the monitor's hooks, and the entry store that of the transfer to the host and of the writing, each since the "
    "record before.",
    valid_range="[0, inf); NaN for a probe that was left out, and for the store at the first record",
    pitfalls="On CUDA it is the time of the host, which waits for the device where it needs a number: what a probe "
    "left to the device is waited for by the next that asks, or in the store's entry. The training's own work there "
    "is waited for before, and not counted. Includes whatever else the machine did",
    reference="",
    cost="two readings of a clock for each probe",
)
"""The passport of what watching costs."""

CAPTURE: Final = "capture"
STORE: Final = "store"

_REMEMBERED: Final = 15
"""Records whose median says what the next one will cost."""


def labels_of(probes: Sequence[Probe]) -> list[str]:
    """What the entries of ``probe_seconds`` are called: each probe's name, told apart by a number, and the rest.

    >>> from plastikit.probes import FeatureRank
    >>> labels_of([FeatureRank(), FeatureRank(delta=0.05)])
    ['rank', 'rank#2', 'capture', 'store']
    """
    count: Counter[str] = Counter()
    labels = []
    for name in (*(probe.name for probe in probes), CAPTURE, STORE):
        count[name] += 1
        labels.append(name if count[name] == 1 else f"{name}#{count[name]}")
    return labels


class Ledger:
    """Adds up the seconds in probes, in the store and in the monitor's hooks, and remembers those of late records.

    On CUDA it is the time that the host spent. It waits there for what a record asks of the device, and first, which is
    not counted, for what the training handed over before: a budget would take that for the cost of the record.
    """

    def __init__(self, probes: int) -> None:
        self.records = 0
        """Records handed over."""
        self._probes: list[deque[float]] = [deque(maxlen=_REMEMBERED) for _ in range(probes)]
        self._captures: deque[float] = deque(maxlen=_REMEMBERED)
        self._apart = 0.0
        self._stored = 0.0
        self._captured = 0.0
        self._idle = 0.0
        self._idle_assumed = 0.0
        """What steps took at which nobody looked at the clock: for a budget, and not for the record."""
        self._outside = 0.0
        self._of_hooks = seconds_in_hooks()
        self._stored_before = 0.0
        self._captured_before = 0.0
        self._idle_before = 0.0

    @property
    def spent(self) -> float:
        """Seconds spent watching so far."""
        return self._apart - self._outside + self._captured + self._idle + self._idle_assumed + self._forwards

    @property
    def spent_on_records(self) -> float:
        """Seconds spent watching so far, without those in which nothing was to be done: no spacing saves these."""
        return self.spent - self._idle - self._idle_assumed

    @property
    def apart(self) -> float:
        """Seconds so far that ``charge_capture`` must not count again."""
        return self._apart

    @property
    def record_seconds(self) -> float:
        """What a record is expected to cost without its probes; the store's rare commits are spread over all."""
        return statistics.median_low(self._captures) + self._stored / self.records

    @property
    def probe_seconds(self) -> list[float]:
        """What each probe is expected to cost: the median of late records, 0 where it never ran."""
        return [statistics.median_low(seconds) if seconds else 0.0 for seconds in self._probes]

    @property
    def _forwards(self) -> float:
        return seconds_in_hooks() - self._of_hooks

    def charge_probes(self, seconds: float) -> None:
        """Probes ran."""
        self._apart += seconds

    def charge_store(self, start: float) -> None:
        """Values were on their way to the store since ``start``."""
        seconds = perf_counter() - start
        self._apart += seconds
        self._stored += seconds

    def charge_outside(self, start: float) -> None:
        """Since ``start`` something ran inside the monitor's hooks that is not its own."""
        seconds = perf_counter() - start
        self._apart += seconds
        self._outside += seconds

    def charge_capture(self, start: float, apart: float) -> None:
        """The monitor listened to an optimizer since ``start``, when ``apart`` seconds had been charged elsewhere."""
        self._captured += perf_counter() - start - (self._apart - apart)

    def charge_idle(self, start: float, *, steps: int = 1) -> None:
        """The monitor found since ``start`` that nothing was to be done, and as much at each of ``steps``."""
        seconds = perf_counter() - start
        self._idle += seconds
        self._idle_assumed += seconds * (steps - 1)

    def close_record(self, probes: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Seconds of a record that goes to the store: each probe's as given, then the hooks' and the store's.

        The last two are those since the record before; the store's are NaN for the first.
        """
        for known, seconds in zip(self._probes, probes.tolist(), strict=True):
            if seconds == seconds:  # noqa: PLR0124  NaN alone differs
                known.append(seconds)
        captured = self._captured + self._forwards
        self._captures.append(captured - self._captured_before)
        idle = self._idle - self._idle_before
        stored = self._stored - self._stored_before if self.records else np.nan
        row = np.append(probes, np.array([captured - self._captured_before + idle, stored], dtype=np.float32))
        self._captured_before, self._idle_before, self._stored_before = captured, self._idle, self._stored
        self.records += 1
        return row
