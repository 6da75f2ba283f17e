"""Checkpoints are read without running anything, wherever the weights lie in them, or refused with the next move."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from plastikit.errors import ConfigurationError
from plastikit.watch.saved import in_order, load, load_into, read_batch, read_groups, state_dict


def _model() -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))


WEIGHTS = _model().state_dict()


@pytest.mark.parametrize(
    ("wrap", "key"),
    [
        (lambda state: state, None),
        (lambda state: {"model": state, "step": 7, "optimizer": {"state": {}}}, None),
        (lambda state: {"state_dict": state, "step": torch.tensor(7)}, None),
        (lambda state: {"model_state_dict": state}, None),
        (lambda state: {f"module.{name}": value for name, value in state.items()}, None),
        (lambda state: {f"_orig_mod.{name}": value for name, value in state.items()}, None),
        (lambda state: {"model": {f"module._orig_mod.{name}": value for name, value in state.items()}}, None),
        (lambda state: {f"_orig_mod.module.{name}": value for name, value in state.items()}, None),
        (lambda state: {"agent": {"actor": state, "critic": {"other": torch.ones(1)}}}, "agent.actor"),
        (lambda state: {"model": {"other": torch.ones(1)}, "average": state}, "average"),
    ],
)
@pytest.mark.parametrize("is_zipped", [True, False])
def test_weights_are_found(wrap: Callable[[Any], Any], key: str | None, is_zipped: bool, tmp_path: Path) -> None:
    """At the top, under the usual names or the one given, in wrappers or not, in torch's new format and its old."""
    path = tmp_path / "saved.pt"
    torch.save(wrap(WEIGHTS), path, _use_new_zipfile_serialization=is_zipped)
    model = _model()
    load_into(model, path, key)
    assert all(torch.equal(value, WEIGHTS[name]) for name, value in model.state_dict().items())


def test_a_model_whose_own_names_look_wrapped(tmp_path: Path) -> None:
    """A part that is really called ``module`` keeps its name."""
    model = nn.ModuleDict({"module": nn.Linear(2, 2)})
    torch.save(nn.ModuleDict({"module": nn.Linear(2, 2)}).state_dict(), tmp_path / "saved.pt")
    assert list(state_dict(tmp_path, load(tmp_path / "saved.pt"), model)) == ["module.weight", "module.bias"]


@pytest.mark.parametrize(
    ("content", "key", "complaint"),
    [
        (
            {"0.weight": torch.ones(4, 3), "9.weight": torch.ones(1)},
            None,
            r"missing 0.bias, 2.bias, 2.weight; unexpected 9.weight",
        ),
        (dict(WEIGHTS) | {"2.bias": torch.ones(5)}, None, r"2.bias is \(5,\) where the model has \(2,\)"),
        (dict(WEIGHTS) | {f"x{k}": torch.ones(1) for k in range(9)}, None, r"unexpected x0, x1, x2, x3 and 5 more"),
        ({"net": WEIGHTS, "epoch": 3}, None, r"no weights at its top or under .*; there is: epoch, net. .*--key NAME"),
        ({"model": WEIGHTS}, "net", r"has no entry 'net'; there is: model"),
        ({"model": WEIGHTS}, "model.0", r"has no entry 'model.0'; there is: 0.bias, 0.weight"),
        ({"model": WEIGHTS, "step": 3}, "step", r"holds no weights under 'step' but: a int"),
        (torch.ones(3), None, r"no weights .*; there is: a Tensor"),
        ([1, 2], None, r"no weights .*; there is: a list"),
    ],
)
def test_what_does_not_fit_is_one_error(content: Any, key: str | None, complaint: str, tmp_path: Path) -> None:
    """Missing and unexpected names, other shapes, no weights at all: what there is, and what to do."""
    path = tmp_path / "saved.pt"
    torch.save(content, path)
    with pytest.raises(ConfigurationError, match=complaint) as caught:
        load_into(_model(), path, key)
    assert str(path) in str(caught.value)
    assert len(str(caught.value).splitlines()) <= 2


class _Harmful:
    """What a hostile pickle does: a command runs as it is loaded."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.mark}",)


@pytest.mark.parametrize("is_torchs", [True, False])
def test_a_hostile_pickle_is_refused_and_not_run(is_torchs: bool, tmp_path: Path) -> None:
    """The reason and the next move are said, and the command in it does not run."""
    path, mark = tmp_path / "saved.pt", tmp_path / "mark"
    if is_torchs:
        torch.save({"model": WEIGHTS, "extra": _Harmful(mark)}, path)
    else:
        path.write_bytes(pickle.dumps({"model": 1, "extra": _Harmful(mark)}, protocol=2))
    with pytest.raises(ConfigurationError, match=r"could run any code.*save the state dict alone") as caught:
        load(path)
    assert "system" in str(caught.value)
    assert not mark.exists()


def test_a_whole_model_is_refused(tmp_path: Path) -> None:
    """A pickled module is code, too."""
    torch.save(_model(), tmp_path / "saved.pt")
    with pytest.raises(ConfigurationError, match=r"holds torch.nn.modules.container.Sequential"):
        load(tmp_path / "saved.pt")


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 cut off", pickle.dumps({"a": 1}, protocol=2)[:5]])
def test_a_damaged_file_is_named(content: bytes, tmp_path: Path) -> None:
    """What torch cannot read is said to be damaged, a missing file to be missing."""
    (tmp_path / "saved.pt").write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"saved.pt is damaged, or no file of torch's"):
        load(tmp_path / "saved.pt")
    with pytest.raises(ConfigurationError, match=r"other.pt cannot be read: No such file"):
        load(tmp_path / "other.pt")


def _save(folder: Path, name: str, **entries: Any) -> Path:
    path = folder / name
    torch.save({"model": WEIGHTS} | entries, path)
    return path


def test_steps_come_from_the_files(tmp_path: Path) -> None:
    """The entry goes before the file's name, that before the order; whatever all of them have."""
    first, second = _save(tmp_path, "a_3.pt", step=200), _save(tmp_path, "b_20.pt", step=torch.tensor(100.0))
    third = _save(tmp_path, "c_1.pt")
    fourth = _save(tmp_path, "last.pt")

    def steps(*paths: Path) -> tuple[list[tuple[str, int]], str]:
        checkpoints, source = in_order(paths, _model())
        return [(checkpoint.path.name, checkpoint.step) for checkpoint in checkpoints], source

    assert steps(first, second) == ([("b_20.pt", 100), ("a_3.pt", 200)], "entry")
    assert steps(second, third, first) == ([("c_1.pt", 1), ("a_3.pt", 3), ("b_20.pt", 20)], "file name")
    assert steps(second, fourth, first) == ([("b_20.pt", 0), ("last.pt", 1), ("a_3.pt", 2)], "order")
    assert steps(fourth, _save(tmp_path, "best.pt", step=float("nan")))[1] == "order"
    (tmp_path / "other").mkdir()
    assert steps(third, _save(tmp_path / "other", "c_1.pt"))[1] == "order"
    with pytest.raises(ConfigurationError, match=r"both say that they are of step 200; give one of them"):
        steps(first, _save(tmp_path, "d.pt", step=200))
    with pytest.raises(ConfigurationError, match="no checkpoint was given"):
        steps()


def test_batches_are_read_in_the_models_precision(tmp_path: Path) -> None:
    """An array is an argument, several are keywords; 64-bit numbers become the model's, whole numbers stay."""
    np.save(tmp_path / "x.npy", np.ones((5, 3)))
    np.savez(tmp_path / "x.npz", one=np.ones((5, 3)), index=np.arange(5))
    torch.save([torch.ones(5, 3, dtype=torch.float64), {"index": torch.arange(5)}], tmp_path / "x.pt")
    model = _model().to(torch.bfloat16)
    assert read_batch(tmp_path / "x.npy", model).dtype == torch.bfloat16
    keywords = read_batch(tmp_path / "x.npz", model)
    assert {name: value.dtype for name, value in keywords.items()} == {"one": torch.bfloat16, "index": torch.int64}
    argument, other = read_batch(tmp_path / "x.pt", model)
    assert (argument.dtype, other["index"].dtype) == (torch.bfloat16, torch.int64)
    np.save(tmp_path / "groups.npy", np.arange(5))
    assert read_groups(tmp_path / "groups.npy").tolist() == [0, 1, 2, 3, 4]


def test_batches_that_cannot_be_read(tmp_path: Path) -> None:
    """Objects in an array, which are a pickle, text, no file, and a mapping for groups."""
    np.save(tmp_path / "objects.npy", np.array([{"a": 1}], dtype=object))
    np.save(tmp_path / "text.npy", np.array(["a"]))
    (tmp_path / "damaged.npz").write_bytes(b"hello")
    np.savez(tmp_path / "x.npz", one=np.ones(3))
    for name in ("objects.npy", "text.npy", "damaged.npz", "missing.npy"):
        with pytest.raises(ConfigurationError, match=rf"{name} cannot be read: .*; give an array of numbers"):
            read_batch(tmp_path / name, _model())
    with pytest.raises(ConfigurationError, match=r"x.npz holds a dict; give one whole number per sample"):
        read_groups(tmp_path / "x.npz")
