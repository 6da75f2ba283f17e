"""A small run of many kinds of files, and random damage to it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from oracles.memory import Memory
from plastikit.record.store import RunStore
from plastikit.record.table import Column


def varied_run(path: Path, rows: int = 1500) -> Path:
    """A run with more rows than a chunk holds, layers that join late, units, texts and events."""
    generator = np.random.default_rng(0)
    store = RunStore(path, configuration={"width": 4}, provenance={"by": "hand"})
    table = store.table("diagnostics")
    table.extend_axis("layer", {"layer": np.array(["a", "b"]), "layer_network": np.array(["net", "net"])})
    table.extend_axis("unit", {"unit_layer": np.array([0, 0, 1]), "unit_index": np.array([0, 1, 0])})
    table.extend_axis("tau", {"tau": np.array([0.0, 0.1])})
    table.declare("srank", Column(dims=("layer",), attrs={"definition": "srank/a"}))
    table.declare("dormant_fraction", Column(dims=("layer", "tau"), attrs={"definition": "dormant_fraction/a"}))
    table.declare("unit_activation", Column(dims=("unit",), attrs={"definition": "unit_activation/a"}))
    store.table("training").declare("loss", Column(attrs={"long_name": "loss"}))
    events = store.table("events")
    for step in range(rows):
        if step == rows // 3:
            store.commit()  # what lies on disk was made for two layers
            table.extend_axis("layer", {"layer": np.array(["c"]), "layer_network": np.array(["other"])})
        layers = table.size("layer")
        values = {
            "srank": generator.normal(size=layers),
            "dormant_fraction": generator.normal(size=(layers, 2)),
            "unit_activation": generator.normal(size=3),
        }
        store.append("diagnostics", 10 * step, values)
        store.append("training", 5 * step, {"loss": generator.normal()})
    for number in range(4):
        store.event("warning", f"number {number}", 10 * number)
    assert events.rows == 4
    store.close()
    return path


def damage(place: Memory, generator: np.random.Generator) -> str:
    """Flip a bit, cut the end off, zero a part, or delete: one file, in words."""
    key = str(generator.choice(place.keys()))
    data = bytearray(place.files[key])
    kind = str(generator.choice(["flip", "cut", "zero", "delete"]))
    at = int(generator.integers(len(data)))
    if kind == "delete":
        del place.files[key]
        return f"{key} deleted"
    if kind == "flip":
        data[at] ^= 1 << int(generator.integers(8))
    elif kind == "cut":
        del data[at:]
    else:
        data[at : at + 512] = bytes(len(data[at : at + 512]))
    place.files[key] = bytes(data)
    return f"{key}: {kind} at {at}"
