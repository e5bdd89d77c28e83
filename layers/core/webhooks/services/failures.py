"""What is said of trouble on our own side, alike wherever it comes up."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING

from webhooks.domain.errors import UnavailableError, UnreadableRecordError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from webhooks.domain.errors import RecordKey
    from webhooks.ports import Telemetry


def log_failure(telemetry: Telemetry, event: str, error: BaseException, **fields: object) -> None:
    """Log what something failed with; the log tells our side's trouble from a bug of ours."""
    if isinstance(error, UnreadableRecordError):
        log_unreadable(telemetry, [error.key])
    if isinstance(error, UnavailableError | UnreadableRecordError):
        telemetry.log("warning", event, **fields, error=str(error))
    else:
        # Where it happened and what kind it is, but not its text, which may quote the input.
        telemetry.log(
            "error",
            event,
            **fields,
            error=type(error).__name__,
            stack=traceback.format_tb(error.__traceback__),
        )


def log_unreadable(telemetry: Telemetry, keys: Iterable[RecordKey]) -> None:
    """Have a person see to records that cannot be read, and which others go past."""
    for key in keys:
        telemetry.count("UnreadableRecords")
        telemetry.log("error", "record_unreadable", **key._asdict())
