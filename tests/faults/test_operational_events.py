"""Row 94: operational events that EventBridge refuses, or whose answer is lost."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from support.faults import SDK_TRIES, answer_lost, entries_refused, refused, timed_out
from support.receiver import Answer
from webhooks.adapters.dynamodb.item_keys import KEPT_EVENTS

if TYPE_CHECKING:
    from collections.abc import Callable

    from faults.fault_harness import Tenant
    from support.faults import Act
    from support.receiver import Receiver

    MakeReceiver = Callable[..., Receiver]

SWEEP = {"version": 1, "action": "sweep"}


def kept(tenant: Tenant) -> list[dict[str, Any]]:
    with tenant.harness.faults.out_of_the_way():
        found = tenant.harness.aws.clients["dynamodb"].query(
            TableName=tenant.harness.aws.settings.deliveries_table,
            KeyConditionExpression="#owner = :owner",
            ExpressionAttributeNames={"#owner": "owner"},
            ExpressionAttributeValues={":owner": {"S": KEPT_EVENTS}},
        )
    return [item for item in found["Items"] if item["account_id"]["S"] == tenant.account]


def put(tenant: Tenant) -> list[str]:
    """Return the details of the account's events in all requests, the SDK's own tries included."""
    return [
        entry["Detail"]
        for operation, body in tenant.harness.faults.sent
        if operation == "PutEvents"
        for entry in body["Entries"]
        if tenant.account in entry["Detail"]
    ]


def gone(tenant: Tenant, receiver: MakeReceiver) -> None:
    """Disable a webhook through its receiver's 410, which publishes one event."""
    tenant.webhook(receiver(Answer(410)))
    assert tenant.dispatch(tenant.message()) == []


@pytest.mark.parametrize(
    ("trouble", "tries"),
    [
        (entries_refused(), 1),
        (refused("InternalException", 500), SDK_TRIES),
        (refused("AccessDeniedException"), 1),
        (timed_out(), SDK_TRIES),
        (answer_lost(), SDK_TRIES),
    ],
    ids=["in_part", "failed", "denied", "silent", "answer_lost"],
)
def test_row_94_an_event_that_is_not_taken_is_published_by_the_sweep(
    tenant: Tenant, receiver: MakeReceiver, trouble: Act, tries: int
) -> None:
    tenant.harness.faults.on("PutEvents", trouble, about=tenant.account)
    gone(tenant, receiver)
    assert len(put(tenant)) == tries
    [item] = kept(tenant)
    assert item["type"] == {"S": "webhook.disabled"}
    [line] = tenant.log.lines("operational_event_kept")
    assert (line["type"], line["account_id"]) == ("webhook.disabled", tenant.account)
    # While EventBridge is out of order, a sweep completes and leaves the event kept.
    tenant.retry(SWEEP)
    assert len(kept(tenant)) == 1

    before = put(tenant)
    tenant.harness.faults.clear()
    tenant.retry(SWEEP)
    assert put(tenant) == before[:1], "the same event, with the time at which it happened"
    assert json.loads(before[0])["reason"] == "gone"
    assert kept(tenant) == []
    tenant.retry(SWEEP)
    assert len(put(tenant)) == 1


def test_row_94_an_event_that_cannot_be_kept_either_is_in_the_log_whole(
    tenant: Tenant, receiver: MakeReceiver
) -> None:
    tenant.harness.faults.on("PutEvents", timed_out(), about=tenant.account)
    tenant.harness.faults.on("PutItem", refused("InternalServerError", 500), about=KEPT_EVENTS)
    gone(tenant, receiver)
    assert kept(tenant) == []
    [line] = tenant.log.lines("operational_event_lost")
    assert (line["type"], line["facts"]) == ("webhook.disabled", {"reason": "gone"})
    assert '"LostOperationalEvents":[1.0]' in tenant.log.text


def test_row_94_the_answer_to_the_keeping_is_lost(tenant: Tenant, receiver: MakeReceiver) -> None:
    tenant.harness.faults.on("PutEvents", timed_out(), about=tenant.account)
    tenant.harness.faults.on("PutItem", answer_lost(), about=KEPT_EVENTS, times=1)
    gone(tenant, receiver)
    assert len(kept(tenant)) == 1
    assert tenant.log.lines("operational_event_lost") == []
