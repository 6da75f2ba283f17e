"""``plastikit probe``: what saved checkpoints would have shown."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from plastikit.cli import options
from plastikit.errors import ConfigurationError

if TYPE_CHECKING:
    import xarray as xr
    from rich.table import Table

_MOST_COLUMNS: Final = 5
_OF_BATCH: Final = "observed_"
_POOLED: Final = "observed_network_"

Checkpoints = Annotated[list[Path], typer.Argument(help="Files that torch.save wrote.", show_default=False)]
Factory = Annotated[
    str, typer.Option("--model", help="package:function that builds the model; called without arguments.")
]
Inputs = Annotated[Path, typer.Option(help="What to call the model with: .npy or .pt; .npz holds keywords.")]
Groups = Annotated[Path | None, typer.Option(help="A whole number per sample, such as its task: .npy or .pt.")]
Store = Annotated[str, typer.Option("--out", help="The run to write: a path or a URL.")]
Key = Annotated[str | None, typer.Option(help="Where the weights lie in each file, such as agent.actor.")]


def probe(
    checkpoints: Checkpoints,
    *,
    model: Factory,
    inputs: Inputs,
    groups: Groups = None,
    store: Store = "checkpoints.zarr",
    probes: Annotated[str, typer.Option(help="Names of probes, with commas between.")] = "default",
    layers: Annotated[str, typer.Option(help="Names or patterns of layers, with commas between.")] = "auto",
    key: Key = None,
    json: options.Json = False,
) -> None:
    """Measure saved checkpoints on one batch, into a run with a record for each."""
    from plastikit.cli import console
    from plastikit.record.dataset import open_runs
    from plastikit.watch.checkpoint import measure_checkpoints
    from plastikit.watch.saved import read_batch, read_groups

    network = _build(model)
    with console.bars() as progress:
        bar = progress.add_task("checkpoints", total=len(checkpoints), detail="")
        measured = measure_checkpoints(
            checkpoints,
            network,
            read_batch(inputs, network),
            store=store,
            probes="default" if probes == "default" else _names(probes),
            layers="auto" if layers == "auto" else _names(layers),
            groups=None if groups is None else read_groups(groups),
            key=key,
            on_each=lambda done, of: progress.update(bar, completed=done, detail=f"{done} of {of}"),
        )
    runs = open_runs(store)
    if json:
        at = [{"step": checkpoint.step, "checkpoint": str(checkpoint.path)} for checkpoint in measured]
        console.print_json({"store": str(store), "checkpoints": at, "metrics": _courses(runs)})
        return
    console.out.print(_table(runs))
    count = f"{len(measured)} checkpoint{'s' if len(measured) > 1 else ''}"
    console.say(f"{store} holds {count}; networks as a whole, layers and parameters averaged in this table")


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _build(factory: str) -> Any:
    """The model that ``package:function`` gives, the current folder being importable."""
    import importlib
    import sys

    from torch import nn

    module, _, name = factory.partition(":")
    if not module or not name:
        raise ConfigurationError(f"--model is {factory!r}; give package:function, such as my_package.models:build")
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        found: Any = importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"--model {factory}: there is no module {error.name!r}; run this where it can be imported from"
        ) from error
    for part in name.split("."):
        if not hasattr(found, part):
            raise ConfigurationError(f"--model {factory}: {module} has no {name!r}; name a function in it")
        found = getattr(found, part)
    try:
        built = found()
    except TypeError as error:
        raise ConfigurationError(
            f"--model {factory} cannot be called without arguments ({error}); give a function that needs none"
        ) from error
    if not isinstance(built, nn.Module):
        raise ConfigurationError(
            f"--model {factory} gave a {type(built).__name__}, where a torch module was expected; "
            "give a function that builds one network, and --key for where its weights lie"
        )
    return built


def _courses(runs: xr.DataTree, most_points: int | None = None) -> dict[str, Any]:
    """Each metric by step."""
    from plastikit.analysis.catalogue import metrics
    from plastikit.analysis.courses import MOST_POINTS, course

    found = {}
    for metric in metrics(runs):
        curve = course(runs, metric.name, most_points=most_points or MOST_POINTS).isel(run=0)
        found[metric.name] = {
            "averaged": curve.attrs["averaged"],
            "is_share": curve.attrs["is_share"],
            "values": dict(zip(curve["step"].values.tolist(), curve.values.tolist(), strict=True)),
        }
    return found


def _table(runs: xr.DataTree) -> Table:
    """A row for each metric, a column for some of the steps, the first and the last among them."""
    from plastikit.cli import console

    found = _courses(runs)
    steps = sorted({step for metric in found.values() for step in metric["values"]})
    last = len(steps) - 1
    shown = sorted({steps[round(at * last / (_MOST_COLUMNS - 1))] for at in range(_MOST_COLUMNS)}) if steps else []
    table = console.plain_table("metric", *(f"step {step}" for step in shown))
    table.columns[0].justify = "left"
    table.columns[0].overflow = "fold"
    for name, metric in found.items():
        if name.startswith(_POOLED) and name.replace(_POOLED, _OF_BATCH, 1) in found:
            continue  # the same number: layers are weighted by their units
        values = (metric["values"].get(step) for step in shown)
        table.add_row(name, *(console.number(value, is_share=metric["is_share"]) for value in values))
    return table
