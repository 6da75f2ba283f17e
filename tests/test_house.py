"""The rules of the house: who imports whom, what ships, what loads, what stays out."""

from __future__ import annotations

import ast
import doctest
import importlib
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

import plastikit

ROOT: Final = Path(__file__).resolve().parents[1]
PROJECT: Final = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
FOLDERS: Final = {"plastikit": "plastikit", "plastikit.probes": "probes", "plastikit.cli": "cli"}
LONGEST: Final = 350


def _modules() -> dict[str, Path]:
    """Every module of the library: the name it is imported by, and its file."""
    found = {}
    for package, folder in FOLDERS.items():
        for file in sorted((ROOT / folder).rglob("*.py")):
            parts = file.relative_to(ROOT / folder).with_suffix("").parts
            found[".".join([package, *(part for part in parts if part != "__init__")])] = file
    return found


MODULES: Final = _modules()

SHARED: Final = ("plastikit.errors", "plastikit.schema", "numpy")
MEASURING: Final = (*SHARED, "torch", "jaxtyping")
WRITING: Final = tuple(f"plastikit.record.{name}" for name in ("store", "table", "scalars", "values", "provenance"))
# What gives runs to readers, as xarray has them.
READING: Final = tuple(f"plastikit.record.{name}" for name in ("dataset", "joining", "opening", "variables"))
REPORTING: Final = ("plastikit.analysis", "plastikit.figures", "plastikit.panels")
# The files that see a network, and know nothing of records and schedules.
SEEING: Final = tuple(
    f"plastikit.watch.{name}"
    for name in (
        *("activations", "axes", "calls", "capture", "compiled", "devices", "forward", "groups"),
        *("hooks", "samples", "sharded", "sight", "tracer", "undisturbed"),
    )
)
# Who may import whom, besides the standard library: the longest name that fits a module decides for it.
# An __init__ may also gather the names of its own package.
TABLE: Final[dict[str, tuple[str, ...]]] = {
    "plastikit": ("plastikit",),
    "plastikit.errors": ("numpy",),
    "plastikit.schema": ("numpy",),
    "plastikit.testing": (*MEASURING, *WRITING, "plastikit.watch", "plastikit.probes", "plastikit.testing"),
    "plastikit.watch": (*MEASURING, "plastikit.watch", *WRITING, "plastikit.probes.PROBES"),
    "plastikit.watch.schedule": MEASURING,
    "plastikit.watch.probe": MEASURING,
    "plastikit.watch.layers": (*MEASURING, "plastikit.watch.probe", "plastikit.watch.activations"),
    **dict.fromkeys(SEEING, (*MEASURING, "plastikit.watch.probe", "plastikit.watch.layers", *SEEING)),
    "plastikit.probes": (*MEASURING, "plastikit.watch.probe", "plastikit.probes"),
    "plastikit.record": (*SHARED, "plastikit.record", "zarr", "numcodecs", "google_crc32c"),
    **dict.fromkeys(READING, (*SHARED, "plastikit.record", "xarray")),
    "plastikit.overview": (*SHARED, "plastikit.overview", "plastikit.record", "xarray"),
    "plastikit.export": (*SHARED, "plastikit.export", "plastikit.record", "xarray"),
    "plastikit.export.netcdf": (*SHARED, "plastikit.export", "xarray", "h5netcdf", "h5py"),
    "plastikit.export.parquet_table": (*SHARED, "plastikit.export", "pyarrow"),
    **dict.fromkeys(("plastikit.record.remote", "plastikit.record.lease"), (*SHARED, "plastikit.record", "obstore")),
    "plastikit.analysis": (*SHARED, "plastikit.analysis", "xarray", "scipy", "statsmodels"),
    "plastikit.figures": (*SHARED, "plastikit.figures", "xarray", "plotly"),
    "plastikit.panels": (*SHARED, *REPORTING, "xarray"),
    "plastikit.report": (*SHARED, *REPORTING, "plastikit.record.dataset", "xarray"),
    "plastikit.train": (*MEASURING, "plastikit.train", "plastikit.watch", "gymnasium", "metaworld", "mujoco"),
    "plastikit.train.substitutes": ("numpy", "jaxtyping", "metaworld", "scipy"),
    "plastikit.sweep": (*SHARED, "plastikit.sweep", "plastikit.train", "plastikit.record", "plastikit.watch.schedule"),
    "plastikit.cli": ("plastikit", "typer", "rich", "numpy", "xarray", "torch"),
}
# What the file of a command may import outside its functions.
COMMAND_HEAD: Final = ("plastikit.errors", "plastikit.cli", "typer", "rich")
SLOW: Final = {"torch", "mujoco", "metaworld", "gymnasium", "xarray", "zarr", "pandas", "plotly", "scipy"}
# What ties a file to one machine or one workplace. Each is written so that it does not match itself.
STRAYS: Final = re.compile(
    r"""(?<![\w.~])/(?:work|root|home|tmp|opt|mnt|Users)/
    |\b(?:pypi|pythonhosted|npmjs|deb|registry)[.](?:org|python|debian)
    |\b(?:issue|task|ticket)[ ]?\#[0-9]
    |\b(?:cla[u]de|anthro[p]ic|chat[g]pt|cop[i]lot)\b""",
    re.VERBOSE | re.IGNORECASE,
)


def _under(name: str, room: str) -> bool:
    return name == room or name.startswith(f"{room}.")


def _rooms(*rooms: str) -> list[str]:
    return [module for module in MODULES if any(_under(module, room) for room in rooms)]


def _allowed(module: str) -> tuple[str, ...]:
    row = TABLE[max((room for room in TABLE if _under(module, room)), key=len)]
    return (*row, module) if MODULES[module].name == "__init__.py" else row


def _imports(tree: ast.AST, *, late: bool) -> Iterator[str]:
    """The full names that a file imports; ``late`` adds those that wait in functions or serve the type checker."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a relative import hides which room it reaches"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif late or not (
            isinstance(node, ast.FunctionDef)
            or (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test))
        ):
            yield from _imports(node, late=late)


def _strangers(module: str, allowed: tuple[str, ...], *, late: bool = True) -> list[str]:
    names = set(_imports(ast.parse(MODULES[module].read_text(encoding="utf-8")), late=late))
    foreign = {name for name in names if name.partition(".")[0] not in sys.stdlib_module_names}
    return sorted(name for name in foreign if not any(_under(name, room) for room in allowed))


def _python(code: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ``code`` in a fresh interpreter that sees plastikit as it is installed."""
    command = [sys.executable, "-P", "-c", code, *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def _loaded(folder: Path, modules: list[str], *, without: tuple[str, ...] = ()) -> set[str]:
    """What is loaded once ``modules`` are imported where ``without`` is not installed: the top-level names."""
    code = (
        "import importlib, sys\n"
        f"sys.modules.update(dict.fromkeys({without!r}))\n"
        "for name in sys.argv[1:]: importlib.import_module(name)\n"
        "print(*{name.partition('.')[0] for name, module in sys.modules.items() if module})"
    )
    answer = _python(code, folder, *modules)
    assert answer.returncode == 0, answer.stderr
    return set(answer.stdout.split())


def _tracked() -> list[Path]:
    """The files under version control or, where there is none, those that would be."""
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    answer = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=False)
    if answer.returncode == 0:
        return [ROOT / line for line in answer.stdout.splitlines() if (ROOT / line).is_file()]
    tops = [ROOT / name for name in (*FOLDERS.values(), "tests", "examples")]
    return [file for top in tops for file in top.rglob("*.py")] + [file for file in ROOT.iterdir() if file.is_file()]


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_down(module: str) -> None:
    """A module imports nothing but what the table allows its room."""
    assert _strangers(module, _allowed(module)) == []


@pytest.mark.parametrize("module", _rooms("plastikit.cli"))
def test_commands_import_in_their_bodies(module: str) -> None:
    """The file of a command loads nothing heavy until the command runs."""
    assert set(_strangers(module, COMMAND_HEAD, late=False)) <= {"plastikit"}


def test_reading_loads_no_torch(tmp_path: Path) -> None:
    """Reading, analysing and plotting runs leave torch unloaded."""
    reading = _rooms("plastikit.record", "plastikit.export", "plastikit.overview", "plastikit.report", *REPORTING)
    assert "torch" not in _loaded(tmp_path, reading)


def test_measuring_loads_no_xarray(tmp_path: Path) -> None:
    """Watching a model loads neither xarray nor a plot."""
    assert not _loaded(tmp_path, _rooms("plastikit.watch", "plastikit.probes")) & {"xarray", "plotly", "pandas"}


def test_only_the_trainer_needs_its_extra(tmp_path: Path) -> None:
    """Without the train extra everything but the trainer imports, the command line included."""
    assert _loaded(
        tmp_path,
        _rooms(*TABLE.keys() - {"plastikit", "plastikit.train", "plastikit.train.substitutes", "plastikit.sweep"}),
        without=("metaworld", "gymnasium", "mujoco"),
    )


def test_configuration_is_light(tmp_path: Path) -> None:
    """A training configuration can be written where torch would be slow to load."""
    assert not _loaded(tmp_path, ["plastikit.train.config"]) & SLOW


def test_help_is_instant(tmp_path: Path) -> None:
    """``plastikit --help`` loads none of the slow libraries."""
    code = "import atexit, sys; atexit.register(lambda: print(*sys.modules)); from plastikit.cli.main import app; app()"
    answer = _python(code, tmp_path, "--help")
    assert "Usage" in answer.stdout, answer.stderr
    assert not set(answer.stdout.splitlines()[-1].split()) & SLOW


def test_public_names_resolve() -> None:
    """Every name that ``dir(plastikit)`` offers is there, and a type checker sees the same names."""
    assert [name for name in dir(plastikit) if not hasattr(plastikit, name)] == []
    tree = ast.parse(MODULES["plastikit"].read_text(encoding="utf-8"))
    seen = {name.rpartition(".")[2] for name in _imports(tree, late=True) if _under(name, "plastikit")}
    assert seen == set(plastikit._HOMES)


@pytest.mark.parametrize("package", ["probes", "cli"])
def test_doubles_are_refused(package: str, tmp_path: Path) -> None:
    """Imported from the checkout's root, a package says under which name it is to be imported."""
    answer = _python(f"import sys; sys.path.insert(0, {str(ROOT)!r}); import {package}", tmp_path)
    assert f"import plastikit.{package} instead" in answer.stderr.splitlines()[-1]


def test_packages_are_listed() -> None:
    """The list of packages names every package on disk, and no other."""
    on_disk = {name for name, file in MODULES.items() if file.name == "__init__.py"}
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == on_disk
    assert {file.parent for file in MODULES.values()} == {MODULES[name].parent for name in on_disk}


def test_dependencies_are_pinned() -> None:
    """Each requirement has one tested version in constraints.txt."""
    pins = re.findall(r"^([\w.-]+)==[\w.]+$", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)
    groups = [*PROJECT["project"]["optional-dependencies"].values(), *PROJECT["dependency-groups"].values()]
    wanted = [*PROJECT["project"]["dependencies"], *(entry for group in groups for entry in group)]
    names = {re.split(r"[^\w-]", entry)[0] for entry in wanted if isinstance(entry, str)}
    assert names - {"plastikit"} <= {pin.lower() for pin in pins}


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel, built from a copy of the checkout by way of the source distribution."""
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for folder in FOLDERS.values():
        shutil.copytree(ROOT / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__"))
    build = [sys.executable, "-P", "-m", "build", "--no-isolation", "--outdir", "dist", "."]
    answer = subprocess.run(build, cwd=source, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return zipfile.ZipFile(next((source / "dist").glob("*.whl")))


def test_wheel_is_complete(wheel: zipfile.ZipFile) -> None:
    """The wheel holds every file of the packages under its installed name, and nothing besides."""
    wanted = {
        (Path(*package.split(".")) / file.relative_to(ROOT / folder)).as_posix()
        for package, folder in FOLDERS.items()
        for file in (ROOT / folder).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert {name for name in wheel.namelist() if ".dist-info/" not in name} == wanted


def test_wheel_carries_its_command_and_licence(wheel: zipfile.ZipFile) -> None:
    """The installed package brings the command ``plastikit`` and the licence."""
    described = {Path(name).name: name for name in wheel.namelist() if ".dist-info/" in name}
    assert "plastikit = plastikit.cli.main:app" in wheel.read(described["entry_points.txt"]).decode()
    assert "MIT License" in wheel.read(described["LICENSE"]).decode()


@pytest.mark.parametrize("module", MODULES)
def test_doctests(module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The examples in a module's docstrings give what they say."""
    monkeypatch.chdir(tmp_path)
    assert doctest.testmod(importlib.import_module(module), optionflags=doctest.ELLIPSIS).failed == 0


def test_files_are_short() -> None:
    """No source file outgrows one idea."""
    sources = [file for file in _tracked() if file.suffix == ".py"]
    lengths = {str(file.relative_to(ROOT)): file.read_text(encoding="utf-8").count("\n") for file in sources}
    assert {file: length for file, length in lengths.items() if length > LONGEST} == {}


def test_nothing_strays_in() -> None:
    """No file names a folder of one machine, a package host or the place where it was written."""
    found = []
    for file in _tracked():
        text = file.read_bytes().decode("utf-8", errors="ignore")
        found += [f"{file.relative_to(ROOT)}: {match[0]}" for match in STRAYS.finditer(text)]
    assert found == []


def test_the_readme_points_to_what_is_there() -> None:
    """Every picture and file that the README links lies in the checkout."""
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
