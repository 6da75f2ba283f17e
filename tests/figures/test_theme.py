"""Colours that can be seen and told apart, and labels that stay text."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import pytest

from plastikit.figures import theme

# Machado, Oliveira & Fernandes 2009, severity 1, on linear RGB.
VISIONS = {
    "normal": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}


def linear(colour: str) -> npt.NDArray[np.float64]:
    """Linear RGB of a hexadecimal colour."""
    values = np.array([int(colour[start : start + 2], 16) for start in (1, 3, 5)]) / 255
    return np.asarray(np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4))


def contrast(first: str, second: str) -> float:
    """Contrast ratio after WCAG 2."""
    light, dark = sorted((float(linear(c) @ [0.2126, 0.7152, 0.0722]) for c in (first, second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def oklab(rgb: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Perceptual coordinates of linear RGB (Ottosson 2020)."""
    to_cones = np.array([[0.41222, 0.53633, 0.05145], [0.21190, 0.68070, 0.10740], [0.08830, 0.28172, 0.62998]])
    to_lab = np.array([[0.21045, 0.79362, -0.00407], [1.97800, -2.42859, 0.45059], [0.02590, 0.78277, -0.80868]])
    return to_lab @ np.cbrt(to_cones @ np.clip(rgb, 0, 1))


@pytest.mark.parametrize("dark", [False, True])
def test_task_counts_can_be_seen_and_told_apart_by_most_eyes(dark: bool) -> None:
    """On paper and on slate, category colours have 3 : 1 contrast and stay apart under colour-vision deficiencies."""
    colours = [theme.DARK[colour] if dark else colour for colour in theme.CATEGORIES]
    ground = theme.DARK[theme.PAPER] if dark else theme.PAPER
    assert all(contrast(colour, ground) >= 3.0 for colour in colours)
    for vision in VISIONS.values():
        points = [oklab(vision @ linear(colour)) for colour in colours]
        assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(points, 2)) > 0.07


@pytest.mark.parametrize("dark", [False, True])
def test_widths_and_heat_rise_steadily_away_from_the_ground(dark: bool) -> None:
    """Along both sequential scales the contrast to the ground only grows, so that more looks like more."""
    ground = theme.DARK[theme.PAPER] if dark else theme.PAPER
    for scale in (theme.RAMP, theme.HEAT):
        steps = [contrast(theme.DARK[colour] if dark else colour, ground) for colour in scale]
        assert steps == sorted(steps)


@pytest.mark.parametrize("dark", [False, True])
def test_text_is_legible(dark: bool) -> None:
    """Ink has at least 7 : 1 and muted text 4.5 : 1 against the ground."""
    ink, muted, paper = (theme.DARK[c] if dark else c for c in (theme.INK, theme.MUTED, theme.PAPER))
    assert contrast(ink, paper) >= 7.0
    assert contrast(muted, paper) >= 4.5


def test_looks_do_not_repeat_before_the_twenty_fifth() -> None:
    """Colour and symbol together tell 25 kinds apart."""
    assert len(set(theme.categories(25))) == 25


def test_ramps_use_the_whole_range() -> None:
    """Two widths get the weakest and the strongest colour, one width a clear one."""
    assert theme.ramp(2) == [theme.RAMP[0], theme.RAMP[-1]]
    assert len(theme.ramp(1)) == 1
    assert len(set(theme.ramp(7))) == 7


def test_names_lose_only_what_all_share() -> None:
    """Shared parts go unless the names would no longer differ."""
    assert theme.short_names(["a.trunk.h_1", "b.trunk.h_1"]) == ["a", "b"]
    assert theme.short_names(["net.h_1"]) == ["net · h_1"]
    assert theme.short_names(["a.b", "b.a"]) == ["a · b", "b · a"]


def test_markup_in_a_name_stays_text() -> None:
    """What Plotly would read as a tag or an entity is escaped."""
    assert theme.literal("<b>x</b> & y") == "&lt;b&gt;x&lt;/b&gt; &amp; y"
