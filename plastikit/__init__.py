"""The instrument for plasticity loss: attach it to a torch model, read what it recorded.

The public names are imported on first use, so that reading a run never loads torch and watching one never loads xarray.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from plastikit.record.dataset import open_run as open_run
    from plastikit.record.dataset import open_runs as open_runs
    from plastikit.watch.attach import attach as attach
    from plastikit.watch.look import measure as measure
    from plastikit.watch.monitor import Monitor as Monitor
    from plastikit.watch.schedule import at as at
    from plastikit.watch.schedule import budget as budget
    from plastikit.watch.schedule import every as every
    from plastikit.watch.schedule import log_spaced as log_spaced

__version__: Final = "0.1.0"

_HOMES: Final = {
    "Monitor": "plastikit.watch.monitor",
    "at": "plastikit.watch.schedule",
    "attach": "plastikit.watch.attach",
    "budget": "plastikit.watch.schedule",
    "every": "plastikit.watch.schedule",
    "log_spaced": "plastikit.watch.schedule",
    "measure": "plastikit.watch.look",
    "open_run": "plastikit.record.dataset",
    "open_runs": "plastikit.record.dataset",
}
_ROOMS: Final = frozenset(
    {"analysis", "errors", "figures", "probes", "record", "report", "schema", "sweep", "testing", "train", "watch"}
)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
    elif name in _ROOMS:
        value = importlib.import_module(f"plastikit.{name}")
    else:
        raise AttributeError(f"module 'plastikit' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*(name for name in globals() if name.startswith("__")), *_HOMES, *_ROOMS})
