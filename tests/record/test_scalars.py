"""The passports of evaluation scalars."""

from __future__ import annotations

from plastikit.record.scalars import scalar_attrs


def test_success_rate_is_a_share() -> None:
    """A known scalar says what it is, so that a reader can treat it as a share."""
    attrs = scalar_attrs("success_rate")
    assert attrs["valid_range"] == "[0, 1]"
    assert attrs["definition"] == "success_rate/episodes"
    assert attrs["source"] == "evaluation episodes"


def test_unknown_scalar_has_its_name_in_words() -> None:
    """A scalar of the user's own is called what the user called it."""
    assert scalar_attrs("my_score") == {"long_name": "my score"}
