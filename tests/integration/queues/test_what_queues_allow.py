"""Differences of moto and ElasticMQ from SQS: AWS's documents, and each engine's behaviour.

Our own code never sends a request that an engine accepts and AWS refuses (`test_queue_adapters`,
`test_what_moto_allows`). Tests alone work around a request that an engine refuses and AWS accepts.
If a newer version of an engine has come nearer to AWS, its test fails here and its entry is
removed. Seen with moto 5.2 and ElasticMQ 1.7.1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from botocore.exceptions import ClientError

from support.engines import ELASTICMQ, MOTO, SQS_ENGINES, open_sqs, unique

if TYPE_CHECKING:
    from collections.abc import Callable

TAKEN = "taken"
ATTRIBUTES: Any = {"name": {"DataType": "String", "StringValue": "v" * 100}}


class Difference(NamedTuple):
    """AWS's documented behaviour with its source, and the engines' behaviour where it differs."""

    aws: str
    source: str
    probe: Callable[[Any, str], object]
    engines: dict[str, str]


def sent(**parameters: Any) -> Callable[[Any, str], object]:
    """Return a function that sends one message."""
    return lambda sqs, url: sqs.send_message(QueueUrl=url, **{"MessageBody": "{}", **parameters})


def sent_together(*entries: dict[str, Any]) -> Callable[[Any, str], object]:
    """Return a function that sends a batch."""
    return lambda sqs, url: sqs.send_message_batch(
        QueueUrl=url,
        Entries=[{"Id": str(place), **entry} for place, entry in enumerate(entries)],
    )


def made_again_at_once(sqs: Any, url: str) -> None:
    sqs.delete_queue(QueueUrl=url)
    sqs.create_queue(QueueName=url.rpartition("/")[2])


def deleted_twice(sqs: Any, url: str) -> object:
    sqs.send_message(QueueUrl=url, MessageBody="{}")
    [message] = sqs.receive_message(QueueUrl=url)["Messages"]
    for _ in "12":
        answer = sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return answer


def region(sqs: Any, url: str) -> str:
    answer = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    return str(answer["Attributes"]["QueueArn"].split(":")[3])


LARGE = {"MessageBody": "x" * 700_000}
DIFFERENCES = {
    "a message whose attributes make it too large": Difference(
        "refused: attributes count towards the 1 MiB",
        "SendMessage; Amazon SQS message attributes",
        sent(MessageBody="x" * 1_048_570, MessageAttributes=ATTRIBUTES),
        {MOTO: TAKEN, ELASTICMQ: TAKEN},
    ),
    "NUL": Difference(
        "InvalidMessageContents", "SendMessage", sent(MessageBody="\x00"), {MOTO: TAKEN}
    ),
    "U+FFFE": Difference(
        "InvalidMessageContents", "SendMessage", sent(MessageBody="\ufffe"), {MOTO: TAKEN}
    ),
    "NUL in an attribute": Difference(
        "refused: the same characters as in a body",
        "MessageAttributeValue",
        sent(MessageAttributes={"name": {"DataType": "String", "StringValue": "\x00"}}),
        {MOTO: TAKEN},
    ),
    "a number that is none": Difference(
        "InvalidParameterValue",
        "Amazon SQS message attributes",
        sent(MessageAttributes={"name": {"DataType": "Number", "StringValue": "one"}}),
        {MOTO: TAKEN},
    ),
    "an empty body": Difference(
        "refused: one character at least", "SendMessage", sent(MessageBody=""), {MOTO: TAKEN}
    ),
    "a group with a space": Difference(
        "InvalidParameterValue", "SendMessage", sent(MessageGroupId="a b"), {MOTO: TAKEN}
    ),
    "a group of 129 characters": Difference(
        "InvalidParameterValue", "SendMessage", sent(MessageGroupId="a" * 129), {MOTO: TAKEN}
    ),
    "an entry's id with a space": Difference(
        "InvalidBatchEntryId",
        "SendMessageBatchRequestEntry",
        sent_together({"Id": "a b", "MessageBody": "{}"}),
        {ELASTICMQ: TAKEN},
    ),
    "a batch that is too large": Difference(
        "BatchRequestTooLong",
        "SendMessageBatch",
        sent_together(LARGE, LARGE),
        {ELASTICMQ: "InvalidAttributeValue"},
    ),
    "a queue's name again at once": Difference(
        "QueueDeletedRecently, for 60 seconds",
        "CreateQueue",
        made_again_at_once,
        {MOTO: TAKEN, ELASTICMQ: TAKEN},
    ),
    "the region in a queue's ARN": Difference(
        "that of the queue", "GetQueueAttributes", region, {ELASTICMQ: "elasticmq"}
    ),
}


REFUSED = {
    "a message that was deleted": Difference(
        "success: the receipt handle stays good",
        "DeleteMessage",
        deleted_twice,
        {ELASTICMQ: "ReceiptHandleIsInvalid"},
    ),
}
"""Requests that an engine refuses and AWS accepts. Here it is a second deletion, the case of a
lost first answer, which `SQSReceivedMessages` then reads as a message that may be left."""


def differing() -> list[tuple[str, str]]:
    return [
        (name, engine)
        for name, difference in {**DIFFERENCES, **REFUSED}.items()
        for engine in SQS_ENGINES
        if engine in difference.engines
    ]


@pytest.mark.parametrize(("name", "engine"), differing())
def test_an_engine_differs_as_the_table_says(name: str, engine: str) -> None:
    difference = {**DIFFERENCES, **REFUSED}[name]
    assert did(difference, engine) == difference.engines[engine]


def alike() -> list[tuple[str, str]]:
    return [
        (name, engine)
        for name, difference in DIFFERENCES.items()
        for engine in SQS_ENGINES
        if engine not in difference.engines
    ]


@pytest.mark.parametrize(("name", "engine"), alike())
def test_the_other_engine_does_as_aws_does(name: str, engine: str) -> None:
    assert did(DIFFERENCES[name], engine) != TAKEN


def test_moto_takes_what_elasticmq_refuses() -> None:
    assert [did(difference, MOTO) for difference in REFUSED.values()] == [TAKEN]


def did(difference: Difference, engine: str) -> str:
    """Return an engine's answer, its error's last word, or `TAKEN`."""
    with open_sqs(engine) as sqs:
        url = sqs.create_queue(QueueName=unique("queue"))["QueueUrl"]
        try:
            answer = difference.probe(sqs, url)
        except ClientError as error:
            return str(error.response["Error"]["Code"]).rpartition(".")[2]
    return answer if isinstance(answer, str) else TAKEN
