"""What is said of trouble on our own side, alike wherever it comes up."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING

from webhooks.domain.errors import UnavailableError, UnreadableRecordError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from webhooks.domain.errors import RecordKey
    from webhooks.ports import Observer


def tell(observer: Observer, event: str, error: BaseException, **fields: object) -> None:
    """Log what something failed with; the log tells our side's trouble from a bug of ours."""
    if isinstance(error, UnreadableRecordError):
        tell_unreadable(observer, [error.key])
    if isinstance(error, UnavailableError | UnreadableRecordError):
        observer.log("warning", event, **fields, error=str(error))
    else:
        # Where it happened and what kind it is, but not its text, which may quote the input.
        observer.log(
            "error",
            event,
            **fields,
            error=type(error).__name__,
            stack=traceback.format_tb(error.__traceback__),
        )


def tell_unreadable(observer: Observer, keys: Iterable[RecordKey]) -> None:
    """Have a person see to records that cannot be read, and which others go past."""
    for key in keys:
        observer.count("UnreadableRecords")
        observer.log("error", "record_unreadable", **key._asdict())
