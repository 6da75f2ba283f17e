"""What an object store's refusal means, in plain words that repeat no part of a request."""

from __future__ import annotations

import re
from typing import Final

from plastikit.errors import StoreAccessError
from plastikit.record.address import Address

_STATUS: Final = re.compile(r"status code: (\d{3})")
_CODE: Final = re.compile(r"<Code>(\w{1,64})</Code>")
# Where a machine in a cloud asks for its own credentials: a request there means that none were set.
_UNSET: Final = re.compile(
    r"http\S+/(latest/(api|meta-data)|computeMetadata|metadata/identity)/|Account must be specified"
)
_OF_ACCESS: Final = re.compile("Access|Auth|Signature|Token")
_VARIABLES: Final = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
    "az": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
    "abfs": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
}
_REFUSED: Final = (
    "the server refused access ({answer}); check the credentials in the environment, {variables}, and what they allow"
)
_READ_ALONE: Final = "the server neither lists nor takes files ({answer}); runs are only read there"
_MEANINGS: Final = {
    "301": "the bucket lies in another region; set AWS_REGION in the environment",
    "401": _REFUSED,
    "403": _REFUSED,
    "404": "{root} is not there ({answer}); create it, or give another URL",
    "405": _READ_ALONE,
    "501": _READ_ALONE,
    "unset": "no credentials were found; set {variables} in the environment",
    "silent": "no server answers; check the network{endpoint}",
}
_OTHER: Final = "the server failed ({answer}); try again later"


def plain(error: Exception, address: Address) -> StoreAccessError:
    """The error to raise in the place of ``error``, whose text can hold keys and signatures."""
    text = str(error)
    status, code = _STATUS.search(text), _CODE.search(text)
    if _UNSET.search(text):
        kind = "unset"
    elif "incorrectly configured region" in text:
        kind = "301"
    elif code and _OF_ACCESS.search(code[1]):
        kind = "403"
    elif status is None and "HTTP error" in text:
        kind = "silent"
    else:
        kind = status[1] if status else "?"
    answer = " ".join(found[1] for found in (status, code) if found)
    reason = _MEANINGS.get(kind, _OTHER).format(
        answer=answer or "without an answer",
        root=address.root,
        variables=_VARIABLES.get(address.scheme, "those that the server wants"),
        endpoint=" and AWS_ENDPOINT_URL" if address.scheme == "s3" else "",
    )
    return StoreAccessError.of(address.url, reason)
