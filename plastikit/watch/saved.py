"""Reads what was saved: weights, and batches to look at them with. Nothing that is read is run."""

from __future__ import annotations

import pickle
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from plastikit.errors import ConfigurationError

KEYS: Final = ("model", "state_dict", "model_state_dict")
"""Under which a checkpoint that holds more than a state dict usually keeps it."""

_STEPS: Final = ("step", "global_step")
_PREFIX: Final = "module."
_COMPILED: Final = "_orig_mod"
_MOST_NAMES: Final = 4


@dataclass(frozen=True)
class Checkpoint:
    """A file of saved weights, and the step that it was saved at."""

    path: Path
    step: int


def load(path: Path, *, mapped: bool = False) -> Any:
    """What lies in a file that torch saved: tensors and plain values alone.

    A pickle that holds anything else is refused, since to load it is to run it. ``mapped`` leaves tensors on the disk
    until they are used.

    Raises:
        ConfigurationError: there is no such file, it is none of torch's, or it holds more than that.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped and zipfile.is_zipfile(path))
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}; give the path of a checkpoint") from None
    except Exception as error:
        refused = re.search(r"GLOBAL (\S+)", str(error)) if isinstance(error, pickle.UnpicklingError) else None
        if refused:
            raise ConfigurationError(
                f"{path} is a pickle that holds {refused[1]}: loading it could run any code, so it is not loaded. "
                "From a program that trusts the file, save the state dict alone: torch.save(model.state_dict(), ...)"
            ) from error
        raise ConfigurationError(
            f"{path} is damaged, or no file of torch's ({type(error).__name__}); give a file that torch.save wrote"
        ) from error


def load_into(model: nn.Module, path: Path, key: str | None = None) -> None:
    """Give ``model`` the weights of a checkpoint.

    Raises:
        ConfigurationError: the file cannot be read, or does not fit the model.
    """
    model.load_state_dict(state_dict(path, load(path), model, key))


def state_dict(path: Path, content: Any, model: nn.Module, key: str | None = None) -> dict[str, Any]:
    """The weights in what a checkpoint holds, under the names that ``model`` gives them.

    The names of wrappers are taken off: ``module.`` of data parallel training, ``_orig_mod.`` of a compiled model.

    Raises:
        ConfigurationError: there are none, or their names or shapes are not those of the model.
    """
    found = {str(name): value for name, value in _part(path, content, key).items()}
    wanted = model.state_dict()
    if found.keys() != wanted.keys():
        found = _unwrapped(found, wanted)
    missing, unexpected = wanted.keys() - found.keys(), found.keys() - wanted.keys()
    if missing or unexpected:
        raise ConfigurationError(
            f"{path} does not fit the model: missing {_listed(missing)}; unexpected {_listed(unexpected)}.\n"
            "Give the factory of the model that was saved, or name another part of the file with --key"
        )
    wrong = [
        f"{name} is {tuple(value.shape)} where the model has {tuple(wanted[name].shape)}"
        for name, value in found.items()
        if isinstance(value, Tensor) and isinstance(wanted[name], Tensor) and value.shape != wanted[name].shape
    ]
    if wrong:
        raise ConfigurationError(f"{path} does not fit the model: {_listed(wrong)}.\nBuild the model as it was saved")
    return found


def in_order(paths: Sequence[Path], model: nn.Module, key: str | None = None) -> tuple[list[Checkpoint], str]:
    """The checkpoints by their step, and what told it: an entry of the files, their names, or the order given.

    Each is opened and held against the model, so that what does not fit is known before anything is measured.

    Raises:
        ConfigurationError: there is none, one cannot be read or does not fit, or two are of one step.
    """
    if not paths:
        raise ConfigurationError("no checkpoint was given; give the paths of one or more")
    entries = []
    for path in paths:
        content = load(path, mapped=True)
        state_dict(path, content, model, key)
        entries.append(_entry(content))
    steps, source = _steps(paths, entries)
    checkpoints = sorted(map(Checkpoint, paths, steps), key=lambda checkpoint: checkpoint.step)
    for one, other in pairwise(checkpoints):
        if one.step == other.step:
            raise ConfigurationError(
                f"{one.path} and {other.path} both say that they are of step {one.step}; give one of them"
            )
    return checkpoints, source


def read_batch(path: Path, model: nn.Module) -> Any:
    """What the model is to be called with: of ``.npy`` an argument, of ``.npz`` keywords, of ``.pt`` what it holds.

    Floating numbers take the precision of the model, and all go to its device.

    Raises:
        ConfigurationError: the file cannot be read.
    """
    return _like(_content(path), next(iter(model.parameters()), torch.empty(0)))


def read_groups(path: Path) -> Tensor:
    """One group per sample, of a ``.npy`` or a ``.pt`` file.

    Raises:
        ConfigurationError: the file cannot be read, or holds something else.
    """
    content = _content(path)
    if not isinstance(content, Tensor | list | tuple):
        raise ConfigurationError(f"{path} holds a {type(content).__name__}; give one whole number per sample")
    return torch.as_tensor(content)


def _content(path: Path) -> Any:
    if path.suffix not in {".npy", ".npz"}:
        return load(path)
    try:
        content = np.load(path, allow_pickle=False)
        if isinstance(content, np.ndarray):
            return torch.from_numpy(content)
        return {name: torch.from_numpy(content[name]) for name in content.files}
    except OSError as error:
        reason = error.strerror or str(error)
    except (ValueError, TypeError, EOFError, zipfile.BadZipFile) as error:
        reason = str(error)
    raise ConfigurationError(f"{path} cannot be read: {reason}; give an array of numbers that numpy.save wrote")


def _like(content: Any, parameter: Tensor) -> Any:
    if isinstance(content, Tensor):
        return content.to(parameter.device, parameter.dtype if content.is_floating_point() else None)
    if isinstance(content, Mapping):
        return {name: _like(value, parameter) for name, value in content.items()}
    if isinstance(content, list | tuple):
        return tuple(_like(value, parameter) for value in content)
    return content


def _part(path: Path, content: Any, key: str | None) -> Mapping[str, Any]:
    """The state dict itself, which may lie inside the content."""
    if key is not None:
        part = content
        for name in key.split("."):
            if not isinstance(part, Mapping) or name not in part:
                raise ConfigurationError(f"{path} has no entry {key!r}; there is: {_entries(part)}")
            part = part[name]
        if _is_state(part):
            return dict(part)
        raise ConfigurationError(f"{path} holds no weights under {key!r} but: {_entries(part)}")
    if _is_state(content) and all(isinstance(value, Tensor) for value in content.values()):
        return dict(content)
    for name in KEYS:
        if isinstance(content, Mapping) and _is_state(content.get(name)):
            return dict(content[name])
    raise ConfigurationError(
        f"{path} holds no weights at its top or under {', '.join(KEYS)}; there is: {_entries(content)}. "
        "Name where they lie: --key NAME, or --key OUTER.INNER"
    )


def _is_state(content: Any) -> bool:
    return isinstance(content, Mapping) and any(isinstance(value, Tensor) for value in content.values())


def _unwrapped(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    plain = {".".join(part for part in name.split(".") if part != _COMPILED): found[name] for name in found}
    while plain.keys() != wanted.keys() and all(name.startswith(_PREFIX) for name in plain):
        plain = {name.removeprefix(_PREFIX): value for name, value in plain.items()}
    return plain


def _steps(paths: Sequence[Path], entries: Sequence[int | None]) -> tuple[list[int], str]:
    numbers = [re.findall(r"\d+", path.stem) for path in paths]
    named = {int(found[-1]) for found in numbers if found}
    told = [entry for entry in entries if entry is not None]
    if len(told) == len(paths):
        return told, "entry"
    if len(named) == len(paths):
        return [int(found[-1]) for found in numbers], "file name"
    return list(range(len(paths))), "order"


def _entry(content: Any) -> int | None:
    """The step that a checkpoint says it was saved at."""
    for name in _STEPS:
        step = content.get(name) if isinstance(content, Mapping) else None
        if isinstance(step, Tensor) and step.numel() == 1:
            step = step.item()
        if isinstance(step, int | float) and not isinstance(step, bool) and step >= 0 and float(step).is_integer():
            return int(step)
    return None


def _listed(names: Any) -> str:
    ordered = sorted(names)
    more = f" and {len(ordered) - _MOST_NAMES} more" if len(ordered) > _MOST_NAMES else ""
    return ", ".join(ordered[:_MOST_NAMES]) + more or "none"


def _entries(content: Any) -> str:
    return _listed(map(str, content)) if isinstance(content, Mapping) else f"a {type(content).__name__}"
