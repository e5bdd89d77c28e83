"""Both dead-letter queues on any SQS, and deliveries in memory."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ops import redrive
from support import samples
from support.engines import unique
from support.fakes import FakeDeliveryStore, FakeScheduler
from webhooks.domain.delivery import Delivery, Status
from webhooks.services.redriver import Redriver

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

NOW_MS = samples.NOW_MS + 1_000_000
EXHAUSTED = samples.delivery(
    status=Status.EXHAUSTED,
    reason="http_status",
    next_attempt_at_ms=None,
    attempts=tuple(samples.attempt(number) for number in (1, 2, 3)),
)


class RedriveFixture:
    """Both queues of a stack, deliveries in memory."""

    def __init__(self, sqs: SQSClient) -> None:
        self.sqs = sqs
        names = ("dead", "events-dead", "events")
        dead, events_dead, events = (
            sqs.create_queue(QueueName=unique(name))["QueueUrl"] for name in names
        )
        self.stack = redrive.Stack("d", "arn", dead, events_dead, events)
        self.deliveries = FakeDeliveryStore()
        self.scheduler = FakeScheduler()
        self.redriver = Redriver(self.deliveries, self.scheduler, lambda: NOW_MS / 1000)
        self.told: list[str] = []

    def put(self, delivery: Delivery) -> Delivery:
        self.deliveries.deliveries[delivery.key] = delivery
        return delivery

    def stored(self, delivery: Delivery) -> Delivery:
        return self.deliveries.deliveries[delivery.key]

    def send(self, queue_url: str, body: Any, **attributes: str) -> None:
        text = body if isinstance(body, str) else json.dumps(body)
        values: Any = {k: {"DataType": "String", "StringValue": v} for k, v in attributes.items()}
        self.sqs.send_message(QueueUrl=queue_url, MessageBody=text, MessageAttributes=values)

    def receive(self, queue_url: str) -> list[Any]:
        answer = self.sqs.receive_message(
            QueueUrl=queue_url,
            MaxNumberOfMessages=10,
            MessageAttributeNames=["All"],
            MessageSystemAttributeNames=["All"],
        )
        return list(answer.get("Messages", []))

    def left(self, queue_url: str) -> list[str]:
        answer = self.sqs.receive_message(QueueUrl=queue_url, MaxNumberOfMessages=10)
        return [message["Body"] for message in answer.get("Messages", [])]

    def run(self, **wanted: Any) -> dict[str, int]:
        return dict(
            redrive.redrive_deliveries(
                self.sqs, self.stack, self.redriver, redrive.Wanted(**wanted), self.told.append
            )
        )


def dead_letter(delivery: Delivery, **fields: Any) -> dict[str, Any]:
    return {"type": "delivery.exhausted", **delivery.key._asdict(), **fields}
