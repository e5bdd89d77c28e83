"""Row 58 for wide events: shards that the queue accepts in part, and a killed dispatcher."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from faults.fault_harness import one_event
from faults.killed_process import AFTER, BEFORE, run_victim
from support.backend import sqs_event
from support.faults import refused, unprocessed
from webhooks.domain.delivery import Status
from webhooks.domain.shard import MOST_AT_ONCE, SHARD_WEBHOOKS

if TYPE_CHECKING:
    from collections.abc import Callable

    from faults.fault_harness import Tenant
    from support.receiver import Receiver

    MakeReceiver = Callable[..., Receiver]

WIDE = MOST_AT_ONCE + SHARD_WEBHOOKS
SHARDS = WIDE // SHARD_WEBHOOKS
FIRST = "00000000-0000"
"""The beginning of the first shard."""


@pytest.fixture
def hook(tenant: Tenant, receiver: MakeReceiver) -> Receiver:
    """The one receiver of many webhooks."""
    made = receiver()
    tenant.webhooks(made, WIDE)
    return made


def dispatched(tenant: Tenant, texts: list[str]) -> list[str]:
    """Handle messages in batches; returns the messages that failed."""
    batches = [texts[at : at + 10] for at in range(0, len(texts), 10)]
    return [batch[int(name[1:])] for batch in batches for name in tenant.dispatch(*batch)]


def assert_each_got_it_once(tenant: Tenant, hook: Receiver) -> None:
    ids = [request.headers["x-sendcomms-delivery"] for request in hook.requests]
    assert len(ids) == len(set(ids)) == WIDE
    assert len({(one.headers["webhook-id"], one.body) for one in hook.requests}) == 1
    assert [one.status for one in tenant.deliveries()] == [Status.SUCCEEDED] * WIDE
    assert tenant.executions() == []


def test_row_58_shards_that_the_queue_did_not_take_are_sent_again(
    tenant: Tenant, hook: Receiver
) -> None:
    tenant.harness.faults.on("SendMessageBatch", unprocessed(FIRST), about=FIRST, times=1)
    assert tenant.dispatch(tenant.message()) == []
    assert tenant.harness.faults.count("SendMessageBatch", FIRST) == 2
    texts = tenant.harness.aws.queued()
    assert len(texts) == len(set(texts)) == SHARDS
    assert tenant.message_groups() == {tenant.account}
    assert dispatched(tenant, texts) == []
    assert_each_got_it_once(tenant, hook)


@pytest.mark.parametrize("some", [True, False])
def test_row_58_a_message_whose_shards_are_never_all_taken_comes_again(
    tenant: Tenant, hook: Receiver, some: bool
) -> None:
    trouble = unprocessed(FIRST) if some else refused("ServiceUnavailable", 503)
    tenant.harness.faults.on("SendMessageBatch", trouble)
    assert tenant.dispatch(tenant.message()) == ["m0"]
    assert hook.requests == []
    tenant.harness.faults.clear()
    before = tenant.harness.aws.queued()
    assert len(before) == (SHARDS - 1 if some else 0)

    assert tenant.dispatch(tenant.message()) == []
    after = tenant.harness.aws.queued()
    assert len(after) == SHARDS
    assert dispatched(tenant, [*before, *after]) == []
    assert_each_got_it_once(tenant, hook)


@pytest.mark.parametrize("when", [BEFORE, AFTER])
def test_row_58_killed_around_the_queueing_of_shards(
    tenant: Tenant, hook: Receiver, when: str
) -> None:
    """It did not acknowledge the message: all of its shards are sent again, some of them twice."""
    batch = sqs_event(tenant.message())
    about = tenant.account
    tenant.log.add(
        run_victim(tenant.harness.aws.settings, batch, f"{when} SendMessageBatch", about=about)
    )
    assert hook.requests == []
    before = tenant.harness.aws.queued()
    assert dispatched(tenant, before) == []

    assert tenant.dispatch(tenant.message()) == []
    after = tenant.harness.aws.queued()
    assert len(after) == SHARDS
    assert dispatched(tenant, after) == []
    assert_each_got_it_once(tenant, hook)


def test_row_58_a_shard_twice_at_once_is_two_posts_of_the_same_at_most(
    tenant: Tenant, hook: Receiver
) -> None:
    """SQS may deliver it twice, to two dispatchers; one after the other it is sent once."""
    assert tenant.dispatch(tenant.message()) == []
    [first, *_] = tenant.harness.aws.queued()
    assert tenant.dispatch(first, first) == []
    assert tenant.dispatch(first) == []
    assert len(hook.requests) == SHARD_WEBHOOKS
    assert one_event(hook.requests[0])
