"""Rows 56 and 58: a flood of one account, and a queue that takes only part of a batch."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from support import samples
from support.faults import answer_lost, refused, unprocessed
from support.receiver import Answer
from support.stack import eventually
from webhooks.domain.resending import ARRIVED_AT
from webhooks.domain.shard import is_part
from webhooks.services.dispatch.fair_queueing import MOST_UNGROUPED

if TYPE_CHECKING:
    from collections.abc import Callable

    from faults.fault_harness import Tenant
    from support.receiver import Receiver, Request

    MakeReceiver = Callable[..., Receiver]

EVENTS = "/api/v1/events"


def test_row_56_a_slow_account_holds_up_no_other_in_its_batch(
    tenant: Tenant, receiver: MakeReceiver
) -> None:
    """The slow receiver answers only when the other account's delivery is in the log."""

    def answer(_: Request) -> Answer:
        eventually(tenant.bystander_arrived, "the other account's record", timeout=4.0)
        return Answer(200)

    hook = receiver(answer)
    tenant.webhook(hook)
    messages = [tenant.message(f"txn_{number}") for number in range(9)]
    assert tenant.dispatch(*messages) == []
    assert len(hook.requests) == 9
    assert [attempt.error for one in tenant.deliveries() for attempt in one.attempts] == [None] * 9


def test_row_56_each_account_is_a_group_of_the_queue(tenant: Tenant) -> None:
    """SQS's fair queueing uses the group; only a real queue shows that it is fair."""
    assert published(tenant, "txn_1", "txn_2").status == 202
    assert tenant.message_groups() == {tenant.account}
    assert len(taken(tenant)) == 2


def test_row_56_a_flood_without_a_group_goes_back_in_its_accounts_group(
    tenant: Tenant, receiver: MakeReceiver
) -> None:
    hook = receiver()
    tenant.webhook(hook)
    assert tenant.dispatch(*flood(tenant), grouped=False) == []
    assert len(hook.requests) == MOST_UNGROUPED
    [entry, *_] = back = put_back(tenant)
    assert len(back) == 5
    assert {one["MessageGroupId"] for one in back} == {tenant.account}
    assert all("DelaySeconds" not in one for one in back)
    arrived = int(entry["MessageAttributes"][ARRIVED_AT]["StringValue"])
    assert arrived == samples.NOW_MS + MOST_UNGROUPED
    assert tenant.dispatch(*[one["MessageBody"] for one in back], grouped=False) == []
    assert len(put_back(tenant)) == 5
    assert transactions(hook) == sorted(f"txn_{one}" for one in range(MOST_UNGROUPED + 5))


@pytest.mark.parametrize(
    "fault", [refused("ServiceUnavailable", 503), refused("AccessDenied", 403), answer_lost()]
)
def test_row_56_a_flood_that_the_queue_does_not_take_back_is_delivered_once(
    tenant: Tenant, receiver: MakeReceiver, fault: Any
) -> None:
    hook = receiver()
    tenant.webhook(hook)
    tenant.harness.faults.on("SendMessageBatch", fault, about=tenant.account)
    assert tenant.dispatch(*flood(tenant), grouped=False) == []
    tenant.harness.faults.clear()
    # If only the answer was lost, the messages on the queue are found recorded.
    for text in tenant.harness.aws.queued():
        assert tenant.dispatch(text, grouped=False) == []
    assert transactions(hook) == sorted(f"txn_{one}" for one in range(MOST_UNGROUPED + 5))
    assert len(tenant.deliveries()) == MOST_UNGROUPED + 5


def test_row_58_what_a_batch_left_is_sent_again_and_nothing_twice(tenant: Tenant) -> None:
    tenant.harness.faults.on("SendMessageBatch", unprocessed("txn_2"), times=1)
    answer = published(tenant, "txn_1", "txn_2", "txn_3")
    assert answer.status == 202
    assert [one["status"] for one in answer.data] == ["accepted"] * 3
    assert sorted(one["transaction_id"] for one in taken(tenant)) == ["txn_1", "txn_2", "txn_3"]
    [_, second] = [body for name, body in tenant.harness.faults.sent if name == "SendMessageBatch"]
    assert ["txn_2" in entry["MessageBody"] for entry in second["Entries"]] == [True]


def test_row_58_what_the_queue_never_takes_is_named_and_can_be_sent_again(tenant: Tenant) -> None:
    tenant.harness.faults.on("SendMessageBatch", unprocessed("txn_2"))
    answer = published(tenant, "txn_1", "txn_2", "txn_3")
    statuses = [one["status"] for one in answer.data]
    assert (statuses[0], statuses[2]) == ("accepted", "accepted")
    assert statuses[1] != "accepted"
    tenant.harness.faults.clear()

    assert [one["status"] for one in published(tenant, "txn_2").data] == ["accepted"]
    assert sorted(one["transaction_id"] for one in taken(tenant)) == ["txn_1", "txn_2", "txn_3"]


def test_row_58_a_queue_that_does_not_answer_takes_nothing(tenant: Tenant) -> None:
    tenant.harness.faults.on("SendMessageBatch", refused("ServiceUnavailable", 503))
    answer = published(tenant, "txn_1", "txn_2")
    assert answer.status == 503
    assert answer.error["code"] == "unavailable"
    tenant.harness.faults.clear()
    assert taken(tenant) == []


def flood(tenant: Tenant) -> list[str]:
    """Return a few messages more than a process delivers without a group."""
    return [tenant.message(f"txn_{number}") for number in range(MOST_UNGROUPED + 5)]


def put_back(tenant: Tenant) -> list[dict[str, Any]]:
    """Return the account's messages that went back to the queue."""
    return [
        entry
        for operation, body in tenant.harness.faults.sent
        if operation == "SendMessageBatch"
        for entry in body["Entries"]
        if is_part(json.loads(entry["MessageBody"])) and entry["MessageGroupId"] == tenant.account
    ]


def transactions(hook: Receiver) -> list[str]:
    return sorted(json.loads(one.body)["transaction_id"] for one in hook.requests)


def published(tenant: Tenant, *transactions: str) -> Any:
    """Publish events over the API."""
    tenant.log.add("published\n")
    return tenant.acme.call(
        "POST", EVENTS, json=[json.loads(tenant.message(name)) for name in transactions]
    )


def taken(tenant: Tenant) -> list[dict[str, Any]]:
    """Take every message off the events queue; a duplicate counts twice."""
    return [json.loads(text) for text in tenant.harness.aws.queued()]
