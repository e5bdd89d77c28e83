"""Rows 73 and 74: more deliveries than an invocation has time for, and reads that are slow."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

import dispatcher.handler
from support.backend import sqs_event
from support.fault_harness import one_event
from support.killed_process import AFTER, BEFORE, run_victim
from support.running_out import RunningOut
from webhooks.domain.delivery import Status
from webhooks.domain.resending import ARRIVED_AT
from webhooks.domain.shard import MOST_AT_ONCE, SHARD_WEBHOOKS
from webhooks.services.dispatch.leftovers import UNREAD_DELAY_SECONDS
from webhooks.wiring.dispatcher import DispatcherServices

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.fault_harness import Case
    from support.receiver import Receiver

    MakeReceiver = Callable[..., Receiver]

READING_MS = 40_000
"""Time for attempts, but the five seconds for reads of one kind are over."""


def put_back(case: Case) -> list[str]:
    """Return the account's messages that the dispatcher sent to the queue, delayed ones too."""
    return [
        entry["MessageBody"]
        for operation, body in case.stand.faults.sent
        if operation == "SendMessageBatch"
        for entry in body["Entries"]
        if entry["MessageGroupId"] == case.account
    ]


def in_batches(case: Case, texts: list[str]) -> None:
    for start in range(0, len(texts), 10):
        assert case.dispatch(*texts[start : start + 10]) == []


def assert_each_arrived_once(case: Case, hook: Receiver, number: int) -> None:
    ids = [request.headers["x-sendcomms-delivery"] for request in hook.requests]
    assert len(ids) == len(set(ids)) == number
    assert [one.status for one in case.deliveries()] == [Status.SUCCEEDED] * number
    assert case.executions() == []
    assert case.rejected() == {}


def test_row_73_a_batch_of_more_deliveries_than_its_time(
    case: Case, receiver: MakeReceiver
) -> None:
    hook = receiver()
    case.webhooks(hook, 20)
    messages = [case.message(f"txn_{number}") for number in range(5)]
    context: Any = RunningOut(asked=6 + 9 + 30)
    assert case.dispatch(*messages, context=context) == []
    assert 0 < len(hook.requests) < 5 * 20
    left = case.stand.aws.queued()
    assert 0 < len(left) <= 5
    in_batches(case, left)
    assert case.stand.aws.queued() == []
    assert_each_arrived_once(case, hook, 5 * 20)


def test_row_73_a_message_of_many_events_and_webhooks_is_divided(
    case: Case, receiver: MakeReceiver
) -> None:
    hook = receiver()
    case.webhooks(hook, 6)
    array = f"[{','.join(case.message(f'txn_{number}') for number in range(20))}]"
    assert case.dispatch(array) == []
    assert hook.requests == []
    parts = case.stand.aws.queued()
    assert len(parts) == 20
    assert case.message_groups() == {case.account}
    in_batches(case, parts)
    assert_each_arrived_once(case, hook, 20 * 6)


@pytest.mark.parametrize("when", [BEFORE, AFTER])
def test_row_73_killed_around_sending_what_is_left(
    case: Case, receiver: MakeReceiver, when: str
) -> None:
    """It did not acknowledge the message, which returns in addition to the rest of it."""
    hook = receiver()
    case.webhooks(hook, 80)
    batch = sqs_event(case.message())
    killed = f"{when} SendMessageBatch"
    settings = case.stand.aws.settings
    case.log.add(run_victim(settings, batch, killed, about=case.account, asked=8 + 30))
    at_first = len(hook.requests)
    assert at_first < 80
    left = case.stand.aws.queued()
    assert len(left) == (1 if when == AFTER else 0)
    in_batches(case, [*left, case.message()])
    posts = Counter(one.headers["x-sendcomms-delivery"] for one in hook.requests)
    assert len(posts) == 80
    assert max(posts.values()) <= 2
    assert sum(posts.values()) <= 80 + at_first
    assert len({one.body for one in hook.requests}) == 1
    assert [one.status for one in case.deliveries()] == [Status.SUCCEEDED] * 80


def test_row_73_what_is_left_twice_at_once_is_two_posts_of_the_same_at_most(
    case: Case, receiver: MakeReceiver
) -> None:
    hook = receiver()
    case.webhook(hook)
    context: Any = RunningOut(asked=3 + 5 + 4)
    assert case.dispatch(case.message(), case.message("txn_2"), context=context) == []
    [left] = put_back(case)
    before = len(hook.requests)
    assert case.dispatch(left, left) == []
    assert case.dispatch(left) == []
    assert len(hook.requests) == before + 1
    assert one_event(hook.requests[-1])


def test_row_74_claims_that_are_slow_go_on_in_a_message_of_their_own(
    case: Case, receiver: MakeReceiver
) -> None:
    hook = receiver()
    case.webhook(hook)
    documents = [case.message(f"txn_{n}", id=f"own-{n}", timestamp=None) for n in range(20)]
    context: Any = RunningOut(asked=3 + 2 * 5, left_ms=READING_MS)
    assert case.dispatch(f"[{','.join(documents)}]", context=context) == []
    assert 0 < len(hook.requests) < 20
    [text] = put_back(case)
    left = [json.loads(one) for one in documents]
    assert [one for one in json.loads(text) if one not in left] == []
    assert len(json.loads(text)) == 20 - len(hook.requests)
    assert case.dispatch(text) == []
    assert_each_arrived_once(case, hook, 20)


def test_row_74_webhooks_that_are_slow_to_read_have_their_events_come_again(
    case: Case, receiver: MakeReceiver
) -> None:
    hook = receiver()
    wide = MOST_AT_ONCE + SHARD_WEBHOOKS
    case.webhooks(hook, wide)
    assert case.dispatch(case.message()) == []
    shards = case.stand.aws.queued()
    case.stand.faults.sent.clear()
    context: Any = RunningOut(asked=10 + 1 + 1 + 2 * 4, left_ms=READING_MS)
    assert case.dispatch(*shards[:9], context=context) == []
    assert 0 < len(hook.requests) < 90
    left = put_back(case)
    assert set(left) < set(shards)
    in_batches(case, [*left, *shards[9:]])
    assert_each_arrived_once(case, hook, wide)


def test_row_74_records_that_are_slow_to_read_have_their_deliveries_come_again(
    case: Case, receiver: MakeReceiver
) -> None:
    hook = receiver()
    case.webhooks(hook, 60)
    messages = [case.message(f"txn_{number}") for number in range(3)]
    context: Any = RunningOut(asked=4 + 3 + 3, left_ms=READING_MS)
    assert case.dispatch(*messages, context=context) == []
    assert len(hook.requests) == MOST_AT_ONCE - 1
    in_batches(case, put_back(case))
    assert_each_arrived_once(case, hook, 180)


def test_row_74_there_is_no_time_to_read_a_message(case: Case, receiver: MakeReceiver) -> None:
    hook = receiver()
    case.webhook(hook)
    batch = sqs_event(case.message(timestamp=None))
    services = case.stand.services(DispatcherServices)
    answer = dispatcher.handler.handle(batch, RunningOut(asked=0), services)  # type: ignore[arg-type]
    assert answer == {"batchItemFailures": []}
    assert hook.requests == []
    [body] = [body for operation, body in case.stand.faults.sent if operation == "SendMessageBatch"]
    [entry] = body["Entries"]
    assert entry["MessageBody"] == batch["Records"][0]["body"]
    arrived = entry["MessageAttributes"][ARRIVED_AT]["StringValue"]
    assert arrived == batch["Records"][0]["attributes"]["SentTimestamp"]
    assert entry["DelaySeconds"] == UNREAD_DELAY_SECONDS
