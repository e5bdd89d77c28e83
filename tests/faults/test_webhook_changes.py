"""Rows 38 and 47 to 53: a webhook that is changed, given up or deleted while events wait for it."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from support import log_capture
from support.fault_harness import one_event
from support.receiver import Answer
from webhooks.adapters.http.sender import GuardedSender
from webhooks.domain.delivery import FailureReason, Status
from webhooks.domain.health import DISABLE_AFTER_MS, WARN_AFTER_MS
from webhooks.domain.signing import sendcomms_signature, standard_signature
from webhooks.wiring.dispatcher import DispatcherServices
from webhooks.wiring.worker import WorkerServices

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.fault_harness import Case
    from support.receiver import Receiver, Request

    MakeReceiver = Callable[..., Receiver]

SIX_DAYS_MS = 6 * 86_400_000


def change(case: Case, webhook_id: str, **changes: Any) -> None:
    """Change a webhook as its owner does."""
    answer = case.acme.call("PATCH", f"/api/v1/webhooks/{webhook_id}", json=changes)
    assert answer.status == 200, answer.text


def has_failed_for(case: Case, milliseconds: int) -> None:
    """Give the webhook so long a time of failures, with a warning in time."""
    since = int(time.time() * 1000) - milliseconds
    case.health(
        failing_since={"N": str(since)},
        failures={"N": "3"},
        warned_at={"N": str(since + WARN_AFTER_MS)},
    )


def test_row_38_gone_disables_the_webhook_once_and_tells_why(
    case: Case, receiver: MakeReceiver
) -> None:
    hook = receiver(Answer(410))
    webhook = case.webhook(hook)
    messages = [case.message(f"txn_{number}") for number in range(5)]
    assert case.dispatch(*messages) == []
    assert {(one.status, one.reason) for one in case.deliveries()} == {(Status.WAITING, "gone")}
    assert case.executions() == []
    [told] = case.announced("webhook.disabled")
    assert (told["webhook_id"], told["reason"]) == (webhook.id, "gone")

    shown = case.acme.call("GET", f"/api/v1/webhooks/{webhook.id}").data
    assert (shown["active"], shown["disabled_reason"]) == (False, "gone")
    assert case.dispatch(case.message("txn_later")) == []
    assert len(hook.requests) == 5
    assert len(case.announced("webhook.disabled")) == 1


def test_row_38_gone_at_a_later_attempt_ends_the_schedule(
    case: Case, receiver: MakeReceiver
) -> None:
    hook = receiver(Answer(500), Answer(410))
    case.webhook(hook)
    assert case.dispatch(case.message()) == []
    assert case.retry()["decision"] == "done"
    assert (case.delivery().status, case.delivery().reason) == (Status.WAITING, "gone")
    assert case.health().disabled_reason == "gone"
    assert len(case.announced("webhook.disabled")) == 1


def test_row_47_a_webhook_deleted_mid_retry_is_sent_nothing(
    case: Case, receiver: MakeReceiver
) -> None:
    hook = receiver(Answer(500))
    webhook = case.webhook(hook)
    assert case.dispatch(case.message()) == []
    assert case.acme.call("DELETE", f"/api/v1/webhooks/{webhook.id}").status == 200
    # Not `dead_letter`: an owner's own act notifies no operator.
    assert case.retry()["decision"] == "done"
    delivery = case.delivery()
    assert (delivery.status, delivery.reason) == (Status.CANCELLED, "webhook_deleted")
    assert delivery.next_attempt_at_ms is None
    assert len(hook.requests) == 1
    assert case.announced("delivery.exhausted") == []


def test_row_47_what_waits_for_want_of_a_secret_is_cancelled_with_its_webhook(
    case: Case, receiver: MakeReceiver
) -> None:
    """The webhook is enabled and healthy: its owner sees no sign of a waiting delivery."""
    hook = receiver()
    webhook = case.webhook(hook)
    case.lose_secret()
    assert case.dispatch(case.message()) == []
    assert case.delivery().status is Status.WAITING
    assert case.acme.call("DELETE", f"/api/v1/webhooks/{webhook.id}").status == 200
    [recovery] = case.recoveries()
    assert case.retry(recovery)["decision"] == "wait"
    delivery = case.delivery()
    assert (delivery.status, delivery.reason) == (Status.CANCELLED, "webhook_deleted")
    assert case.retry(recovery)["decision"] == "done"
    assert hook.requests == []


def test_row_48_a_webhook_disabled_mid_retry_gets_its_delivery_when_it_is_enabled(
    case: Case, receiver: MakeReceiver
) -> None:
    hook = receiver(Answer(500), Answer(200))
    webhook = case.webhook(hook)
    assert case.dispatch(case.message()) == []
    change(case, webhook.id, active=False)
    assert case.retry()["decision"] == "done"
    delivery = case.delivery()
    assert (delivery.status, delivery.reason) == (Status.WAITING, "webhook_disabled")
    assert case.dispatch(case.message("txn_meanwhile")) == []
    assert len(hook.requests) == 1

    has_failed_for(case, SIX_DAYS_MS)
    change(case, webhook.id, active=True)
    assert case.health().health.failures == 0
    assert case.health().health.failing_since_ms is None
    [recovery] = case.recoveries()
    probed = case.retry(recovery)
    assert len(hook.requests) == 2
    assert case.retry(probed)["decision"] == "wait"
    assert {one.status for one in case.deliveries()} == {Status.SUCCEEDED}
    assert len(hook.requests) == 3
    assert len({one.headers["x-sendcomms-delivery"] for one in hook.requests}) == 2


def test_row_49_a_url_changed_mid_retry_is_where_the_next_attempt_goes(
    case: Case, receiver: MakeReceiver
) -> None:
    old, new = receiver(Answer(500)), receiver()
    webhook = case.webhook(old)
    assert case.dispatch(case.message()) == []
    change(case, webhook.id, url=new.url)
    assert case.retry()["decision"] == "done"
    assert (len(old.requests), len(new.requests)) == (1, 1)
    assert one_event(*old.requests, *new.requests)


def test_row_49_the_new_url_is_checked_at_the_attempt_too(
    case: Case, receiver: MakeReceiver
) -> None:
    old, private = receiver(Answer(500)), receiver()
    webhook = case.webhook(old)
    assert case.dispatch(case.message()) == []
    change(case, webhook.id, url=private.url)
    worker_services = case.stand.fresh(WorkerServices)
    # The rule of every deployed function, which refuses urls on loopback.
    worker_services._sender = GuardedSender()
    assert case.retry(services=worker_services)["decision"] == "wait"
    assert case.delivery().attempts[1].error is FailureReason.BLOCKED_ADDRESS
    assert private.connections == 0


def test_row_50_a_secret_rotated_mid_retry_signs_the_next_attempt(
    case: Case, receiver: MakeReceiver
) -> None:
    hook = receiver(Answer(500), Answer(200))
    webhook = case.webhook(hook)
    assert case.dispatch(case.message()) == []
    rotated = case.acme.call(
        "POST", f"/api/v1/webhooks/{webhook.id}/rotate-secret", json={"overlap_seconds": 600}
    )
    new = rotated.data["secret"]
    assert case.retry()["decision"] == "done"

    first, second = hook.requests
    assert one_event(first, second)
    sent_at = int(second.headers["webhook-timestamp"])
    assert second.headers["webhook-signature"].split() == [
        standard_signature(secret, second.headers["webhook-id"], sent_at, second.body)
        for secret in (new, log_capture.SECRET)
    ]
    old_signature = sendcomms_signature(log_capture.SECRET, second.body)
    assert second.headers["x-sendcomms-signature"] == old_signature
    assert new not in case.log.text


def test_row_50_without_an_overlap_only_the_new_secret_signs(
    case: Case, receiver: MakeReceiver
) -> None:
    hook = receiver(Answer(500), Answer(200))
    webhook = case.webhook(hook)
    assert case.dispatch(case.message()) == []
    rotated = case.acme.call(
        "POST", f"/api/v1/webhooks/{webhook.id}/rotate-secret", json={"overlap_seconds": 0}
    )
    assert case.retry()["decision"] == "done"
    second = hook.requests[1]
    new_signature = sendcomms_signature(rotated.data["secret"], second.body)
    assert second.headers["x-sendcomms-signature"] == new_signature
    assert len(second.headers["webhook-signature"].split()) == 1


def test_row_51_nothing_is_delivered_after_the_subscription_ended(
    case: Case, receiver: MakeReceiver
) -> None:
    hook = receiver(Answer(500), Answer(200))
    webhook = case.webhook(hook)
    assert case.dispatch(case.message()) == []
    change(case, webhook.id, events=["email.opened"])
    assert case.retry()["decision"] == "done"
    assert (case.delivery().status, case.delivery().reason) == (Status.CANCELLED, "unsubscribed")
    assert case.dispatch(case.message("txn_later")) == []
    assert len(hook.requests) == 1


def test_row_52_many_deliveries_that_exhaust_together_disable_the_webhook_once(
    case: Case, receiver: MakeReceiver
) -> None:
    count = 40
    dispatcher = case.stand.fresh(DispatcherServices, retry_schedule=(5.0,))
    worker_services = case.stand.fresh(WorkerServices, retry_schedule=(5.0,))
    hook = receiver(Answer(500))
    webhook = case.webhook(hook)
    messages = [case.message(f"txn_{number}") for number in range(count)]
    assert case.dispatch(*messages, services=dispatcher) == []
    states = case.executions()
    assert len(states) == count

    has_failed_for(case, SIX_DAYS_MS)
    # No failure changes its owner's settings.
    assert case.health().updated_at_ms == webhook.updated_at_ms
    with ThreadPoolExecutor(16) as threads:
        decisions = list(
            threads.map(lambda state: case.retry(state, services=worker_services), states)
        )
    assert {one["decision"] for one in decisions} <= {"dead_letter", "done"}
    # Deliveries that found it disabled are kept: none is exhausted without an attempt.
    exhausted = [one for one in case.deliveries() if one.status is Status.EXHAUSTED]
    waiting = [one for one in case.deliveries() if one.status is Status.WAITING]
    assert exhausted
    assert len(exhausted) + len(waiting) == count
    assert len(hook.requests) == count + len(exhausted)
    assert len(case.announced("delivery.exhausted")) == len(exhausted)
    [told] = case.announced("webhook.disabled")
    assert told["reason"] == "failing"
    assert (case.health().active, case.health().disabled_reason) == (False, "failing")
    assert case.health().updated_at_ms > webhook.updated_at_ms
    assert len(case.announced("webhook.down")) == 1
    assert len(case.recoveries()) == 1


def test_row_53_a_success_after_the_first_failure_prevents_disabling(
    case: Case, receiver: MakeReceiver
) -> None:
    """The worker whose attempt fails read the webhook when it had failed for six days."""
    succeeded = threading.Event()
    failing = threading.Event()

    def answer(request: Request) -> Answer:
        if request.json["transaction_id"] == "txn_good":
            return Answer(200)
        failing.set()
        succeeded.wait(4)
        return Answer(500)

    hook = receiver(answer)
    case.webhook(hook)
    has_failed_for(case, SIX_DAYS_MS)
    other = case.stand.fresh(DispatcherServices)
    with ThreadPoolExecutor(1) as threads:
        failure = threads.submit(case.dispatch, case.message("txn_bad"), services=other)
        assert failing.wait(10)
        assert case.dispatch(case.message("txn_good")) == []
        succeeded.set()
        assert failure.result() == []
    webhook = case.health()
    assert webhook.active
    assert webhook.health.failures == 1
    assert webhook.health.failing_since_ms is not None
    assert webhook.health.failing_since_ms > time.time() * 1000 - DISABLE_AFTER_MS
    assert webhook.health.warned_at_ms is None
    assert case.announced("webhook.disabled") == []


def test_row_53_without_a_success_the_same_failure_disables(
    case: Case, receiver: MakeReceiver
) -> None:
    case.webhook(receiver(Answer(500)))
    has_failed_for(case, SIX_DAYS_MS)
    assert case.dispatch(case.message()) == []
    assert not case.health().active
    assert len(case.announced("webhook.disabled")) == 1
