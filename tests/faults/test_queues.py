"""Rows 56 and 58: a flood of one account, and a queue that takes only part of a batch."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from support.faults import refused, unprocessed
from support.receiver import Answer
from support.stack import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.receiver import Receiver, Request
    from support.stand import Case

    MakeReceiver = Callable[..., Receiver]

EVENTS = "/api/v1/events"


def test_row_56_a_slow_account_holds_up_no_other_in_its_batch(
    case: Case, receiver: MakeReceiver
) -> None:
    """The slow receiver answers only when the other account's delivery is in the log."""

    def answer(_: Request) -> Answer:
        eventually(case.bystander_arrived, "the other account's record", timeout=4.0)
        return Answer(200)

    hook = receiver(answer)
    case.webhook(hook)
    messages = [case.message(f"txn_{number}") for number in range(9)]
    assert case.dispatch(*messages) == []
    assert len(hook.requests) == 9
    assert [attempt.error for one in case.deliveries() for attempt in one.attempts] == [None] * 9


def test_row_56_each_account_is_a_group_of_the_queue(case: Case) -> None:
    """What SQS's fair queueing goes by; that it is fair only a real queue shows."""
    assert published(case, "txn_1", "txn_2").status == 202
    assert case.message_groups() == {case.account}
    assert len(taken(case)) == 2


def test_row_58_what_a_batch_left_is_sent_again_and_nothing_twice(case: Case) -> None:
    case.stand.faults.on("SendMessageBatch", unprocessed("txn_2"), times=1)
    answer = published(case, "txn_1", "txn_2", "txn_3")
    assert answer.status == 202
    assert [one["status"] for one in answer.data] == ["accepted"] * 3
    assert sorted(one["transaction_id"] for one in taken(case)) == ["txn_1", "txn_2", "txn_3"]
    [_, second] = [body for name, body in case.stand.faults.sent if name == "SendMessageBatch"]
    assert ["txn_2" in entry["MessageBody"] for entry in second["Entries"]] == [True]


def test_row_58_what_the_queue_never_takes_is_named_and_can_be_sent_again(case: Case) -> None:
    case.stand.faults.on("SendMessageBatch", unprocessed("txn_2"))
    answer = published(case, "txn_1", "txn_2", "txn_3")
    statuses = [one["status"] for one in answer.data]
    assert (statuses[0], statuses[2]) == ("accepted", "accepted")
    assert statuses[1] != "accepted"
    case.stand.faults.clear()

    assert [one["status"] for one in published(case, "txn_2").data] == ["accepted"]
    assert sorted(one["transaction_id"] for one in taken(case)) == ["txn_1", "txn_2", "txn_3"]


def test_row_58_a_queue_that_does_not_answer_takes_nothing(case: Case) -> None:
    case.stand.faults.on("SendMessageBatch", refused("ServiceUnavailable", 503))
    answer = published(case, "txn_1", "txn_2")
    assert answer.status == 503
    assert answer.error["code"] == "unavailable"
    case.stand.faults.clear()
    assert taken(case) == []


def published(case: Case, *transactions: str) -> Any:
    """Publish events over the API."""
    case.log.add("published\n")
    return case.acme.call(
        "POST", EVENTS, json=[json.loads(case.message(name)) for name in transactions]
    )


def taken(case: Case) -> list[dict[str, Any]]:
    """Take every message off the events queue, twice those that are there twice."""
    return [json.loads(text) for text in case.stand.aws.queued()]
