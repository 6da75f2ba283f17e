"""``plastikit probe`` measures saved checkpoints, as a user calls it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from typer.testing import CliRunner, Result

from plastikit.cli.main import app
from plastikit.record.dataset import open_run

FACTORY = """
import torch
from torch import nn

def build():
    return nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 1))

def wide(width):
    return nn.Linear(width, 1)

def keywords():
    class Sum(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two, self.relu = nn.Linear(3, 4), nn.Linear(2, 4), nn.ReLU()
        def forward(self, left, right):
            return self.relu(self.one(left) + self.two(right))
    return Sum()

nothing = 3
def none():
    return None
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to stand in, with a factory, three checkpoints that grow, inputs and groups."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "own_models.py").write_text(FACTORY)
    monkeypatch.delitem(sys.modules, "own_models", raising=False)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 1))
    for step in (0, 50, 100):
        torch.save({"model": model.state_dict(), "step": step}, f"step_{step}.pt")
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(2)
    np.save("inputs.npy", np.random.default_rng(0).normal(size=(40, 3)))
    np.save("groups.npy", np.arange(40) % 4)
    return tmp_path


def _probe(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["probe", *arguments])


CALL = ("step_0.pt", "step_50.pt", "step_100.pt", "--model", "own_models:build", "--inputs", "inputs.npy")


def test_a_table_of_metrics_by_step(folder: Path) -> None:
    """Each metric is a row with a column for each step, and the run is written where it was asked for."""
    answer = _probe(*CALL, "--groups", "groups.npy", "--out", "looked.zarr", "--probes", "dormancy,rank, parameters")
    assert answer.exit_code == 0, answer.output
    rows = {line.split()[0]: line.split()[1:] for line in answer.stdout.splitlines() if line}
    assert rows["metric"] == ["step", "0", "step", "50", "step", "100"]
    first, second, third = map(float, rows["weight_norm"])
    assert (second, third) == pytest.approx((2 * first, 4 * first), rel=1e-3)
    assert rows["distance_from_init"][0] == "0"
    assert {"observed_dormant_fraction", "observed_srank", "observed_group_dormant_fraction"} <= rows.keys()
    assert "looked.zarr holds 3 checkpoints" in answer.stdout
    run = open_run("looked.zarr")
    assert run["diagnostics"]["observed_group_dormant_fraction"].sizes["group"] == 4

    again = _probe(*CALL, "--out", "looked.zarr")
    assert again.exit_code == 1
    assert "looked.zarr exists already and is left untouched" in again.output


def test_the_same_in_json(folder: Path) -> None:
    """Each checkpoint with its step, and each metric with its value at each step."""
    answer = _probe(*CALL, "--probes", "parameters", "--json")
    assert answer.exit_code == 0, answer.output
    found = json.loads(answer.stdout)
    assert found["store"] == "checkpoints.zarr"
    assert [entry["step"] for entry in found["checkpoints"]] == [0, 50, 100]
    norms = open_run("checkpoints.zarr")["diagnostics"]["network_weight_norm"].values[:, 0]
    assert list(found["metrics"]["weight_norm"]["values"].values()) == pytest.approx(norms.tolist())


def test_keywords_and_layers(folder: Path) -> None:
    """An .npz is handed over by its names, and a layer can be chosen."""
    sys.path.insert(0, "")
    import own_models  # type: ignore[import-not-found]

    torch.save(own_models.keywords().state_dict(), "sum.pt")
    np.savez("both.npz", left=np.ones((5, 3)), right=np.ones((5, 2)))
    call = ["sum.pt", "--model", "own_models:keywords", "--inputs", "both.npz", "--layers", "one,relu"]
    answer = _probe(*call, "--probes", "rank", "--out", "sum.zarr")
    assert answer.exit_code == 0, answer.output
    assert open_run("sum.zarr")["diagnostics"]["layer"].values.tolist() == ["one", "relu"]


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"--model": "own_models"}, "--model is 'own_models'; give package:function"),
        ({"--model": "nowhere.models:build"}, "there is no module 'nowhere'"),
        ({"--model": "own_models:bild"}, "own_models has no 'bild'"),
        ({"--model": "own_models:wide"}, "cannot be called without arguments"),
        ({"--model": "own_models:none"}, "gave a NoneType, where a torch module was expected"),
        ({"--model": "own_models:nothing"}, "cannot be called without arguments"),
        ({"--model": "own_models:keywords"}, "does not fit the model: missing one.bias"),
        ({"--inputs": "nowhere.npy"}, "nowhere.npy cannot be read"),
        ({"--inputs": "groups.npy"}, "the model cannot be called with these inputs"),
        ({"--probes": "dormacy"}, "unknown probe 'dormacy'. Did you mean dormancy"),
        ({"--probes": "gradients"}, "the probe 'gradients' looks at gradients, which saved weights do not show"),
        ({"--layers": "7"}, "'7'"),
        ({"--key": "agent"}, "has no entry 'agent'; there is: model, step"),
    ],
)
def test_bad_input_is_one_clear_error(changed: dict[str, str], complaint: str, folder: Path) -> None:
    """What was found and the next move, in one or two lines; nothing is written."""
    options = {"--model": "own_models:build", "--inputs": "inputs.npy"} | changed
    answer = _probe("step_0.pt", *(part for option in options.items() for part in option))
    assert answer.exit_code == 1
    assert complaint in answer.stderr
    assert len(answer.stderr.strip().splitlines()) <= 2
    assert not list(folder.glob("*.zarr"))


def test_a_pickle_of_code_is_refused(folder: Path) -> None:
    """A whole model, saved with its code, is not loaded; the answer says why and what to save instead."""
    torch.save(nn.Linear(2, 2), "whole.pt")
    answer = _probe("whole.pt", "--model", "own_models:build", "--inputs", "inputs.npy")
    assert answer.exit_code == 1
    assert "torch.nn.modules.linear.Linear: loading it could run any code" in answer.stderr
    assert "torch.save(model.state_dict(), ...)" in answer.stderr
