"""The report in a real browser: drawn, switched, explained, safe, at a laptop's and a phone's width."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import xarray as xr

from plastikit.record.dataset import open_runs
from plastikit.report import write_report

if TYPE_CHECKING:
    from playwright.sync_api import Browser

sync_api = pytest.importorskip("playwright.sync_api")

CHROMIUM = Path("/usr/bin/chromium")
LAPTOP = {"viewport": {"width": 1280, "height": 900}}
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
HOSTILE = "</script><script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's chromium; without it the tests are skipped, and fail where a build server runs them."""
    if not CHROMIUM.exists():
        missing = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        missing(f"{CHROMIUM} is missing; install Debian's chromium to test the report's page")
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(
            executable_path=str(CHROMIUM), args=["--no-sandbox", "--disable-background-networking"]
        )
        yield opened
        opened.close()


class Visit:
    """A page that is open, and what it asked for and complained of."""

    def __init__(self, browser: Browser, path: Path, **screen: object) -> None:
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page = browser.new_context(**screen).new_page()
        self.page.on("console", lambda message: self.complaints.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(path.as_uri())

    def title_of(self, plot: str) -> str:
        """The title that a figure shows."""
        return str(self.page.evaluate(f"document.getElementById('{plot}').layout.title?.text ?? ''"))


@pytest.fixture(scope="module")
def report(sweep: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of the sweep."""
    return write_report(sweep, tmp_path_factory.mktemp("page") / "report.html", notice="A notice.")


@pytest.mark.parametrize("screen", [LAPTOP, PHONE], ids=["laptop", "phone"])
def test_the_page_draws_everything_in_silence(browser: Browser, report: Path, screen: dict[str, object]) -> None:
    """Three figures are drawn, nothing is asked of the network or complained of, and nothing spills sideways."""
    visit = Visit(browser, report, **screen)
    for plot in ("scaling", "layers", "curves"):
        box = visit.page.locator(f"#{plot} .main-svg").first.bounding_box()
        assert box is not None
        assert box["height"] > 150
        assert box["width"] <= screen["viewport"]["width"]  # type: ignore[index]  # a mapping, as Playwright takes it
    assert visit.complaints == []
    assert visit.requests == [report.as_uri()]
    assert visit.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_the_metric_selector_switches_figure_readings_and_heatmap(browser: Browser, report: Path) -> None:
    """Another metric changes the scaling figure and the heatmap's rows; another network, the values."""
    visit = Visit(browser, report, **LAPTOP)
    page = visit.page
    assert visit.title_of("scaling") == "dormant fraction of the network"
    rows = "document.getElementById('layers').layout.yaxis.ticktext.join()"
    values = "JSON.stringify(document.getElementById('scaling').data.map((trace) => Array.from(trace.y)))"
    layers = page.evaluate(rows)
    page.select_option("#metric", "weight_norm")
    assert visit.title_of("scaling") == "weight norm of the network"
    assert page.evaluate(rows) != layers
    assert "value ×" in page.inner_text("#readings")
    critic = page.evaluate(values)
    page.select_option("#network", "actor")
    assert page.evaluate(values) != critic
    page.select_option("#metric", "success_rate")
    assert page.locator("#network").is_hidden()
    assert "not measured layer by layer" in page.inner_text("#layers")
    page.select_option("#metric", "srank")
    assert page.locator("#layers .main-svg").first.is_visible()
    assert visit.complaints == []


def test_runs_and_curves_can_be_chosen(browser: Browser, report: Path) -> None:
    """The heatmap follows the run that is chosen, and the curves show one run task by task."""
    visit = Visit(browser, report, **LAPTOP)
    visit.page.select_option("#run", "broken")
    assert visit.page.inner_text("#layers-caption").startswith("broken: 6 records")
    visit.page.select_option("#curve", "tasks-3_width-128_seed-0")
    names = visit.page.evaluate("document.getElementById('curves').data.map((trace) => trace.name)")
    assert set(names[:-1]) == {"reach-v3", "drawer-close-v3", "window-open-v3"}
    assert names[-1] == "mean of the tasks"


def test_a_definition_opens_by_keyboard_and_escape_closes_it(browser: Browser, report: Path) -> None:
    """Tabbing to a heading of the table shows what the metric means, and the button is described by it."""
    page = Visit(browser, report, **LAPTOP).page
    for _ in range(4):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.className") == "term":
            break
    tip = page.locator("#tip")
    assert tip.is_visible()
    assert "Share of units" in tip.inner_text()
    assert "arXiv:2302.12902" in tip.inner_text()
    assert page.evaluate("document.activeElement.getAttribute('aria-describedby')") == "tip"
    page.keyboard.press("Escape")
    assert tip.is_hidden()


def test_a_definition_opens_on_hovering_and_follows_the_selector(browser: Browser, report: Path) -> None:
    """The term beside the selector explains the metric that is chosen."""
    page = Visit(browser, report, **LAPTOP).page
    page.select_option("#metric", "srank")
    page.hover("#metric-term")
    assert "srank/kumar2021" in page.locator("#tip").inner_text()
    page.mouse.move(0, 0)
    page.wait_for_selector("#tip", state="hidden")
    page.select_option("#metric", "weight_norm")
    page.hover("#metric-term")
    assert "network_weight_norm/frobenius" in page.locator("#tip").inner_text()


def test_a_definition_opens_on_a_tap_and_fits_the_phone(browser: Browser, report: Path) -> None:
    """A tap on the term opens the definition inside the screen, and a tap elsewhere closes it."""
    page = Visit(browser, report, **PHONE).page
    page.tap("#metric-term")
    box = page.locator("#tip").bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 390
    page.tap("h2#how")
    assert page.locator("#tip").is_hidden()


def test_dark_readers_get_a_dark_page(browser: Browser, report: Path) -> None:
    """Where the system is dark the figures are too, and change with it."""
    page = Visit(browser, report, color_scheme="dark", **LAPTOP).page
    ground = "document.getElementById('scaling')._fullLayout.paper_bgcolor"
    assert page.evaluate(ground) == "#15171b"
    page.emulate_media(color_scheme="light")
    # The page allows no script to be made of text, which waiting for a function in it would need.
    deadline = time.monotonic() + 5
    while page.evaluate(ground) != "#fbfaf7":
        assert time.monotonic() < deadline
        page.wait_for_timeout(50)


def test_names_that_look_like_markup_stay_text(browser: Browser, sweep: Path, tmp_path: Path) -> None:
    """Runs, tasks, metrics and errors named like a script run none, and are shown as they are."""
    runs = open_runs(sweep).isel(run=[0, 1])
    names = [f"{HOSTILE}{number}" for number in range(2)]
    groups = {}
    for group in ("diagnostics", "evaluation"):
        dataset = runs[group].to_dataset().assign_coords(run=names)
        tasks = [f"{HOSTILE}{number}" for number in range(dataset.sizes.get("task", 0))]
        groups[f"/{group}"] = dataset.assign_coords(task=tasks) if tasks else dataset
    groups["/diagnostics"]["srank"].attrs |= {"long_name": HOSTILE, "description": HOSTILE}
    root = xr.Dataset(
        coords=runs.to_dataset().assign_coords(run=names, state=("run", ["failed", "finished"])).coords,
        attrs={"runs": {name: {"error": HOSTILE, "configuration": {HOSTILE: HOSTILE}} for name in names}},
    )
    hostile = xr.DataTree.from_dict({"/": root, **groups})
    visit = Visit(browser, write_report(hostile, tmp_path / "report.html", notice=HOSTILE), **LAPTOP)
    visit.page.select_option("#metric", "srank")
    visit.page.select_option("#curve", index=1)
    visit.page.hover("#metric-term")
    assert visit.page.evaluate("window.hacked") is None
    assert HOSTILE in visit.page.inner_text(".notice")
    assert visit.complaints == []


def test_an_empty_run_is_told_in_words(browser: Browser, tmp_path: Path) -> None:
    """A run without a single record gives sentences where figures would be, and no error."""
    from plastikit.record.store import RunStore

    RunStore(tmp_path / "run.zarr", configuration={}, provenance={})
    visit = Visit(browser, write_report(tmp_path / "run.zarr", tmp_path / "report.html"), **PHONE)
    assert "no metric to show" in visit.page.inner_text("#scaling")
    assert "never evaluated" in visit.page.inner_text("#curves")
    assert visit.page.locator(".chooser").is_hidden()
    assert visit.complaints == []
