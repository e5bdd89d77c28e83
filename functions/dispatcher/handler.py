"""Entry point of the events queue: a batch of SQS messages in, the ids of failed messages out."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from webhooks.domain.resending import carried
from webhooks.domain.timestamps import MILLISECONDS
from webhooks.services.dispatch.messages import QueueMessage
from webhooks.wiring.dispatcher import DispatcherServices

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Deliver a batch of event messages (an SQS event with `ReportBatchItemFailures`)."""
    return handle(event, context, deployed_services())


@cache
def deployed_services() -> DispatcherServices:
    """Return the services of the deployed function, built at its first invocation."""
    return DispatcherServices.deployed()


def handle(
    event: dict[str, Any], context: LambdaContext, services: DispatcherServices
) -> dict[str, Any]:
    """Deliver a batch with the given services; return the messages that SQS must deliver again."""
    with services.telemetry.invocation(context):
        messages = [_message(record) for record in event["Records"]]
        failed = services.batches.handle(
            messages, lambda: context.get_remaining_time_in_millis() / MILLISECONDS
        )
    return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in failed]}


def _message(record: dict[str, Any]) -> QueueMessage:
    system = record["attributes"]
    attributes = record.get("messageAttributes", {})
    values = carried(
        {name: value.get("stringValue") for name, value in attributes.items()},
        sent_at_ms=int(system["SentTimestamp"]),
    )
    return QueueMessage(
        id=record["messageId"],
        body=record["body"],
        arrived_at_ms=values.arrived_at_ms,
        group=system.get("MessageGroupId"),
        receive_count=int(system.get("ApproximateReceiveCount", 1)),
        tries=values.tries,
        suspicions=values.suspicions,
        delays=values.delays,
        paced=values.paced,
        receipt_handle=record.get("receiptHandle", ""),
    )
