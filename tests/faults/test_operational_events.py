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

    from support.fault_harness import Case
    from support.faults import Act
    from support.receiver import Receiver

    MakeReceiver = Callable[..., Receiver]

SWEEP = {"version": 1, "action": "sweep"}


def kept(case: Case) -> list[dict[str, Any]]:
    with case.stand.faults.out_of_the_way():
        found = case.stand.aws.clients["dynamodb"].query(
            TableName=case.stand.aws.settings.deliveries_table,
            KeyConditionExpression="#owner = :owner",
            ExpressionAttributeNames={"#owner": "owner"},
            ExpressionAttributeValues={":owner": {"S": KEPT_EVENTS}},
        )
    return [item for item in found["Items"] if item["account_id"]["S"] == case.account]


def put(case: Case) -> list[str]:
    """Return the details of the account's events in all requests, the SDK's own tries included."""
    return [
        entry["Detail"]
        for operation, body in case.stand.faults.sent
        if operation == "PutEvents"
        for entry in body["Entries"]
        if case.account in entry["Detail"]
    ]


def gone(case: Case, receiver: MakeReceiver) -> None:
    """Disable a webhook through its receiver's 410, which publishes one event."""
    case.webhook(receiver(Answer(410)))
    assert case.dispatch(case.message()) == []


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
    case: Case, receiver: MakeReceiver, trouble: Act, tries: int
) -> None:
    case.stand.faults.on("PutEvents", trouble, about=case.account)
    gone(case, receiver)
    assert len(put(case)) == tries
    [item] = kept(case)
    assert item["type"] == {"S": "webhook.disabled"}
    [line] = case.log.lines("operational_event_kept")
    assert (line["type"], line["account_id"]) == ("webhook.disabled", case.account)
    # While EventBridge is out of order, a sweep completes and leaves the event kept.
    case.retry(SWEEP)
    assert len(kept(case)) == 1

    before = put(case)
    case.stand.faults.clear()
    case.retry(SWEEP)
    assert put(case) == before[:1], "the same event, with the time at which it happened"
    assert json.loads(before[0])["reason"] == "gone"
    assert kept(case) == []
    case.retry(SWEEP)
    assert len(put(case)) == 1


def test_row_94_an_event_that_cannot_be_kept_either_is_in_the_log_whole(
    case: Case, receiver: MakeReceiver
) -> None:
    case.stand.faults.on("PutEvents", timed_out(), about=case.account)
    case.stand.faults.on("PutItem", refused("InternalServerError", 500), about=KEPT_EVENTS)
    gone(case, receiver)
    assert kept(case) == []
    [line] = case.log.lines("operational_event_lost")
    assert (line["type"], line["facts"]) == ("webhook.disabled", {"reason": "gone"})
    assert '"LostOperationalEvents":[1.0]' in case.log.text


def test_row_94_the_answer_to_the_keeping_is_lost(case: Case, receiver: MakeReceiver) -> None:
    case.stand.faults.on("PutEvents", timed_out(), about=case.account)
    case.stand.faults.on("PutItem", answer_lost(), about=KEPT_EVENTS, times=1)
    gone(case, receiver)
    assert len(kept(case)) == 1
    assert case.log.lines("operational_event_lost") == []
