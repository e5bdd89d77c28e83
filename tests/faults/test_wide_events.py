"""Row 58 for wide events: shards that the queue accepts in part, and a killed dispatcher."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.backend import sqs_event
from support.fault_harness import one_event
from support.faults import refused, unprocessed
from support.killed_process import AFTER, BEFORE, run_victim
from webhooks.domain.delivery import Status
from webhooks.domain.shard import MOST_AT_ONCE, SHARD_WEBHOOKS

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.fault_harness import Case
    from support.receiver import Receiver

    MakeReceiver = Callable[..., Receiver]

WIDE = MOST_AT_ONCE + SHARD_WEBHOOKS
SHARDS = WIDE // SHARD_WEBHOOKS
FIRST = "00000000-0000"
"""The beginning of the first shard."""


@pytest.fixture
def hook(case: Case, receiver: MakeReceiver) -> Receiver:
    """The one receiver of many webhooks."""
    made = receiver()
    case.webhooks(made, WIDE)
    return made


def dispatched(case: Case, texts: list[str]) -> list[str]:
    """Handle messages in batches; returns the messages that failed."""
    batches = [texts[at : at + 10] for at in range(0, len(texts), 10)]
    return [batch[int(name[1:])] for batch in batches for name in case.dispatch(*batch)]


def assert_each_got_it_once(case: Case, hook: Receiver) -> None:
    ids = [request.headers["x-sendcomms-delivery"] for request in hook.requests]
    assert len(ids) == len(set(ids)) == WIDE
    assert len({(one.headers["webhook-id"], one.body) for one in hook.requests}) == 1
    assert [one.status for one in case.deliveries()] == [Status.SUCCEEDED] * WIDE
    assert case.executions() == []


def test_row_58_shards_that_the_queue_did_not_take_are_sent_again(
    case: Case, hook: Receiver
) -> None:
    case.stand.faults.on("SendMessageBatch", unprocessed(FIRST), about=FIRST, times=1)
    assert case.dispatch(case.message()) == []
    assert case.stand.faults.count("SendMessageBatch", FIRST) == 2
    texts = case.stand.aws.queued()
    assert len(texts) == len(set(texts)) == SHARDS
    assert case.message_groups() == {case.account}
    assert dispatched(case, texts) == []
    assert_each_got_it_once(case, hook)


@pytest.mark.parametrize("some", [True, False])
def test_row_58_a_message_whose_shards_are_never_all_taken_comes_again(
    case: Case, hook: Receiver, some: bool
) -> None:
    trouble = unprocessed(FIRST) if some else refused("ServiceUnavailable", 503)
    case.stand.faults.on("SendMessageBatch", trouble)
    assert case.dispatch(case.message()) == ["m0"]
    assert hook.requests == []
    case.stand.faults.clear()
    before = case.stand.aws.queued()
    assert len(before) == (SHARDS - 1 if some else 0)

    assert case.dispatch(case.message()) == []
    after = case.stand.aws.queued()
    assert len(after) == SHARDS
    assert dispatched(case, [*before, *after]) == []
    assert_each_got_it_once(case, hook)


@pytest.mark.parametrize("when", [BEFORE, AFTER])
def test_row_58_killed_around_the_queueing_of_shards(case: Case, hook: Receiver, when: str) -> None:
    """It did not acknowledge the message: all of its shards are sent again, some of them twice."""
    batch = sqs_event(case.message())
    about = case.account
    case.log.add(
        run_victim(case.stand.aws.settings, batch, f"{when} SendMessageBatch", about=about)
    )
    assert hook.requests == []
    before = case.stand.aws.queued()
    assert dispatched(case, before) == []

    assert case.dispatch(case.message()) == []
    after = case.stand.aws.queued()
    assert len(after) == SHARDS
    assert dispatched(case, after) == []
    assert_each_got_it_once(case, hook)


def test_row_58_a_shard_twice_at_once_is_two_posts_of_the_same_at_most(
    case: Case, hook: Receiver
) -> None:
    """SQS may deliver it twice, to two dispatchers; one after the other it is sent once."""
    assert case.dispatch(case.message()) == []
    [first, *_] = case.stand.aws.queued()
    assert case.dispatch(first, first) == []
    assert case.dispatch(first) == []
    assert len(hook.requests) == SHARD_WEBHOOKS
    assert one_event(hook.requests[0])
