"""A distribution of somebody else's, installed into a folder: its module, its metadata and its entry points."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PROBE = """
from plastikit.schema import Definition
from plastikit.watch.probe import Needs, Tier

class Loudest:
    name, tier, needs, axes = "loudest", Tier.STEP, Needs.FEATURES, {}
    definitions = (Definition(
        variable="loudest_share", id="loudest_share/mean_absolute", long_name="share of the loudest unit", units="1",
        dims=("layer",), description="Largest mean |activation| over the sum of all.", valid_range="[0, 1]",
        pitfalls="Falls with the width.", reference="", cost="one pass",
    ),)

    def __call__(self, capture):
        means = {layer: features.float().abs().mean(dim=0) for layer, features in capture.features.items()}
        return {"loudest_share": {layer: mean.max() / mean.sum() for layer, mean in means.items()}}
"""


def install(folder: Path, distribution: str, module: str, code: str, probes: dict[str, str]) -> None:
    """Lay it into ``folder``; ``probes`` are its entry points, such as ``{"loudest": "their_module:Loudest"}``."""
    folder.mkdir(exist_ok=True)
    (folder / f"{module}.py").write_text(code, encoding="utf-8")
    metadata = folder / f"{distribution.replace('-', '_')}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n", encoding="utf-8")
    lines = [f"{name} = {value}" for name, value in probes.items()]
    (metadata / "entry_points.txt").write_text("\n".join(["[plastikit.probes]", *lines, ""]), encoding="utf-8")


def run(folder: Path, code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ``code`` in a fresh interpreter in which what lies in ``folder`` is installed beside plastikit."""
    return subprocess.run(
        [sys.executable, "-P", "-c", code, *arguments],
        env=os.environ | {"PYTHONPATH": os.fspath(folder), "OMP_NUM_THREADS": "1"},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def command(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Call ``plastikit`` there."""
    return run(folder, "from plastikit.cli.main import app; app()", *arguments)
