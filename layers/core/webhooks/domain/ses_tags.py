"""The message tag of an SES mail that names its account.

A tag that exists but cannot be read is refused. It never counts as absent: otherwise the default
account would receive another account's mail.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from webhooks.domain.errors import InvalidEventError
from webhooks.domain.event import checked_account_id

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ACCOUNT_TAG = "account_id"

_PATH = f"mail.tags.{ACCOUNT_TAG}"


def tagged_account_id(record: Mapping[str, object]) -> str | None:
    """Return the account that the tag of a bare record names, None if there is no such tag.

    A tag is a list of one text, or that text. The same text several times counts once. Raises
    InvalidEventError, reason `invalid_field`, for a tag of any other form: an empty one, null,
    several accounts, or a name in tags that are not an object.
    """
    mail = record.get("mail")
    tags = mail.get("tags") if isinstance(mail, dict) else None
    if not isinstance(tags, dict):
        if ACCOUNT_TAG in _texts_in(tags):
            raise InvalidEventError(
                "invalid_field", "mail.tags", "must be an object of names and lists of values"
            )
        return None
    if ACCOUNT_TAG not in tags:
        return None
    value = tags[ACCOUNT_TAG]
    values = value if isinstance(value, list) else [value]
    first = values[0] if values else None
    if not isinstance(first, str) or any(one != first for one in values):
        raise InvalidEventError(
            "invalid_field", _PATH, "must be a list of one text, the id of the mail's account"
        )
    return checked_account_id(first, _PATH)


def _texts_in(tags: object) -> Iterator[str]:
    """Yield possible tag names in tags that are not an object: `[{"Name": "account_id"}]`."""
    for one in tags if isinstance(tags, list) else [tags]:
        if isinstance(one, str):
            yield from (pair.partition("=")[0].strip() for pair in one.split(","))
        elif isinstance(one, dict):
            yield from one
            yield from (value for value in one.values() if isinstance(value, str))
