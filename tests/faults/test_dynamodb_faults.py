"""Rows 15 to 20, 28, 29 and 59: a table that throttles, is slow, denies, or loses its answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from faults.fault_harness import one_event, signed
from local import template
from support.faults import (
    SDK_TRIES,
    answer_lost,
    changed,
    refused,
    timed_out,
    unprocessed,
)
from support.receiver import Answer
from webhooks.domain.delivery import Status
from webhooks.domain.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from faults.fault_harness import Tenant
    from support.faults import Act
    from support.receiver import Receiver

    MakeReceiver = Callable[..., Receiver]

SENT_AT_MS = 1_766_313_000_000
"""The time at which a batch's first message was queued; each next one is a millisecond later."""

LONGEST_PAUSES = [0.1, 0.2, 0.4, 0.8, 1.6]
"""Seconds between the six tries of a batch; jitter takes a half of them at most."""

TROUBLE = [
    pytest.param(refused("ProvisionedThroughputExceededException"), id="throttled"),
    pytest.param(refused("InternalServerError", 500), id="server error"),
    pytest.param(timed_out(), id="timed out"),
]
KEY_TROUBLE = [
    pytest.param(refused(code), id=code)
    for code in ("AccessDeniedException", "KMSThrottlingException", "KMSAccessDeniedException")
]


@pytest.mark.parametrize("trouble", TROUBLE)
def test_row_15_the_read_of_the_webhooks_fails(
    tenant: Tenant, receiver: MakeReceiver, trouble: Act
) -> None:
    hook = receiver()
    tenant.webhook(hook)
    tenant.harness.faults.on("Query", trouble, about=tenant.account)
    assert tenant.dispatch(tenant.message()) == ["m0"]
    assert hook.requests == []
    assert tenant.deliveries() == []
    assert tenant.harness.faults.count("Query", tenant.account) >= SDK_TRIES

    tenant.harness.faults.clear()
    assert tenant.dispatch(tenant.message()) == []
    assert len(hook.requests) == 1
    assert tenant.delivery().status is Status.SUCCEEDED


def test_row_15_one_throttled_try_is_the_sdks_own_affair(
    tenant: Tenant, receiver: MakeReceiver
) -> None:
    hook = receiver()
    tenant.webhook(hook)
    tenant.harness.faults.on("Query", refused("ThrottlingException"), times=SDK_TRIES - 1)
    assert tenant.dispatch(tenant.message()) == []
    assert len(hook.requests) == 1


def test_row_16_the_second_page_of_webhooks_fails(tenant: Tenant, receiver: MakeReceiver) -> None:
    hooks = [receiver() for _ in range(3)]
    for number, hook in enumerate(hooks, start=1):
        tenant.webhook(hook, number)
    faults = tenant.harness.faults
    faults.on("Query", refused("ThrottlingException"), about="ExclusiveStartKey", times=SDK_TRIES)
    faults.on("Query", changed(Limit=1), about=tenant.account)
    assert tenant.dispatch(tenant.message()) == ["m0"]
    assert [hook.requests for hook in hooks] == [[], [], []]

    assert tenant.dispatch(tenant.message()) == []
    assert [len(hook.requests) for hook in hooks] == [1, 1, 1]
    assert [one.status for one in tenant.deliveries()] == [Status.SUCCEEDED] * 3
    pages = [str(body) for name, body in faults.sent if name == "Query"]
    assert sum("ExclusiveStartKey" in page for page in pages) >= SDK_TRIES + 2


def test_row_17_the_claim_before_the_post_is_throttled(
    tenant: Tenant, receiver: MakeReceiver
) -> None:
    hook = receiver()
    tenant.webhook(hook)
    trouble = refused("ProvisionedThroughputExceededException")
    tenant.harness.faults.on("PutItem", trouble, about=f"{tenant.account}#event")
    without_time = tenant.message(timestamp=None)
    assert tenant.dispatch(without_time) == ["m0"]
    assert hook.requests == []

    tenant.harness.faults.clear()
    assert tenant.dispatch(without_time) == []
    assert len(hook.requests) == 1


@pytest.mark.parametrize("trouble", TROUBLE)
def test_row_17_the_record_of_a_failed_attempt_is_throttled(
    tenant: Tenant, receiver: MakeReceiver, trouble: Act
) -> None:
    hook = receiver(Answer(500))
    tenant.webhook(hook)
    tenant.harness.faults.on("PutItem", trouble, about=tenant.account)
    assert tenant.dispatch(tenant.message()) == ["m0"]
    assert tenant.deliveries() == []
    assert tenant.executions() == []

    tenant.harness.faults.clear()
    assert tenant.dispatch(tenant.message()) == []
    assert one_event(*hook.requests)
    assert len(tenant.delivery().attempts) == 1
    assert len(tenant.executions()) == 1


def test_row_18_the_answer_to_the_record_is_lost(tenant: Tenant, receiver: MakeReceiver) -> None:
    hook = receiver(Answer(500), Answer(200))
    tenant.webhook(hook)
    tenant.harness.faults.on("PutItem", answer_lost(), about=tenant.account, times=1)
    assert tenant.dispatch(tenant.message()) == []
    # The second try found the first one's record, and recognized it.
    assert tenant.harness.faults.count("PutItem", tenant.account) == 2
    assert len(tenant.delivery().attempts) == 1
    assert tenant.retry()["decision"] == "done"
    assert len(hook.requests) == 2


def test_row_18_the_answer_to_the_claim_is_lost(tenant: Tenant, receiver: MakeReceiver) -> None:
    hook = receiver()
    tenant.webhook(hook)
    claim = f"{tenant.account}#event"
    faults = tenant.harness.faults
    without_time = tenant.message(timestamp=None)
    faults.on("PutItem", answer_lost(), about=claim, times=1)
    assert tenant.dispatch(without_time) == []
    # The second try found the first one's claim, and recognized it.
    assert faults.count("PutItem", claim) == 2
    delivery = tenant.delivery()

    # A copy that was sent a millisecond later is refused a time of its own, twice here too.
    faults.on("PutItem", answer_lost(), about=claim, times=1)
    assert tenant.dispatch("poison", without_time) == []
    claims = [body for name, body in faults.sent if name == "PutItem" and claim in str(body)]
    assert [int(one["Item"]["occurred_at"]["N"]) for one in claims] == [
        *[SENT_AT_MS] * 2,
        *[SENT_AT_MS + 1] * 2,
    ]
    assert tenant.deliveries() == [delivery]
    assert len(hook.requests) == 1


def test_row_18_the_answer_to_a_later_attempts_record_is_lost(
    tenant: Tenant, receiver: MakeReceiver
) -> None:
    hook = receiver(Answer(500), Answer(503), Answer(200))
    tenant.webhook(hook)
    assert tenant.dispatch(tenant.message()) == []
    tenant.harness.faults.on("UpdateItem", answer_lost(), about=f"{tenant.account}#", times=1)
    state = tenant.retry()
    assert (state["decision"], state["attempt"]) == ("wait", 3)
    assert [attempt.number for attempt in tenant.delivery().attempts] == [1, 2]
    assert tenant.retry(state)["decision"] == "done"
    assert len(hook.requests) == 3


def test_row_19_the_record_of_a_success_is_tried_again_in_the_process(
    tenant: Tenant, receiver: MakeReceiver
) -> None:
    hook = receiver()
    tenant.webhook(hook)
    tenant.harness.faults.on(
        "BatchWriteItem", timed_out(), about=tenant.account, times=SDK_TRIES - 1
    )
    assert tenant.dispatch(tenant.message()) == []
    assert len(hook.requests) == 1
    assert tenant.delivery().status is Status.SUCCEEDED


@pytest.mark.parametrize("trouble", TROUBLE)
def test_row_19_the_record_of_a_success_fails_and_the_event_comes_again(
    tenant: Tenant, receiver: MakeReceiver, trouble: Act
) -> None:
    hook = receiver()
    tenant.webhook(hook)
    tenant.harness.faults.on("BatchWriteItem", trouble, about=tenant.account)
    assert tenant.dispatch(tenant.message(), shared_fate=True) == ["m0"]
    assert tenant.deliveries() == []
    assert '"UnrecordedSuccesses"' in tenant.log.text

    tenant.harness.faults.clear()
    assert tenant.dispatch(tenant.message()) == []
    assert len(hook.requests) == 2
    assert one_event(*hook.requests)
    assert tenant.delivery().status is Status.SUCCEEDED


def test_row_19_the_record_of_a_later_success_fails_and_it_is_sent_again(
    tenant: Tenant, receiver: MakeReceiver
) -> None:
    hook = receiver(Answer(500), Answer(200))
    tenant.webhook(hook)
    assert tenant.dispatch(tenant.message()) == []
    tenant.harness.faults.on("UpdateItem", timed_out(), about=":attempts_before", times=SDK_TRIES)
    with pytest.raises(UnavailableError):
        tenant.retry()
    assert len(tenant.delivery().attempts) == 1

    assert tenant.retry()["decision"] == "wait"
    assert tenant.retry(services=tenant.after_the_lease())["decision"] == "done"
    assert len(hook.requests) == 3
    assert one_event(*hook.requests)
    assert tenant.delivery().status is Status.SUCCEEDED


@pytest.mark.parametrize("trouble", TROUBLE)
def test_row_20_the_record_of_a_later_failure_fails_and_is_counted_once(
    tenant: Tenant, receiver: MakeReceiver, trouble: Act
) -> None:
    hook = receiver(Answer(500))
    tenant.webhook(hook)
    assert tenant.dispatch(tenant.message()) == []
    tenant.harness.faults.on("UpdateItem", trouble, about=":attempts_before", times=SDK_TRIES)
    with pytest.raises(UnavailableError):
        tenant.retry()

    state = tenant.retry(services=tenant.after_the_lease())
    assert (state["decision"], state["attempt"]) == ("wait", 3)
    assert [attempt.number for attempt in tenant.delivery().attempts] == [1, 2]
    assert [one.headers["x-sendcomms-attempt"] for one in hook.requests] == ["1", "2", "2"]
    assert one_event(*hook.requests)


@pytest.mark.parametrize("trouble", KEY_TROUBLE)
@pytest.mark.parametrize(
    ("call", "answer", "requests"),
    [
        pytest.param("Query", 200, 0, id="reading the webhooks"),
        pytest.param("BatchGetItem", 200, 0, id="reading the deliveries"),
        pytest.param("PutItem", 500, 2, id="recording a failure"),
        pytest.param("BatchWriteItem", 200, 2, id="recording a success"),
    ],
)
def test_row_28_the_tables_key_is_throttled_or_denied_for_a_first_attempt(
    tenant: Tenant, receiver: MakeReceiver, *, trouble: Act, call: str, answer: int, requests: int
) -> None:
    hook = receiver(Answer(answer))
    tenant.webhook(hook)
    before = tenant.health()
    tenant.harness.faults.on(call, trouble, about=tenant.account)
    for _ in range(2):
        assert tenant.dispatch(tenant.message(), shared_fate=True) == ["m0"]
    assert len(hook.requests) == requests
    assert tenant.deliveries() == []
    assert tenant.executions() == []

    tenant.harness.faults.clear()
    # A result that could not be recorded is no failure of the receiver either.
    assert tenant.health() == before
    hook.answer_with(Answer(200))
    assert tenant.dispatch(tenant.message()) == []
    assert [one.number for one in tenant.delivery().attempts] == [1]
    assert len(hook.requests) == requests + 1
    assert one_event(*hook.requests)
    assert all(signed(one) for one in hook.requests)


@pytest.mark.parametrize("trouble", KEY_TROUBLE)
@pytest.mark.parametrize("table", ["WebhooksTable", "DeliveriesTable"])
def test_row_28_the_tables_key_is_throttled_or_denied_for_a_later_attempt(
    tenant: Tenant, receiver: MakeReceiver, trouble: Act, table: str
) -> None:
    hook = receiver(Answer(500), Answer(200))
    tenant.webhook(hook)
    assert tenant.dispatch(tenant.message()) == []
    before, health = tenant.delivery(), tenant.health()
    assert health.health.failures == 1
    tenant.harness.faults.on("GetItem", trouble, about=table)
    with pytest.raises(UnavailableError):
        tenant.retry()
    assert len(hook.requests) == 1
    assert tenant.delivery() == before

    tenant.harness.faults.clear()
    assert tenant.health() == health
    assert tenant.retry()["decision"] == "done"
    assert len(hook.requests) == 2
    assert all(signed(one) for one in hook.requests)


def test_row_29_a_webhook_without_a_secret_is_sent_nothing(
    tenant: Tenant, receiver: MakeReceiver
) -> None:
    hook = receiver()
    tenant.webhook(hook)
    tenant.lose_secret()
    assert tenant.dispatch(tenant.message()) == []
    delivery = tenant.delivery()
    assert (delivery.status, delivery.reason) == (Status.WAITING, "secret_missing")
    assert delivery.attempts == ()
    assert hook.requests == []
    assert tenant.executions() == []
    assert '"SecretMissing":[1.0]' in tenant.log.text


def test_row_29_a_secret_that_goes_missing_stops_the_later_attempts(
    tenant: Tenant, receiver: MakeReceiver
) -> None:
    hook = receiver(Answer(500))
    webhook = tenant.webhook(hook)
    assert tenant.dispatch(tenant.message()) == []
    tenant.lose_secret()
    assert tenant.retry()["decision"] == "done"
    delivery = tenant.delivery()
    assert (delivery.status, delivery.reason) == (Status.WAITING, "secret_missing")
    assert len(hook.requests) == 1

    # The action that the alarm's page recommends to an owner.
    hook.answer_with(Answer(200))
    path = f"/api/v1/webhooks/{webhook.id}"
    assert tenant.acme.call("POST", f"{path}/rotate-secret", json={}).status == 200
    [recovery] = tenant.recoveries()
    assert tenant.retry(recovery)["decision"] == "wait"
    assert tenant.delivery().status is Status.SUCCEEDED
    assert len(hook.requests) == 2


def test_row_29_a_missing_secret_raises_an_alarm() -> None:
    alarm = template.load()["Resources"]["SecretMissingAlarm"]["Properties"]
    watched = [one["MetricStat"]["Metric"] for one in alarm["Metrics"] if "MetricStat" in one]
    assert {one["MetricName"] for one in watched} == {"SecretMissing"}
    assert {one["Dimensions"][0]["Value"] for one in watched} == {"dispatcher", "worker"}


def test_row_59_unprocessed_writes_are_written_in_the_next_try(
    tenant: Tenant, receiver: MakeReceiver
) -> None:
    hook = receiver()
    tenant.webhook(hook)
    tenant.harness.faults.on("BatchWriteItem", unprocessed(tenant.account), times=3)
    messages = [tenant.message(f"txn_{number}") for number in range(4)]
    assert tenant.dispatch(*messages) == []
    assert len(hook.requests) == 4
    assert [one.status for one in tenant.deliveries()] == [Status.SUCCEEDED] * 4
    assert tenant.harness.faults.count("BatchWriteItem") >= 4


def test_row_59_writes_that_stay_unprocessed_fail_their_own_messages_alone(
    tenant: Tenant, receiver: MakeReceiver
) -> None:
    hook = receiver()
    tenant.webhook(hook)
    tenant.harness.faults.on("BatchWriteItem", unprocessed(tenant.account))
    tenant.harness.pauses.clear()
    assert tenant.dispatch(tenant.message()) == ["m0"]
    assert tenant.harness.faults.count("BatchWriteItem", tenant.account) == 6
    assert_they_grow(tenant.harness.pauses)
    tenant.harness.faults.clear()
    assert tenant.dispatch(tenant.message()) == []
    assert len(hook.requests) == 2
    assert one_event(*hook.requests)


def test_row_59_unprocessed_reads_are_no_absent_deliveries(
    tenant: Tenant, receiver: MakeReceiver
) -> None:
    hook = receiver()
    tenant.webhook(hook)
    assert tenant.dispatch(tenant.message()) == []
    tenant.harness.faults.on("BatchGetItem", unprocessed(f"{tenant.account}#"), times=2)
    assert tenant.dispatch(tenant.message()) == []
    assert len(hook.requests) == 1
    assert tenant.harness.faults.count("BatchGetItem") >= 3
    tenant.harness.faults.on("BatchGetItem", unprocessed(f"{tenant.account}#"))
    before = tenant.harness.faults.count("BatchGetItem", f"{tenant.account}#")
    tenant.harness.pauses.clear()
    assert tenant.dispatch(tenant.message(), shared_fate=True) == ["m0"]
    assert tenant.harness.faults.count("BatchGetItem", f"{tenant.account}#") == before + 6
    assert_they_grow(tenant.harness.pauses)
    assert len(hook.requests) == 1


def assert_they_grow(pauses: list[float]) -> None:
    """Compare the pauses of a batch that stays unprocessed with the intended ones."""
    assert len(pauses) == len(LONGEST_PAUSES)
    for pause, longest in zip(pauses, LONGEST_PAUSES, strict=True):
        assert longest / 2 <= pause <= longest
    assert pauses not in (LONGEST_PAUSES, [longest / 2 for longest in LONGEST_PAUSES])
