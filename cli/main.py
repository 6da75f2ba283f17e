"""The command ``plastikit``: its table of commands, and how every one of them ends."""

from __future__ import annotations

import errno
import importlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup

import plastikit
from plastikit.errors import PlastikitError

COMMANDS: Final = (
    "demo",
    "train",
    "sweep",
    "params",
    "probe",
    "probes",
    "explain",
    "runs",
    "show",
    "export",
    "check",
    "analyze",
    "report",
)
"""Each is a module of this package that holds a function, or a ``typer.Typer``, of its own name."""

INTERRUPTED: Final = 130
INTERRUPTED_LINE: Final = (
    "interrupted; all that was recorded is kept. A sweep started again goes on from where its runs were."
)


class Root(TyperGroup):
    """The command above all commands: what one of them raises becomes a line or two and an exit code."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Read the options that stand before the command."""
        with _answer_for_errors(debug=False):
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        with _answer_for_errors(debug=ctx.params["debug"]), _plain_warnings():
            return super().invoke(ctx)


@contextmanager
def _answer_for_errors(*, debug: bool) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        typer.echo(f"\n{INTERRUPTED_LINE}", err=True)
        raise typer.Exit(INTERRUPTED) from None
    except (typer.Exit, typer.Abort):
        raise
    except typer.TyperException as error:
        context = getattr(error, "ctx", None)
        hint = f"See '{context.command_path} --help'." if context else ""
        if message := error.format_message().strip().rstrip("."):  # empty where the help has been shown instead
            _say(f"{message}. {hint}")
        raise typer.Exit(error.exit_code) from None
    except Exception as error:
        if debug or (isinstance(error, OSError) and error.errno == errno.EPIPE):
            raise
        if isinstance(error, PlastikitError):
            _say(str(error))
        else:
            first_line = str(error).strip().partition("\n")[0]
            _say(f"{type(error).__name__}: {first_line}\nThis was not foreseen: 'plastikit --debug ...' shows where.")
        raise typer.Exit(1) from None


@contextmanager
def _plain_warnings() -> Iterator[None]:
    """What a user is warned of is a line, without the place in the code."""
    with warnings.catch_warnings():
        others = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
            if issubclass(category, UserWarning):
                typer.echo(f"{typer.style('warning:', fg='yellow', bold=True)} {message}", err=True)
            else:
                others(message, category, *place, **more)

        warnings.showwarning = show
        yield


def _say(message: str) -> None:
    typer.echo(f"{typer.style('error:', fg='red', bold=True)} {message.strip()}", err=True)


def _version(*, wanted: bool) -> None:
    if wanted:
        typer.echo(f"plastikit {plastikit.__version__}")
        raise typer.Exit


def _root(
    context: typer.Context,
    *,
    debug: Annotated[  # noqa: ARG001  Root.invoke reads it
        bool, typer.Option("--debug", help="Show the traceback of an error.")
    ] = False,
    version: Annotated[  # noqa: ARG001  its callback answers
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and stop.")
    ] = False,
) -> None:
    """Watch whether a network can still learn."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def build(names: tuple[str, ...]) -> typer.Typer:
    """Gather the commands ``names`` under one root."""
    root = typer.Typer(cls=Root, pretty_exceptions_enable=False)
    root.callback(invoke_without_command=True)(_root)
    for name in names:
        command = getattr(importlib.import_module(f"plastikit.cli.{name}"), name)
        if isinstance(command, typer.Typer):
            root.add_typer(command, name=name)
        else:
            root.command(name)(command)
    return root


app = build(COMMANDS)
