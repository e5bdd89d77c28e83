"""Rows 73 and 74: more deliveries than an invocation has time for, and reads that are slow."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

import dispatcher.handler
from faults.fault_harness import one_event
from faults.killed_process import AFTER, BEFORE, run_victim
from faults.running_out import RunningOut
from support.backend import sqs_event
from webhooks.domain.delivery import Status
from webhooks.domain.resending import ARRIVED_AT
from webhooks.domain.shard import MOST_AT_ONCE, SHARD_WEBHOOKS
from webhooks.services.dispatch.leftovers import UNREAD_DELAY_SECONDS
from webhooks.wiring.dispatcher import DispatcherServices

if TYPE_CHECKING:
    from collections.abc import Callable

    from faults.fault_harness import Tenant
    from support.receiver import Receiver

    MakeReceiver = Callable[..., Receiver]

READING_MS = 40_000
"""Time for attempts, but the five seconds for reads of one kind are over."""


def put_back(tenant: Tenant) -> list[str]:
    """Return the account's messages that the dispatcher sent to the queue, delayed ones too."""
    return [
        entry["MessageBody"]
        for operation, body in tenant.harness.faults.sent
        if operation == "SendMessageBatch"
        for entry in body["Entries"]
        if entry["MessageGroupId"] == tenant.account
    ]


def in_batches(tenant: Tenant, texts: list[str]) -> None:
    for start in range(0, len(texts), 10):
        assert tenant.dispatch(*texts[start : start + 10]) == []


def assert_each_arrived_once(tenant: Tenant, hook: Receiver, number: int) -> None:
    ids = [request.headers["x-sendcomms-delivery"] for request in hook.requests]
    assert len(ids) == len(set(ids)) == number
    assert [one.status for one in tenant.deliveries()] == [Status.SUCCEEDED] * number
    assert tenant.executions() == []
    assert tenant.rejected() == {}


def test_row_73_a_batch_of_more_deliveries_than_its_time(
    tenant: Tenant, receiver: MakeReceiver
) -> None:
    hook = receiver()
    tenant.webhooks(hook, 20)
    messages = [tenant.message(f"txn_{number}") for number in range(5)]
    context: Any = RunningOut(asked=6 + 9 + 30)
    assert tenant.dispatch(*messages, context=context) == []
    assert 0 < len(hook.requests) < 5 * 20
    left = tenant.harness.aws.queued()
    assert 0 < len(left) <= 5
    in_batches(tenant, left)
    assert tenant.harness.aws.queued() == []
    assert_each_arrived_once(tenant, hook, 5 * 20)


def test_row_73_a_message_of_many_events_and_webhooks_is_divided(
    tenant: Tenant, receiver: MakeReceiver
) -> None:
    hook = receiver()
    tenant.webhooks(hook, 6)
    array = f"[{','.join(tenant.message(f'txn_{number}') for number in range(20))}]"
    assert tenant.dispatch(array) == []
    assert hook.requests == []
    parts = tenant.harness.aws.queued()
    assert len(parts) == 20
    assert tenant.message_groups() == {tenant.account}
    in_batches(tenant, parts)
    assert_each_arrived_once(tenant, hook, 20 * 6)


@pytest.mark.parametrize("when", [BEFORE, AFTER])
def test_row_73_killed_around_sending_what_is_left(
    tenant: Tenant, receiver: MakeReceiver, when: str
) -> None:
    """It did not acknowledge the message, which returns in addition to the rest of it."""
    hook = receiver()
    tenant.webhooks(hook, 80)
    batch = sqs_event(tenant.message())
    killed = f"{when} SendMessageBatch"
    settings = tenant.harness.aws.settings
    tenant.log.add(run_victim(settings, batch, killed, about=tenant.account, asked=8 + 30))
    at_first = len(hook.requests)
    assert at_first < 80
    left = tenant.harness.aws.queued()
    assert len(left) == (1 if when == AFTER else 0)
    in_batches(tenant, [*left, tenant.message()])
    posts = Counter(one.headers["x-sendcomms-delivery"] for one in hook.requests)
    assert len(posts) == 80
    assert max(posts.values()) <= 2
    assert sum(posts.values()) <= 80 + at_first
    assert len({one.body for one in hook.requests}) == 1
    assert [one.status for one in tenant.deliveries()] == [Status.SUCCEEDED] * 80


def test_row_73_what_is_left_twice_at_once_is_two_posts_of_the_same_at_most(
    tenant: Tenant, receiver: MakeReceiver
) -> None:
    hook = receiver()
    tenant.webhook(hook)
    context: Any = RunningOut(asked=3 + 5 + 4)
    assert tenant.dispatch(tenant.message(), tenant.message("txn_2"), context=context) == []
    [left] = put_back(tenant)
    before = len(hook.requests)
    assert tenant.dispatch(left, left) == []
    assert tenant.dispatch(left) == []
    assert len(hook.requests) == before + 1
    assert one_event(hook.requests[-1])


def test_row_74_claims_that_are_slow_go_on_in_a_message_of_their_own(
    tenant: Tenant, receiver: MakeReceiver
) -> None:
    hook = receiver()
    tenant.webhook(hook)
    documents = [tenant.message(f"txn_{n}", id=f"own-{n}", timestamp=None) for n in range(20)]
    context: Any = RunningOut(asked=3 + 2 * 5, left_ms=READING_MS)
    assert tenant.dispatch(f"[{','.join(documents)}]", context=context) == []
    assert 0 < len(hook.requests) < 20
    [text] = put_back(tenant)
    left = [json.loads(one) for one in documents]
    assert [one for one in json.loads(text) if one not in left] == []
    assert len(json.loads(text)) == 20 - len(hook.requests)
    assert tenant.dispatch(text) == []
    assert_each_arrived_once(tenant, hook, 20)


def test_row_74_webhooks_that_are_slow_to_read_have_their_events_come_again(
    tenant: Tenant, receiver: MakeReceiver
) -> None:
    hook = receiver()
    wide = MOST_AT_ONCE + SHARD_WEBHOOKS
    tenant.webhooks(hook, wide)
    assert tenant.dispatch(tenant.message()) == []
    shards = tenant.harness.aws.queued()
    tenant.harness.faults.sent.clear()
    context: Any = RunningOut(asked=10 + 1 + 1 + 2 * 4, left_ms=READING_MS)
    assert tenant.dispatch(*shards[:9], context=context) == []
    assert 0 < len(hook.requests) < 90
    left = put_back(tenant)
    assert set(left) < set(shards)
    in_batches(tenant, [*left, *shards[9:]])
    assert_each_arrived_once(tenant, hook, wide)


def test_row_74_records_that_are_slow_to_read_have_their_deliveries_come_again(
    tenant: Tenant, receiver: MakeReceiver
) -> None:
    hook = receiver()
    tenant.webhooks(hook, 60)
    messages = [tenant.message(f"txn_{number}") for number in range(3)]
    context: Any = RunningOut(asked=4 + 3 + 3, left_ms=READING_MS)
    assert tenant.dispatch(*messages, context=context) == []
    assert len(hook.requests) == MOST_AT_ONCE - 1
    in_batches(tenant, put_back(tenant))
    assert_each_arrived_once(tenant, hook, 180)


def test_row_74_there_is_no_time_to_read_a_message(tenant: Tenant, receiver: MakeReceiver) -> None:
    hook = receiver()
    tenant.webhook(hook)
    batch = sqs_event(tenant.message(timestamp=None))
    services = tenant.harness.services(DispatcherServices)
    answer = dispatcher.handler.handle(batch, RunningOut(asked=0), services)  # type: ignore[arg-type]
    assert answer == {"batchItemFailures": []}
    assert hook.requests == []
    [body] = [
        body for operation, body in tenant.harness.faults.sent if operation == "SendMessageBatch"
    ]
    [entry] = body["Entries"]
    assert entry["MessageBody"] == batch["Records"][0]["body"]
    arrived = entry["MessageAttributes"][ARRIVED_AT]["StringValue"]
    assert arrived == batch["Records"][0]["attributes"]["SentTimestamp"]
    assert entry["DelaySeconds"] == UNREAD_DELAY_SECONDS
