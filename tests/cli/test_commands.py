"""The commands, on real stores and real Meta-World, as a user calls them."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from plastikit.cli.main import app
from plastikit.record.dataset import open_run, open_runs
from plastikit.testing import write_synthetic_run, write_synthetic_sweep

TINY = ["--tasks", "reach-v3", "--steps", "120", "--warm-up", "40", "--batch-size", "8", "--episodes", "1"]


def _call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of synthetic runs: three task counts, three widths, three seeds."""
    folder = tmp_path_factory.mktemp("sweep")
    write_synthetic_sweep(folder, records=10)
    return folder


def test_train_records_a_run(tmp_path: Path) -> None:
    """A short run on real Meta-World ends with a store that holds diagnostics, losses and an evaluation."""
    store = tmp_path / "run.zarr"
    widths = ["--width", 8, "--critic-width", 16, "--actor-width", 4]
    depths = ["--depth", 2, "--actor-depth", 1, "--critic-depth", 3]
    rest = ["--record-every", 20, "--evaluate-every", 60, "--threads", 1, "--task-seed", 3, "--seed", 2]
    answer = _call("train", *TINY, *widths, *depths, *rest, "--workers", 1, "--json", "--out", store)
    assert answer.exit_code == 0, answer.output
    assert json.loads(answer.stdout)["success_rate"].keys() == {"reach-v3"}
    run = open_run(store)
    assert run.attrs["state"] == "finished"
    assert run["diagnostics"]["step"].values.tolist() == [0, 20, 40, 60, 80]
    units = dict(zip(run["diagnostics"]["layer"].values, run["diagnostics"]["layer_units"].values, strict=True))
    assert {layer: width for layer, width in units.items() if layer.startswith("actor")} == {"actor.trunk.hidden_1": 4}
    assert units["critic_1.trunk.hidden_3"] == 16
    assert run["evaluation"]["env_step"].values.tolist() == [60, 120]
    configuration = run.attrs["configuration"]
    assert [configuration[name] for name in ("threads", "workers", "task_seed", "seed")] == [1, 1, 3, 2]

    again = _call("train", *TINY, "--out", store)
    assert again.exit_code == 1
    assert "is left untouched" in again.output


def test_a_killed_training_is_resumed_with_its_settings(tmp_path: Path) -> None:
    """After SIGKILL the run goes on from its checkpoint to its end; settings beside --resume are refused."""
    store = tmp_path / "run.zarr"
    settings = ["--tasks", "pendulum/2", "--steps", "1500", "--warm-up", "40", "--batch-size", "8", "--episodes", "1"]
    rest = ["--width", "8", "--record-every", "50", "--threads", "1", "--checkpoint-every", "0", "--out", str(store)]
    command = [sys.executable, "-c", "from plastikit.cli.main import app; app()", "train", *settings, *rest]
    with subprocess.Popen(command) as process:
        while not list(tmp_path.glob("run.checkpoints/checkpoint-*.json")):
            assert process.poll() is None, "it ended before it could be killed"
            time.sleep(0.05)
        process.kill()

    refused = _call("train", "--resume", store, "--width", 16, "--compile")
    assert refused.exit_code == 1
    assert "--width, --compile says one" in " ".join(refused.output.split())

    answer = _call("train", "--resume", store, "--json")
    assert answer.exit_code == 0, answer.output
    assert json.loads(answer.stdout)["success_rate"].keys() == {"pendulum-1of2", "pendulum-2of2"}
    run = open_run(store)
    assert run.attrs["state"] == "finished"
    assert run["events"]["kind"].values.tolist() == ["resumed"]
    assert run["diagnostics"]["step"].values.tolist() == [*range(0, 1451, 50), 1460]
    assert [path.name for path in store.with_suffix(".checkpoints").iterdir()] == ["final.pt"]

    again = _call("train", "--resume", store)
    assert again.exit_code == 1
    assert "that of a finished run" in " ".join(again.output.split())


def test_sweep_runs_a_grid(tmp_path: Path) -> None:
    """Two widths on one task give two finished runs, which the answer names."""
    answer = _call("sweep", *TINY, "--width", "8,16", "--seeds", 1, "--record-every", 40, "--out", tmp_path, "--json")
    assert answer.exit_code == 0, answer.output
    assert json.loads(answer.stdout)["finished"] == ["reach-v3_width-16_seed-0", "reach-v3_width-8_seed-0"]
    assert sorted(open_runs(tmp_path)["width"].values) == [8, 16]


def test_sweep_sets_actor_against_critic(tmp_path: Path) -> None:
    """Each width of the actor meets each of the critics; what is not given is the common width."""
    widths = ["--actor-width", "4,8", "--width", "16"]
    answer = _call("sweep", *TINY, *widths, "--record-every", 40, "--out", tmp_path, "--json")
    assert answer.exit_code == 0, answer.output
    names = ["reach-v3_actor-4_critic-16_seed-0", "reach-v3_actor-8_critic-16_seed-0"]
    assert json.loads(answer.stdout)["finished"] == names
    actor = open_run(tmp_path / f"{names[0]}.zarr").attrs["configuration"]["actor"]
    assert actor == {"architecture": "multi_head", "width": 4, "depth": 3}


def test_sweep_matches_parameters(tmp_path: Path) -> None:
    """An architecture is trained as published, with the constants published for it, beside a simple one as large."""
    answer = _call("sweep", *TINY, "--match", "soft_modules", "--record-every", 40, "--out", tmp_path, "--json")
    assert answer.exit_code == 0, answer.output
    names = ["reach-v3_multi_head-as-soft_modules_seed-0", "reach-v3_soft_modules_seed-0"]
    assert json.loads(answer.stdout)["finished"] == names
    simple, published = (open_run(tmp_path / f"{name}.zarr").attrs["configuration"] for name in names)
    assert published["actor"]["part_count"] == 2
    assert [settings["sac"]["has_task_weights"] for settings in (simple, published)] == [False, True]


def test_scaling_gives_cells_and_slopes(sweep: Path) -> None:
    """The table has a row per cell; the JSON the same numbers, with both slopes."""
    table = _call("analyze", "scaling", sweep, "--metric", "dormant_fraction")
    assert table.exit_code == 0, table.output
    assert "per doubling of width" in " ".join(table.stdout.split())
    found = json.loads(_call("analyze", "scaling", sweep, "--metric", "dormant_fraction", "--json").stdout)
    assert len(found["cells"]) == 9
    assert {slope["predictor"] for slope in found["slopes"]} == {"width", "tasks", "interaction"}


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        (["--metric", "dormant_fraction", "--network", "critic", "--tau", "0.1"], "critic"),
        (["--metric", "srank", "--layer", "actor.trunk.hidden_2"], "actor.trunk.hidden_2"),
        (["--metric", "weight_norm", "--parameter", "*.heads.weight"], "heads.weight"),
    ],
)
def test_scaling_of_a_part(options: list[str], kept: str, sweep: Path) -> None:
    """A network, a layer or a parameter alone gives other numbers than the whole, and the answer says which."""
    whole = json.loads(_call("analyze", "scaling", sweep, *options[:2], "--json").stdout)
    part = json.loads(_call("analyze", "scaling", sweep, *options, "--json").stdout)
    assert kept in part["averaged"]
    assert part["cells"] != whole["cells"]


def test_unfinished_runs_count_where_asked(tmp_path: Path) -> None:
    """A run that did not finish is left out and named, and counted with --unfinished."""
    write_synthetic_run(tmp_path / "a.zarr", records=4)
    write_synthetic_run(tmp_path / "b.zarr", records=4, width=64, state="interrupted")
    call = ["analyze", "scaling", tmp_path, "--metric", "srank", "--json"]
    assert len(json.loads(_call(*call).stdout)["cells"]) == 1
    assert len(json.loads(_call(*call, "--unfinished").stdout)["cells"]) == 2


def test_report_is_one_file(sweep: Path, tmp_path: Path) -> None:
    """The report is written where it was asked for and needs no other file."""
    page = tmp_path / "study.html"
    answer = _call("report", sweep, "-o", page)
    assert answer.exit_code == 0, answer.output
    assert "27 runs" in answer.stdout
    assert "cdn" not in page.read_text(encoding="utf-8").split("<script", maxsplit=1)[0]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["train", "--tasks", "rech-v3"], "unknown task 'rech-v3'. Did you mean reach-v3"),
        (["train", "--width", "-4"], "width is -4"),
        (["train", "--actor-depth", "0"], "depth is 0"),
        (["train", "--architecture", "resnet"], "unknown architecture 'resnet'"),
        (["sweep", "--width", "64,wide"], "--width has 'wide'"),
        (["sweep", "--actor-width", "4;8"], "--actor-width has '4;8'"),
        (["sweep", "--match", "paco", "--width", "8"], "--match finds the widths, and --width says them"),
        (["sweep", "--match", "taco", "--tasks", "3"], "unknown architecture 'taco'"),
        (["sweep", "--match", "paco", "--architecture", "moore"], "give multi_head or plain"),
        (["sweep", "--seeds", "0"], "--seeds is 0"),
        (["sweep", "--jobs", "0"], "--jobs is 0"),
        (["sweep", "--tasks", ""], "names none"),
        (["report", "nowhere.zarr"], "nowhere.zarr does not exist"),
        (["analyze", "scaling", "nowhere", "--metric", "srank"], "nowhere does not exist"),
    ],
)
def test_bad_input_is_one_clear_error(
    arguments: list[str], complaint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was found, what was expected and the next move; nothing is written."""
    monkeypatch.chdir(tmp_path)
    answer = _call(*arguments)
    assert answer.exit_code == 1
    assert complaint in answer.output
    assert "Traceback" not in answer.output
    assert len(answer.stderr.strip().splitlines()) <= 2
    assert list(tmp_path.iterdir()) == []


def test_unknown_metric_names_what_there_is(sweep: Path) -> None:
    """A misspelt metric is answered with the nearest name, a strange one with all names."""
    near = _call("analyze", "scaling", sweep, "--metric", "dormant_fractoin")
    assert near.exit_code == 1
    assert "Did you mean dormant_fraction" in near.output
    strange = _call("analyze", "scaling", sweep, "--metric", "xyz")
    assert strange.exit_code == 1
    assert "effective_rank" in strange.output


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    """A folder without runs, and one that merely looks like a run, are named for what they are."""
    (tmp_path / "notes.zarr").mkdir()
    assert "notes.zarr is not a readable run" in _call("report", tmp_path).output
    (tmp_path / "empty").mkdir()
    assert "no run found" in _call("report", tmp_path / "empty").output


def test_failed_runs_are_named_in_the_report(tmp_path: Path) -> None:
    """A report over a failed run says so by name."""
    write_synthetic_run(tmp_path / "good.zarr", records=4)
    write_synthetic_run(tmp_path / "bad.zarr", records=4, width=64, state="failed", error="DivergedError: loss")
    page = tmp_path / "report.html"
    assert _call("report", tmp_path, "-o", page).exit_code == 0
    assert "bad" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("command", ["train", "sweep", "demo"])
def test_without_the_extra_one_line_says_how_to_install_it(command: str, tmp_path: Path) -> None:
    """Where Meta-World is not installed, training says which extra brings it, and writes nothing."""
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['metaworld', 'gymnasium', 'mujoco']))\n"
        f"sys.argv = ['plastikit', '{command}']\n"
        "from plastikit.cli.main import app; app()"
    )
    answer = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert answer.returncode == 1
    complaint = [line for line in answer.stderr.splitlines() if line.startswith("error:")]
    assert complaint == [
        "error: training needs the extra 'train', which is not installed: pip install 'plastikit[train]'"
    ]
    assert list(tmp_path.rglob("*.zarr")) == []
