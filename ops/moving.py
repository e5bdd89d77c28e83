"""SQS's own redrive of the events dead-letter queue: a task that moves all messages.

SQS gives each message a new id and a new time. Only messages that carry their first arrival may be
moved: any other would become another event, with another time and other derived ids.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from ops.dead_letters import DeadLetters, texts_of
from webhooks.domain.resending import ARRIVED_AT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MOST_TO_LOOK_AT = 100_000
"""SQS hands out at most 120,000 messages of a queue before some are deleted, so no more can be
examined together.
"""

_POLL_SECONDS = 5.0
_NUMBERS = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
)


class NotMovedError(Exception):
    """No message was moved; the text says what to do."""


def move(
    sqs: Any,
    source_url: str,
    destination_url: str,
    tell: Callable[[str], None],
    *,
    sleep: Callable[[float], object] = time.sleep,
) -> int:
    """Make SQS move every message of one queue to another; return the number moved.

    Raises NotMovedError if a message does not carry its first arrival, if not all messages could be
    examined, or if the task failed.
    """
    _check(sqs, source_url)
    task = sqs.start_message_move_task(
        SourceArn=_arn(sqs, source_url), DestinationArn=_arn(sqs, destination_url)
    )
    while True:
        [latest, *_] = sqs.list_message_move_tasks(SourceArn=_arn(sqs, source_url), MaxResults=1)[
            "Results"
        ]
        moved = int(latest.get("ApproximateNumberOfMessagesMoved", 0))
        tell(f"{moved:,} of {latest.get('ApproximateNumberOfMessagesToMove', '?')} messages moved")
        if latest["Status"] == "COMPLETED":
            return moved
        if latest["Status"] != "RUNNING":
            why = latest.get("FailureReason", latest["Status"])
            msg = f"SQS's task {task.get('TaskHandle', '')} ended with {why} after {moved} messages"
            raise NotMovedError(msg)
        sleep(_POLL_SECONDS)


def _check(sqs: Any, queue_url: str) -> None:

    here, held, delayed = (
        int(_attributes(sqs, queue_url, *_NUMBERS).get(name, 0)) for name in _NUMBERS
    )
    if held or delayed:
        msg = f"{held + delayed} messages are invisible now: wait two minutes and try again"
        raise NotMovedError(msg)
    if here > MOST_TO_LOOK_AT:
        msg = (
            f"{here:,} messages are too many to examine before a move. Leave out --move: that "
            "redrives them in batches"
        )
        raise NotMovedError(msg)
    seen = without = 0

    def look(messages: Sequence[Any]) -> Sequence[Any]:
        nonlocal seen, without
        seen += len(messages)
        without += sum(ARRIVED_AT not in texts_of(message) for message in messages)
        return ()

    DeadLetters(sqs, queue_url, threads=1).each_batch(look)
    if without or seen < here:
        what = f"{without} messages do" if without else f"{here - seen} messages may"
        msg = (
            f"{what} not carry their first arrival, and a move would turn them into other events. "
            "Leave out --move: that redrives them in batches"
        )
        raise NotMovedError(msg)


def _arn(sqs: Any, queue_url: str) -> str:
    return _attributes(sqs, queue_url, "QueueArn")["QueueArn"]


def _attributes(sqs: Any, queue_url: str, *names: str) -> dict[str, str]:
    answer = sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=list(names))
    attributes: dict[str, str] = answer.get("Attributes", {})
    return attributes
