"""The report as a file."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from plastikit.errors import ConfigurationError, NotARunError
from plastikit.figures.report import Panel, ReportContent
from plastikit.figures.report import write_report as write_content
from plastikit.record.dataset import open_runs
from plastikit.report import report_content, write_report
from plastikit.testing import write_synthetic_sweep


@pytest.fixture(scope="module")
def content(runs: xr.DataTree) -> ReportContent:
    """What the report of the sweep shows."""
    return report_content(runs, notice="Only a <test>.")


@pytest.fixture(scope="module")
def page(content: ReportContent, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The report of the sweep, as a file."""
    path = write_content(content, tmp_path_factory.mktemp("report") / "deep" / "report.html")
    return path.read_text(encoding="utf-8")


def test_one_file_that_asks_for_nothing(page: str) -> None:
    """Everything is inside: one plotly.js, no stylesheet, script, font or image from elsewhere, and not much more."""
    assert page.count("plotly.js v") == 1
    assert not re.search(r"<(script|link|img|iframe)[^>]*\b(src|href)=[\"'](?!data:)", page)
    assert "default-src 'none'" in page
    assert "$" not in page[: page.index("<style>")]
    assert len(page) < 6_000_000


def test_the_page_says_what_is_in_it(page: str) -> None:
    """Title, counts of runs, the notice, the run that failed with its error, versions and configuration are there."""
    assert "<h1>Plasticity at 2 task counts and 2 widths</h1>" in page
    assert "9 runs: 1 and 3 tasks, hidden layers 32 and 128 units wide, 3 seeds." in page
    assert "Only a &lt;test&gt;." in page
    assert "broken failed and counts in no number: the loss is nan." in page
    assert "Configuration of each run" in page
    assert "<td>3.11" in page or "python" in page


def test_the_embedded_content_is_json_with_every_metric(page: str) -> None:
    """The data block parses, has each metric once (each threshold by itself), and starts with dormancy at 0.025."""
    block = re.search(r'<script type="application/json" id="content">(.*?)</script>', page, re.DOTALL)
    assert block is not None
    content = json.loads(block[1])
    keys = [choice["key"] for choice in content["choices"]]
    assert len(keys) == len(set(keys))
    assert content["first"] == "dormant_fraction@0.025"
    assert {"srank", "weight_norm", "gradient_norm", "success_rate"} <= set(keys)
    first = next(choice for choice in content["choices"] if choice["key"] == content["first"])
    assert list(first["scaling"]) == ["critic", "actor", "all networks"]
    assert set(first["histories"]) == set(content["runs"])
    assert all("template" not in panel["figure"]["layout"] for panel in first["scaling"].values())


def figures_of(content: ReportContent) -> list[Panel]:
    """All panels of a report."""
    choices = [[*choice.scaling.values(), *choice.histories.values()] for choice in content.choices]
    return [panel for panels in (*choices, content.curves.values()) for panel in panels]


def test_the_table_shows_each_cell_and_no_interval_of_two_runs(content: ReportContent) -> None:
    """Four cells of two runs, dormancy in percent without an interval, bars relative to the largest."""
    table = content.table
    assert [(row.title, row.subtitle) for row in table.rows] == [
        ("1 task", "width 32"),
        ("1 task", "width 128"),
        ("3 tasks", "width 32"),
        ("3 tasks", "width 128"),
    ]
    runs_cell, dormant, *_ = table.rows[1].cells
    assert runs_cell.text == "2"
    assert re.fullmatch(r"\d+\.\d%", dormant.text)
    assert dormant.interval == ""
    assert dormant.bar == 1.0


def test_three_runs_have_an_interval_with_a_caution(tmp_path: Path) -> None:
    """From three runs on the table shows the interval, and the figure says that it is narrower than it should be."""
    write_synthetic_sweep(tmp_path, tasks=(1,), widths=(32, 64), seeds=(0, 1, 2), records=4)
    content = report_content(open_runs(tmp_path))
    assert " – " in content.table.rows[0].cells[1].interval
    assert "From 3 to 5 runs" in content.choices[0].scaling["critic"].caption


def test_headings_explain_what_was_read(content: ReportContent, page: str) -> None:
    """A column of whole networks is defined as such; the selector, which also shows layers, gives both definitions."""
    assert "network_weight_norm" in [column.metric for column in content.table.columns]
    norm = next(choice for choice in content.choices if choice.key == "weight_norm")
    assert norm.terms == ("network_weight_norm", "weight_norm")
    assert all(f'id="definition-{name}"' in page for choice in content.choices for name in choice.terms)


def test_many_runs_get_thinner_heatmaps(runs: xr.DataTree, monkeypatch: pytest.MonkeyPatch) -> None:
    """With more values than a page should hold, each heatmap keeps fewer columns, so that the file stays small."""
    runs = bare(runs)
    monkeypatch.setattr("plastikit.panels._MOST_VALUES", 10)
    monkeypatch.setattr("plastikit.panels._FEWEST_STEPS", 3)
    choice = next(choice for choice in report_content(runs).choices if choice.key == "srank")
    panel = next(iter(choice.histories.values()))
    assert panel.figure is not None
    assert len(panel.figure.data[0].x) == 3


def bare(runs: xr.DataTree, **coordinates: float) -> xr.DataTree:
    """One of the runs, with other coordinates, and without evaluation."""
    changed = {name: ("run", [value]) for name, value in coordinates.items()}
    one = {"run": [0]}
    return xr.DataTree.from_dict(
        {
            "/": runs.to_dataset().isel(one).assign_coords(changed),
            "/diagnostics": runs["diagnostics"].to_dataset().isel(one).assign_coords(changed),
            "/evaluation": xr.Dataset(),
        }
    )


def test_a_single_run_without_evaluation_is_a_report(runs: xr.DataTree, tmp_path: Path) -> None:
    """One run, never evaluated: figures for what there is, none for what there is not, and no crash."""
    content = report_content(bare(runs))
    assert content.title.startswith("Plasticity in ")
    assert content.curves == {}
    assert any(panel.figure is not None for panel in figures_of(content))
    assert write_report(bare(runs), tmp_path / "report.html").exists()


@pytest.mark.parametrize("coordinates", [{}, {"width": np.nan, "task_count": np.nan}])
def test_runs_that_span_no_grid_are_shown_over_training(runs: xr.DataTree, coordinates: dict[str, float]) -> None:
    """One run, or runs of the user's own model, have no widths to compare: their metrics are drawn over the steps."""
    content = report_content(bare(runs, **coordinates))
    panel = content.choices[0].scaling["critic"]
    assert content.scaling_title == "Over training"
    assert panel.figure is not None
    assert len(panel.figure.data[0].x) == 6
    assert panel.readings == ()


def test_a_metric_that_is_nan_throughout_gets_a_sentence(runs: xr.DataTree) -> None:
    """Its figures are replaced by words, and the others stay."""
    one = bare(runs)
    diagnostics = one["diagnostics"].to_dataset()
    diagnostics["srank"] = diagnostics["srank"] * np.nan
    one["diagnostics"] = xr.DataTree(diagnostics)
    choice = next(choice for choice in report_content(one).choices if choice.key == "srank")
    for panel in (*choice.scaling.values(), *choice.histories.values()):
        assert panel.figure is None
        assert "finite value of this metric" in panel.sentence


def test_runs_that_hold_nothing_are_a_report(tmp_path: Path) -> None:
    """A run that was only just started has no metric, and its report says so."""
    from plastikit.record.store import RunStore

    RunStore(tmp_path / "run.zarr", configuration={}, provenance={})
    written = write_report(tmp_path / "run.zarr", tmp_path / "report.html").read_text(encoding="utf-8")
    assert "is still running" in written
    assert "No finished run has a value" in written


def test_a_path_without_runs_is_refused(tmp_path: Path) -> None:
    """No run, no report, and an error that says what was looked for."""
    with pytest.raises(NotARunError):
        write_report(tmp_path, tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_a_path_that_cannot_be_written_is_refused(content: ReportContent, tmp_path: Path) -> None:
    """A folder in place of the file, and a file in place of the folder, are named, and another path is asked for."""
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"is a folder; .* Give another path"):
        write_content(content, tmp_path)
    with pytest.raises(ConfigurationError, match=r"cannot be written \(.+\); .* Give another path"):
        write_content(content, tmp_path / "file" / "report.html")
