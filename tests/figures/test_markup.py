"""Pieces of HTML."""

from __future__ import annotations

from plastikit.figures import markup
from plastikit.schema import Definition

HOSTILE = "</td><script>alert('x')</script>"


def definition(**changes: str) -> Definition:
    """A passport."""
    words = {
        "variable": "srank",
        "id": "srank/kumar2021",
        "long_name": "srank",
        "units": "1",
        "description": "smallest k",
        "valid_range": "[1, N]",
        "pitfalls": "capped",
        "reference": "Kumar et al. 2021, arXiv:2010.14498",
        "cost": "a decomposition",
    } | changes
    return Definition(**words, dims=("layer",), parameters={"delta": 0.01})  # type: ignore[arg-type]  # all are text


def test_a_definition_shows_what_range_pitfalls_and_reference_are() -> None:
    """Everything of the passport that a reader needs is there, and the arXiv id is a link."""
    shown = markup.definitions([definition()])
    for text in ("smallest k", "[1, N]", "capped", "delta = 0.01", "srank/kumar2021"):
        assert text in shown
    assert '<a href="https://arxiv.org/abs/2010.14498">arXiv:2010.14498</a>' in shown
    assert 'id="definition-srank"' in shown


def test_a_metric_without_a_definition_says_so() -> None:
    """An empty passport is a sentence, not an empty box."""
    assert "without a definition" in markup.definitions([definition(description="", reference="")])


def test_the_table_has_headings_that_explain_themselves() -> None:
    """Each metric's heading is a button for its definition; a heading without a metric is plain text."""
    content = markup.Table(
        caption="caption",
        corner="corner",
        columns=(
            markup.Column(title="runs", subtitle="", metric=""),
            markup.Column(title="srank", subtitle="critic", metric="srank"),
        ),
        rows=(
            markup.Row(
                title="1 task", subtitle="width 32", cells=(markup.Cell(text="3"), markup.Cell(text="7", bar=0.5))
            ),
        ),
    )
    shown = markup.table(content)
    assert shown.count("<button") == 1
    assert 'data-metric="srank"' in shown
    assert "--bar:0.5000" in shown


def test_a_table_without_rows_is_a_sentence() -> None:
    """Nothing to show is said in words."""
    empty = markup.Table(caption="", corner="", columns=(), rows=(), empty="No run has finished.")
    assert "No run has finished." in markup.table(empty)
    assert "<table" not in markup.table(empty)


def test_all_text_is_escaped() -> None:
    """Names, errors and configuration that look like markup stay text everywhere."""
    row = markup.Row(title=HOSTILE, subtitle=HOSTILE, cells=(markup.Cell(text=HOSTILE, interval=HOSTILE),))
    column = markup.Column(title=HOSTILE, subtitle=HOSTILE, metric=HOSTILE)
    shown = [
        markup.table(markup.Table(caption=HOSTILE, corner=HOSTILE, columns=(column,), rows=(row,))),
        markup.notices(HOSTILE, (HOSTILE,) * 6),
        markup.definitions([definition(variable=HOSTILE, long_name=HOSTILE, description=HOSTILE, reference=HOSTILE)]),
        markup.provenance({HOSTILE: HOSTILE}, {HOSTILE: HOSTILE}),
        markup.methods([HOSTILE]),
    ]
    assert all("<script" not in part for part in shown)


def test_many_warnings_are_folded() -> None:
    """A few remarks are listed; many are counted, and open on demand."""
    assert "<details>" not in markup.notices(None, ("one", "two"))
    assert "9 remarks on the runs" in markup.notices(None, tuple("abcdefghi"))
