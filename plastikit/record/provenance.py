"""Where a run comes from: versions, commit and machine, gathered without loading any of the packages."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Final

_PACKAGES: Final = ("plastikit", "torch", "numpy", "zarr", "xarray", "metaworld", "gymnasium", "mujoco")


def provenance() -> dict[str, object]:
    """What is needed to say later how a run came about.

    Holds no user name, host name, path or environment variable, so that a run can be published as it is.
    """
    return {
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "versions": {"python": platform.python_version()} | _versions(),
        "commit": _commit(),
        "machine": {"system": platform.system(), "processor": platform.machine(), "cores": os.cpu_count()},
    }


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def _commit() -> str | None:
    """The commit of the user's own code: of the folder that holds the running script, where that is a checkout."""
    folder = Path(sys.argv[0]).resolve().parent if sys.argv and sys.argv[0] else Path.cwd()
    try:
        answer = subprocess.run(  # noqa: S603  the arguments are constants but for the folder
            ["git", "-C", os.fspath(folder), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],  # noqa: S607
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() or None
