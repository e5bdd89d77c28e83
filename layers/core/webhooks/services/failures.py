"""The log lines and metrics of failures on our own side, the same wherever they occur."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING

from webhooks.domain.errors import UnavailableError, UnreadableRecordError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from webhooks.domain.errors import RecordKey
    from webhooks.ports import Telemetry


def log_failure(telemetry: Telemetry, event: str, error: BaseException, **fields: object) -> None:
    """Log an error: a warning if our side was unavailable, an error with a stack for a bug."""
    if isinstance(error, UnreadableRecordError):
        log_unreadable(telemetry, [error.key])
    if isinstance(error, UnavailableError | UnreadableRecordError):
        telemetry.log("warning", event, **fields, error=str(error))
    else:
        # The place and the type of the error, but not its text, which may quote the input.
        telemetry.log(
            "error",
            event,
            **fields,
            error=type(error).__name__,
            stack=traceback.format_tb(error.__traceback__),
        )


def log_unreadable(telemetry: Telemetry, keys: Iterable[RecordKey]) -> None:
    """Report records that cannot be read, which callers skip and an operator must repair."""
    for key in keys:
        telemetry.count("UnreadableRecords")
        telemetry.log("error", "record_unreadable", **key._asdict())
