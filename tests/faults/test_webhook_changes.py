"""Rows 38 and 47 to 53: a webhook that is changed, given up or deleted while events wait for it."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from faults import log_capture
from faults.fault_harness import one_event
from support.receiver import Answer
from webhooks.adapters.http.sender import GuardedSender
from webhooks.domain.delivery import FailureReason, Status
from webhooks.domain.health import DISABLE_AFTER_MS, WARN_AFTER_MS
from webhooks.domain.signing import sendcomms_signature, standard_signature
from webhooks.wiring.dispatcher import DispatcherServices
from webhooks.wiring.worker import WorkerServices

if TYPE_CHECKING:
    from collections.abc import Callable

    from faults.fault_harness import Tenant
    from support.receiver import Receiver, Request

    MakeReceiver = Callable[..., Receiver]

SIX_DAYS_MS = 6 * 86_400_000


def change(tenant: Tenant, webhook_id: str, **changes: Any) -> None:
    """Change a webhook as its owner does."""
    answer = tenant.acme.call("PATCH", f"/api/v1/webhooks/{webhook_id}", json=changes)
    assert answer.status == 200, answer.text


def has_failed_for(tenant: Tenant, milliseconds: int) -> None:
    """Give the webhook so long a time of failures, with a warning in time."""
    since = int(time.time() * 1000) - milliseconds
    tenant.health(
        failing_since={"N": str(since)},
        failures={"N": "3"},
        warned_at={"N": str(since + WARN_AFTER_MS)},
    )


def test_row_38_gone_disables_the_webhook_once_and_tells_why(
    tenant: Tenant, receiver: MakeReceiver
) -> None:
    hook = receiver(Answer(410))
    webhook = tenant.webhook(hook)
    messages = [tenant.message(f"txn_{number}") for number in range(5)]
    assert tenant.dispatch(*messages) == []
    assert {(one.status, one.reason) for one in tenant.deliveries()} == {(Status.WAITING, "gone")}
    assert tenant.executions() == []
    [told] = tenant.announced("webhook.disabled")
    assert (told["webhook_id"], told["reason"]) == (webhook.id, "gone")

    shown = tenant.acme.call("GET", f"/api/v1/webhooks/{webhook.id}").data
    assert (shown["active"], shown["disabled_reason"]) == (False, "gone")
    assert tenant.dispatch(tenant.message("txn_later")) == []
    assert len(hook.requests) == 5
    assert len(tenant.announced("webhook.disabled")) == 1


def test_row_38_gone_at_a_later_attempt_ends_the_schedule(
    tenant: Tenant, receiver: MakeReceiver
) -> None:
    hook = receiver(Answer(500), Answer(410))
    tenant.webhook(hook)
    assert tenant.dispatch(tenant.message()) == []
    assert tenant.retry()["decision"] == "done"
    assert (tenant.delivery().status, tenant.delivery().reason) == (Status.WAITING, "gone")
    assert tenant.health().disabled_reason == "gone"
    assert len(tenant.announced("webhook.disabled")) == 1


def test_row_47_a_webhook_deleted_mid_retry_is_sent_nothing(
    tenant: Tenant, receiver: MakeReceiver
) -> None:
    hook = receiver(Answer(500))
    webhook = tenant.webhook(hook)
    assert tenant.dispatch(tenant.message()) == []
    assert tenant.acme.call("DELETE", f"/api/v1/webhooks/{webhook.id}").status == 200
    # Not `dead_letter`: an owner's own act notifies no operator.
    assert tenant.retry()["decision"] == "done"
    delivery = tenant.delivery()
    assert (delivery.status, delivery.reason) == (Status.CANCELLED, "webhook_deleted")
    assert delivery.next_attempt_at_ms is None
    assert len(hook.requests) == 1
    assert tenant.announced("delivery.exhausted") == []


def test_row_47_what_waits_for_want_of_a_secret_is_cancelled_with_its_webhook(
    tenant: Tenant, receiver: MakeReceiver
) -> None:
    """The webhook is enabled and healthy: its owner sees no sign of a waiting delivery."""
    hook = receiver()
    webhook = tenant.webhook(hook)
    tenant.lose_secret()
    assert tenant.dispatch(tenant.message()) == []
    assert tenant.delivery().status is Status.WAITING
    assert tenant.acme.call("DELETE", f"/api/v1/webhooks/{webhook.id}").status == 200
    [recovery] = tenant.recoveries()
    assert tenant.retry(recovery)["decision"] == "wait"
    delivery = tenant.delivery()
    assert (delivery.status, delivery.reason) == (Status.CANCELLED, "webhook_deleted")
    assert tenant.retry(recovery)["decision"] == "done"
    assert hook.requests == []


def test_row_48_a_webhook_disabled_mid_retry_gets_its_delivery_when_it_is_enabled(
    tenant: Tenant, receiver: MakeReceiver
) -> None:
    hook = receiver(Answer(500), Answer(200))
    webhook = tenant.webhook(hook)
    assert tenant.dispatch(tenant.message()) == []
    change(tenant, webhook.id, active=False)
    assert tenant.retry()["decision"] == "done"
    delivery = tenant.delivery()
    assert (delivery.status, delivery.reason) == (Status.WAITING, "webhook_disabled")
    assert tenant.dispatch(tenant.message("txn_meanwhile")) == []
    assert len(hook.requests) == 1

    has_failed_for(tenant, SIX_DAYS_MS)
    change(tenant, webhook.id, active=True)
    assert tenant.health().health.failures == 0
    assert tenant.health().health.failing_since_ms is None
    [recovery] = tenant.recoveries()
    probed = tenant.retry(recovery)
    assert len(hook.requests) == 2
    assert tenant.retry(probed)["decision"] == "wait"
    assert {one.status for one in tenant.deliveries()} == {Status.SUCCEEDED}
    assert len(hook.requests) == 3
    assert len({one.headers["x-sendcomms-delivery"] for one in hook.requests}) == 2


def test_row_49_a_url_changed_mid_retry_is_where_the_next_attempt_goes(
    tenant: Tenant, receiver: MakeReceiver
) -> None:
    old, new = receiver(Answer(500)), receiver()
    webhook = tenant.webhook(old)
    assert tenant.dispatch(tenant.message()) == []
    change(tenant, webhook.id, url=new.url)
    assert tenant.retry()["decision"] == "done"
    assert (len(old.requests), len(new.requests)) == (1, 1)
    assert one_event(*old.requests, *new.requests)


def test_row_49_the_new_url_is_checked_at_the_attempt_too(
    tenant: Tenant, receiver: MakeReceiver
) -> None:
    old, private = receiver(Answer(500)), receiver()
    webhook = tenant.webhook(old)
    assert tenant.dispatch(tenant.message()) == []
    change(tenant, webhook.id, url=private.url)
    worker_services = tenant.harness.fresh(WorkerServices)
    # The rule of every deployed function, which refuses urls on loopback.
    worker_services._sender = GuardedSender()
    assert tenant.retry(services=worker_services)["decision"] == "wait"
    assert tenant.delivery().attempts[1].error is FailureReason.BLOCKED_ADDRESS
    assert private.connections == 0


def test_row_50_a_secret_rotated_mid_retry_signs_the_next_attempt(
    tenant: Tenant, receiver: MakeReceiver
) -> None:
    hook = receiver(Answer(500), Answer(200))
    webhook = tenant.webhook(hook)
    assert tenant.dispatch(tenant.message()) == []
    rotated = tenant.acme.call(
        "POST", f"/api/v1/webhooks/{webhook.id}/rotate-secret", json={"overlap_seconds": 600}
    )
    new = rotated.data["secret"]
    assert tenant.retry()["decision"] == "done"

    first, second = hook.requests
    assert one_event(first, second)
    sent_at = int(second.headers["webhook-timestamp"])
    assert second.headers["webhook-signature"].split() == [
        standard_signature(secret, second.headers["webhook-id"], sent_at, second.body)
        for secret in (new, log_capture.SECRET)
    ]
    old_signature = sendcomms_signature(log_capture.SECRET, second.body)
    assert second.headers["x-sendcomms-signature"] == old_signature
    assert new not in tenant.log.text


def test_row_50_without_an_overlap_only_the_new_secret_signs(
    tenant: Tenant, receiver: MakeReceiver
) -> None:
    hook = receiver(Answer(500), Answer(200))
    webhook = tenant.webhook(hook)
    assert tenant.dispatch(tenant.message()) == []
    rotated = tenant.acme.call(
        "POST", f"/api/v1/webhooks/{webhook.id}/rotate-secret", json={"overlap_seconds": 0}
    )
    assert tenant.retry()["decision"] == "done"
    second = hook.requests[1]
    new_signature = sendcomms_signature(rotated.data["secret"], second.body)
    assert second.headers["x-sendcomms-signature"] == new_signature
    assert len(second.headers["webhook-signature"].split()) == 1


def test_row_51_nothing_is_delivered_after_the_subscription_ended(
    tenant: Tenant, receiver: MakeReceiver
) -> None:
    hook = receiver(Answer(500), Answer(200))
    webhook = tenant.webhook(hook)
    assert tenant.dispatch(tenant.message()) == []
    change(tenant, webhook.id, events=["email.opened"])
    assert tenant.retry()["decision"] == "done"
    assert (tenant.delivery().status, tenant.delivery().reason) == (
        Status.CANCELLED,
        "unsubscribed",
    )
    assert tenant.dispatch(tenant.message("txn_later")) == []
    assert len(hook.requests) == 1


def test_row_52_many_deliveries_that_exhaust_together_disable_the_webhook_once(
    tenant: Tenant, receiver: MakeReceiver
) -> None:
    count = 40
    dispatcher = tenant.harness.fresh(DispatcherServices, retry_schedule=(5.0,))
    worker_services = tenant.harness.fresh(WorkerServices, retry_schedule=(5.0,))
    hook = receiver(Answer(500))
    webhook = tenant.webhook(hook)
    messages = [tenant.message(f"txn_{number}") for number in range(count)]
    assert tenant.dispatch(*messages, services=dispatcher) == []
    states = tenant.executions()
    assert len(states) == count

    has_failed_for(tenant, SIX_DAYS_MS)
    # No failure changes its owner's settings.
    assert tenant.health().updated_at_ms == webhook.updated_at_ms
    with ThreadPoolExecutor(16) as threads:
        decisions = list(
            threads.map(lambda state: tenant.retry(state, services=worker_services), states)
        )
    assert {one["decision"] for one in decisions} <= {"dead_letter", "done"}
    # Deliveries that found it disabled are kept: none is exhausted without an attempt.
    exhausted = [one for one in tenant.deliveries() if one.status is Status.EXHAUSTED]
    waiting = [one for one in tenant.deliveries() if one.status is Status.WAITING]
    assert exhausted
    assert len(exhausted) + len(waiting) == count
    assert len(hook.requests) == count + len(exhausted)
    assert len(tenant.announced("delivery.exhausted")) == len(exhausted)
    [told] = tenant.announced("webhook.disabled")
    assert told["reason"] == "failing"
    assert (tenant.health().active, tenant.health().disabled_reason) == (False, "failing")
    assert tenant.health().updated_at_ms > webhook.updated_at_ms
    assert len(tenant.announced("webhook.down")) == 1
    assert len(tenant.recoveries()) == 1


def test_row_53_a_success_after_the_first_failure_prevents_disabling(
    tenant: Tenant, receiver: MakeReceiver
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
    tenant.webhook(hook)
    has_failed_for(tenant, SIX_DAYS_MS)
    other = tenant.harness.fresh(DispatcherServices)
    with ThreadPoolExecutor(1) as threads:
        failure = threads.submit(tenant.dispatch, tenant.message("txn_bad"), services=other)
        assert failing.wait(10)
        assert tenant.dispatch(tenant.message("txn_good")) == []
        succeeded.set()
        assert failure.result() == []
    webhook = tenant.health()
    assert webhook.active
    assert webhook.health.failures == 1
    assert webhook.health.failing_since_ms is not None
    assert webhook.health.failing_since_ms > time.time() * 1000 - DISABLE_AFTER_MS
    assert webhook.health.warned_at_ms is None
    assert tenant.announced("webhook.disabled") == []


def test_row_53_without_a_success_the_same_failure_disables(
    tenant: Tenant, receiver: MakeReceiver
) -> None:
    tenant.webhook(receiver(Answer(500)))
    has_failed_for(tenant, SIX_DAYS_MS)
    assert tenant.dispatch(tenant.message()) == []
    assert not tenant.health().active
    assert len(tenant.announced("webhook.disabled")) == 1
