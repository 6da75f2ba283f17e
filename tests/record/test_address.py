"""Tests of taking URLs apart."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from plastikit.errors import ConfigurationError, UnknownNameError
from plastikit.record.address import Address, is_url
from plastikit.record.place import Folder, place_of


@pytest.mark.parametrize(
    ("url", "root", "path"),
    [
        ("s3://bucket/runs/a.zarr", "s3://bucket", "runs/a.zarr"),
        ("S3://bucket//runs///a.zarr//", "s3://bucket", "runs/a.zarr"),
        ("gs://bucket", "gs://bucket", ""),
        (
            "abfs://container@account.dfs.core.windows.net/a.zarr",
            "abfs://container@account.dfs.core.windows.net",
            "a.zarr",
        ),
        ("https://example.org:8080/a b.zarr", "https://example.org:8080", "a b.zarr"),
    ],
)
def test_a_url_is_taken_apart(url: str, root: str, path: str) -> None:
    """The scheme and the bucket are one part, what lies in it the other."""
    assert Address.of(url) == Address(root, path)
    assert Address.of(Address.of(url).url) == Address(root, path)


@pytest.mark.parametrize(
    "url",
    [
        "s3://AKIAKEY:hidden@bucket/a.zarr",
        "s3://hidden@bucket/a.zarr",
        "https://user:hidden@example.org/a.zarr",
        "abfs://container:hidden@account.dfs.core.windows.net/a.zarr",
        "https://example.org/a.zarr?X-Amz-Signature=hidden",
        "az://container/a.zarr?sig=hidden",
        "https://example.org/a.zarr#hidden",
    ],
)
def test_credentials_in_a_url_are_refused(url: str) -> None:
    """A URL that carries a secret is refused, in words that do not repeat it."""
    with pytest.raises(ConfigurationError, match="environment") as refusal:
        place_of(url)
    assert "hidden" not in str(refusal.value)
    with pytest.raises(ConfigurationError):
        Address.of(url, is_pattern=True)


@pytest.mark.parametrize("url", ["s3://", "s3:///a.zarr"])
def test_a_url_needs_a_bucket(url: str) -> None:
    """A URL without a bucket says what was expected."""
    with pytest.raises(ConfigurationError, match="names no bucket"):
        Address.of(url)


def test_unknown_schemes_name_the_known() -> None:
    """A scheme that nothing speaks is an error that names those that are like it."""
    with pytest.raises(UnknownNameError, match="https"):
        place_of("ftp://example.org/a.zarr")


def test_patterns_may_hold_question_marks() -> None:
    """In a pattern ``?`` is one character."""
    assert Address.of("s3://bucket/a?.zarr", is_pattern=True).path == "a?.zarr"


def test_paths_are_no_urls(tmp_path: Path) -> None:
    """What has no scheme is a folder, whatever its name."""
    assert isinstance(place_of(tmp_path), Folder)
    assert isinstance(place_of("runs/a:b.zarr"), Folder)
    assert not is_url("runs/*.zarr")


def test_urls_made_paths_are_refused() -> None:
    """A URL that went through Path is an error, where it would become a folder ``s3:``."""
    with pytest.raises(ConfigurationError, match="as text"):
        place_of(Path("s3://bucket/a.zarr"))
    assert os.fspath(Path("s3://bucket/a.zarr")) == "s3:/bucket/a.zarr"
