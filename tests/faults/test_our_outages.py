"""Rows 75 to 77: outages of our own, messages that end their dispatchers, and both at once."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from faults.fault_harness import one_event
from faults.killed_process import BEFORE, run_victim
from local.poller import to_record
from support import samples
from support.faults import refused, timed_out
from support.receiver import Answer
from webhooks.domain.delivery import Status
from webhooks.domain.resending import ARRIVED_AT, SUSPICIONS, TRIES

if TYPE_CHECKING:
    from collections.abc import Callable

    from faults.fault_harness import Tenant
    from support.faults import Act
    from support.receiver import Receiver

    MakeReceiver = Callable[..., Receiver]

RECEIVES = 8
"""More often than SQS handed a message out when failures were counted by its receives."""


@pytest.mark.parametrize(
    ("operation", "trouble"),
    [
        ("Query", refused("InternalServerError", 500)),
        ("Query", timed_out()),
        ("Query", refused("KMSDisabledException")),
        ("BatchGetItem", refused("ProvisionedThroughputExceededException")),
    ],
    ids=["refused", "silent", "key", "throttled"],
)
def test_row_75_an_outage_of_ours_longer_than_any_count_of_receives(
    tenant: Tenant, receiver: MakeReceiver, operation: str, trouble: Act
) -> None:
    hook = receiver(Answer(200))
    tenant.webhook(hook)
    message = tenant.message(timestamp=None)
    tenant.harness.faults.on(operation, trouble, about=tenant.account)
    numbers: dict[str, str] = {}
    delays: list[int] = []
    for tries in range(1, RECEIVES + 1):
        shared = operation == "BatchGetItem"
        assert tenant.dispatch(message, numbers=numbers, shared_fate=shared) == ["m0"]
        assert tenant.received_again == set()
        entry = next(one for one in tenant.sent_again()[::-1] if one["MessageBody"] == message)
        numbers = numbers_of(entry)
        delays.append(entry["DelaySeconds"])
        assert numbers[TRIES] == str(tries)
    assert delays == sorted(delays)
    assert (5 <= delays[0] <= 6, delays[-1] >= 640) == (True, True)
    assert tenant.rejected() == {}
    assert hook.requests == []

    tenant.harness.faults.clear()
    assert tenant.dispatch(message, numbers=numbers) == []
    assert tenant.dispatch(message) == []
    assert len(hook.requests) == 1
    # As at its first arrival, from which its time and its ids are derived.
    assert hook.requests[0].json["timestamp"] == "2025-12-21T10:30:00.000Z"
    assert numbers[ARRIVED_AT] == "1766313000000"


def test_row_75_after_four_days_it_lies_where_a_redrive_finds_it(
    tenant: Tenant, receiver: MakeReceiver
) -> None:
    hook = receiver(Answer(200))
    tenant.webhook(hook)
    tenant.harness.faults.on("Query", refused("InternalServerError", 500), about=tenant.account)
    old = {TRIES: 420, ARRIVED_AT: 1_766_313_000_000 - 5 * 86_400_000}
    assert tenant.dispatch(tenant.message(), numbers=old) == []
    assert tenant.rejected() == {tenant.message(): "gave_up"}
    tenant.harness.faults.clear()
    # A redrive begins with no tries: it outlasts a short fault again.
    assert tenant.dispatch(tenant.message(), numbers={ARRIVED_AT: old[ARRIVED_AT]}) == []
    assert len(hook.requests) == 1


def test_row_76_a_message_that_kills_its_dispatcher_harms_no_other(
    tenant: Tenant, receiver: MakeReceiver
) -> None:
    """The other one is delivered, recorded and off the queue when the dispatcher is killed."""
    hook = receiver(Answer(200))
    tenant.webhook(hook)
    other = samples.event_text(account_id=tenant.bystander, transaction_id="txn_other")
    records = received(tenant, (tenant.message(), {SUSPICIONS: 1}), (other, {}))
    about = f'"S": "{tenant.account}"'
    tenant.log.add(
        run_victim(
            tenant.harness.aws.settings, {"Records": records}, f"{BEFORE} Query", about=about
        )
    )
    assert tenant.bystander_arrived("txn_other")
    assert hook.requests == []
    assert left_on_the_queue(tenant) == 1
    # The fault is over: the message's next receive delivers it.
    assert tenant.dispatch(tenant.message(), receive_count=2, numbers={SUSPICIONS: 1}) == []
    assert len(hook.requests) == 1


def test_row_76_a_suspect_is_sent_again_before_anything_can_kill(
    tenant: Tenant, receiver: MakeReceiver
) -> None:
    hook = receiver(Answer(200))
    tenant.webhook(hook)
    assert tenant.dispatch(tenant.message(), receive_count=3, numbers={TRIES: 2}) == ["m0"]
    [entry] = tenant.sent_again()
    numbers = numbers_of(entry)
    assert numbers == {TRIES: "2", SUSPICIONS: "1", ARRIVED_AT: "1766313000000"}
    assert hook.requests == []
    # It was not the message's fault: its next receive delivers it.
    assert tenant.dispatch(tenant.message(), numbers=numbers) == []
    assert len(hook.requests) == 1


def test_row_76_with_five_suspicions_it_is_dead_lettered_as_killed(
    tenant: Tenant, receiver: MakeReceiver
) -> None:
    hook = receiver(Answer(200))
    tenant.webhook(hook)
    assert tenant.dispatch(tenant.message(), receive_count=3, numbers={SUSPICIONS: 4}) == []
    assert tenant.rejected() == {tenant.message(): "killed"}
    assert hook.requests == []


def test_row_77_what_cannot_be_sent_again_either_is_received_again(
    tenant: Tenant, receiver: MakeReceiver
) -> None:
    hook = receiver(Answer(200))
    tenant.webhook(hook)
    tenant.harness.faults.on("Query", refused("InternalServerError", 500), about=tenant.account)
    tenant.harness.faults.on("SendMessageBatch", refused("ServiceUnavailable", 503))
    assert tenant.dispatch(tenant.message()) == ["m0"]
    assert tenant.received_again == {"m0"}
    tenant.harness.faults.clear()
    assert tenant.dispatch(tenant.message(), receive_count=2) == []
    assert len(hook.requests) == 1
    assert tenant.rejected() == {}


def test_row_77_a_suspect_that_cannot_be_sent_again_is_handled_last(
    tenant: Tenant, receiver: MakeReceiver
) -> None:
    """Otherwise an outage of sending alone would keep it from delivery."""
    hook = receiver(Answer(200))
    tenant.webhook(hook)
    tenant.harness.faults.on("SendMessageBatch", refused("ServiceUnavailable", 503))
    tenant.dispatch(tenant.message(), receive_count=30)
    assert tenant.received_again == set()
    assert len(hook.requests) == 1
    assert tenant.delivery().status is Status.SUCCEEDED
    assert one_event(*hook.requests)


def numbers_of(entry: dict[str, Any]) -> dict[str, str]:
    """Return the attributes of a message that was sent."""
    return {name: one["StringValue"] for name, one in entry["MessageAttributes"].items()}


def received(tenant: Tenant, *messages: tuple[str, dict[str, int]]) -> list[dict[str, Any]]:
    """Put messages on the queue, and receive them in the mapping's form."""
    sqs, url = tenant.harness.aws.clients["sqs"], tenant.harness.aws.settings.events_queue_url
    for body, numbers in messages:
        attributes: Any = {
            name: {"DataType": "Number", "StringValue": str(number)}
            for name, number in numbers.items()
        }
        sqs.send_message(QueueUrl=url, MessageBody=body, MessageAttributes=attributes)
    answer = sqs.receive_message(
        QueueUrl=url,
        MaxNumberOfMessages=10,
        VisibilityTimeout=600,
        MessageAttributeNames=["All"],
        MessageSystemAttributeNames=["All"],
    )
    records = [to_record(message, "arn") for message in answer["Messages"]]
    assert len(records) == len(messages)
    return json.loads(json.dumps(records))  # type: ignore[no-any-return]


def left_on_the_queue(tenant: Tenant) -> int:
    """Return how many messages are held by a receive and not deleted."""
    name = "ApproximateNumberOfMessagesNotVisible"
    url = tenant.harness.aws.settings.events_queue_url
    answer = tenant.harness.aws.clients["sqs"].get_queue_attributes(
        QueueUrl=url, AttributeNames=[name]
    )
    return int(answer["Attributes"][name])
