"""The work that a stack has not delivered yet: unfinished deliveries, and queued messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ops.deployed import unless_gone
from ops.executions import Count
from webhooks.adapters.dynamodb.delivery_items import DUE_KEYS

if TYPE_CHECKING:
    from collections.abc import Iterable

MOST_COUNTED = 1_000_000
"""The limit of counting deliveries: about 150 queries and 10,000 read units."""

_DUE_INDEX = "due"
_NUMBERS = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
)


def deliveries(dynamodb: Any, table: str) -> Count:
    """Count the deliveries that are retrying or waiting, in the sparse index of just those.

    Counting executions is not enough: deliveries that wait for a webhook that is down have none.
    """

    number = 0
    for partition in DUE_KEYS:
        pages = dynamodb.get_paginator("query").paginate(
            TableName=table,
            IndexName=_DUE_INDEX,
            Select="COUNT",
            KeyConditionExpression="due = :due",
            ExpressionAttributeValues={":due": {"S": partition}},
        )
        for page in pages:
            number += page["Count"]
            if number >= MOST_COUNTED:
                return Count(number, complete=False)
    return Count(number)


def messages(sqs: Any, queue_urls: Iterable[str]) -> Count:
    """Count the messages of some queues, those in flight and delayed too, as SQS estimates them."""
    number = 0
    for url in queue_urls:
        with unless_gone():
            answer = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=list(_NUMBERS))
            number += sum(int(answer["Attributes"][name]) for name in _NUMBERS)
    return Count(number)
