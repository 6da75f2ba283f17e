"""Reads one group of a run, with the type that a test wants to see."""

from __future__ import annotations

from pathlib import Path

import xarray as xr

from plastikit.record.dataset import open_run


def group(path: Path, name: str) -> xr.Dataset:
    """One group of the run at ``path``, with its variables in memory."""
    return open_run(path)[name].to_dataset().load()
