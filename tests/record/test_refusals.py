"""Tests of what an object store's refusals are told as."""

from __future__ import annotations

import pytest

from plastikit.record.address import Address
from plastikit.record.refusals import plain

# As Amazon answers, and no server on this machine does.
AMAZON = """Error performing PUT https://s3.amazonaws.com/bucket/a - Server returned non-2xx status code: {status}:
<Error><Code>{code}</Code><Message>no</Message><AWSAccessKeyId>AKIAHIDDEN</AWSAccessKeyId>
<StringToSign>hidden</StringToSign></Error>"""


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            AMAZON.format(status="403 Forbidden", code="SignatureDoesNotMatch"),
            "refused access (403 SignatureDoesNotMatch)",
        ),
        (AMAZON.format(status="400 Bad Request", code="ExpiredToken"), "refused access (400 ExpiredToken)"),
        (AMAZON.format(status="400 Bad Request", code="EntityTooLarge"), "the server failed (400 EntityTooLarge)"),
        (AMAZON.format(status="503 Slow", code="SlowDown"), "the server failed (503 SlowDown); try again later"),
        (AMAZON.format(status="404 Not Found", code="NoSuchBucket"), "s3://bucket is not there (404 NoSuchBucket)"),
        (
            "Received redirect without LOCATION, this normally indicates an incorrectly configured region",
            "another region; set AWS_REGION",
        ),
        (
            "Error performing PUT http://169.254.169.254/latest/api/token in 1s - HTTP error: error sending request",
            "no credentials were found; set AWS_ACCESS_KEY_ID",
        ),
        ("Error performing GET https://s3.amazonaws.com/bucket/a - HTTP error: hidden", "no server answers"),
        ("hidden", "the server failed (without an answer)"),
    ],
)
def test_each_is_told_in_plain_words(text: str, told: str) -> None:
    """What was refused, and why, stands in one line that names the run and holds nothing of the request."""
    error = plain(ValueError(text), Address.of("s3://bucket/run.zarr"))
    assert told in str(error)
    assert str(error) == f"s3://bucket/run.zarr: {error.strerror}"
    assert not any(part in str(error) for part in ("hidden", "AKIAHIDDEN", "amazonaws", "\n"))


def test_each_store_names_its_own_variables() -> None:
    """Where access is refused, the variables are those that this kind of store reads."""
    for url, variable in {
        "gs://bucket": "GOOGLE_APPLICATION_CREDENTIALS",
        "az://container": "AZURE_STORAGE_ACCOUNT_KEY",
        "https://example.org": "those that the server wants",
    }.items():
        assert variable in str(plain(ValueError(AMAZON.format(status="403", code="No")), Address.of(url)))
