"""All acts of the functions, one after another, each called in Lambda's way, on moto.

When a function learns to make another call, add to a scenario, or add a function to `SCENARIOS`:
`test_roles` fails if a role allows a call that no scenario needs.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from integration.template.invocations import WEBHOOKS, names, now
from support import samples
from support.receiver import Answer, Receiver
from webhooks.adapters.dynamodb import webhook_items
from webhooks.domain.health import FAILURES_TO_OPEN, WARN_AFTER_MS
from webhooks.domain.shard import MOST_AT_ONCE
from webhooks.services.jobs.sweep import Swept

if TYPE_CHECKING:
    from integration.template.invocations import InvocationFixture

DAY_MS = 86_400_000


def keys(fixture: InvocationFixture) -> None:
    """Keys are made, listed and revoked; a call with an Idempotency-Key is repeated, one fails."""
    path = "/api/v1/api-keys"
    once = {"Idempotency-Key": "once"}
    made = fixture.call("POST", path, 201, json={"name": "second"}, headers=once)
    assert fixture.call("POST", path, 201, json={"name": "second"}, headers=once) == made
    fixture.call("POST", path, 422, json={"name": ""}, headers={"Idempotency-Key": "refused"})
    assert len(fixture.call("GET", path)) == 2
    fixture.call("DELETE", f"{path}/{made['id']}")


def manage(fixture: InvocationFixture) -> None:
    """A webhook's owner uses every operation of the API."""
    with fixture.webhook() as (webhook_id, receiver):
        one = f"{WEBHOOKS}/{webhook_id}"
        fixture.call("GET", WEBHOOKS, query={"limit": "1"})
        fixture.call("GET", one)
        changes = {"url": receiver.url, "events": ["email.sent"], "description": "x"}
        fixture.call("PATCH", one, json={**changes, "headers": {"X-Team": "x"}, "active": False})
        fixture.call("PATCH", one, json={"active": True})
        own = {"external_id": "billing", "metadata": {"team": "billing"}}
        fixture.call("PATCH", one, json=own)
        fixture.call("GET", f"{WEBHOOKS}/external/billing")
        fixture.call("PATCH", one, json={"external_id": "crm"})
        body = {"url": receiver.url, "events": ["*"], "metadata": {"team": "crm"}}
        fixture.call("PUT", f"{WEBHOOKS}/external/crm", json=body)
        fixture.call("PUT", f"{WEBHOOKS}/external/other", 201, json=body)
        other = fixture.call("GET", f"{WEBHOOKS}/external/other")
        fixture.call("DELETE", f"{WEBHOOKS}/{other['id']}")
        fixture.call("POST", f"{one}/rotate-secret", json={"overlap_seconds": 60})
        fixture.call("POST", f"{one}/rotate-secret", json={"overlap_seconds": 0, "force": True})
        sample = fixture.call("POST", f"{one}/test", 202, json={"event": "email.sent"})
        fixture.call("GET", f"{one}/deliveries/{sample['id']}")
        for status in ("pending", "succeeded", "retrying", "waiting", "exhausted"):
            fixture.deliveries(webhook_id, status=status)
        fixture.deliveries(webhook_id, event="email.sent", since="2025-01-01T00:00:00Z")
        fixture.retry(**names(webhook_id), delivery_id=sample["id"], attempt=1)
        fixture.call("POST", f"{one}/deliveries/{sample['id']}/resend", 202)
        fixture.retry(action="resend", **names(webhook_id), delivery_id=sample["id"], attempt=1)
    fixture.call("DELETE", WEBHOOKS, 404, query={"id": webhook_id})


def publish(fixture: InvocationFixture) -> None:
    """Events are published one by one and together, and poison is dead-lettered."""
    body = json.loads(fixture.event())
    fixture.call("POST", "/api/v1/events", 202, json=body)
    fixture.call(
        "POST", "/api/v1/events", 202, json=[json.loads(fixture.event()) for _ in range(12)]
    )
    fixture.dispatch("not JSON", fixture.event(event="email.unknown"))


def deliver(fixture: InvocationFixture) -> None:
    """Deliveries succeed, come twice, fail and are retried, to the end of their schedule."""
    with fixture.webhook(Answer(200), Answer(200), Answer(500)) as (webhook_id, _):
        again = fixture.event()
        fixture.dispatch(again)
        fixture.dispatch(again)
        fixture.dispatch(fixture.event(timestamp=None, id="evt_claimed"))
        fixture.dispatch(fixture.event())
        for attempt in range(2, 11):
            decided = fixture.retry_all(webhook_id, attempt)
            assert decided[0]["decision"] == ("dead_letter" if attempt == 10 else "wait")
            if attempt == FAILURES_TO_OPEN - 1:
                _heal(fixture, webhook_id)
        assert len(fixture.deliveries(webhook_id, status="exhausted")) == 1


def deliver_widely(fixture: InvocationFixture) -> None:
    """An event matches more webhooks than one dispatcher attempts: its shards are queued."""
    with Receiver() as receiver:
        for number in range(MOST_AT_ONCE + 1):
            webhook = samples.webhook(number, url=receiver.url, account_id="acc_wide")
            fixture.put("WebhooksTable", webhook_items.webhook_item(webhook, samples.SECRET))
        fixture.dispatch(fixture.event(account_id="acc_wide"))
        shards = fixture.queued("shard")
        fixture.dispatch(*shards[:10])
        fixture.dispatch(*shards[10:])
        assert len(receiver.requests) == MOST_AT_ONCE + 1


def move(fixture: InvocationFixture) -> None:
    """A receiver refuses a signature, and accepts the new secret's; another refuses all."""
    with fixture.webhook(Answer(401), Answer(200)) as (webhook_id, _):
        fixture.call("POST", f"{WEBHOOKS}/{webhook_id}/rotate-secret")
        fixture.dispatch(fixture.event())
        assert "previous_secret" not in fixture.item(webhook_id)
    with fixture.webhook(Answer(503), Answer(401), Answer(200)) as (webhook_id, _):
        fixture.call("POST", f"{WEBHOOKS}/{webhook_id}/rotate-secret")
        fixture.dispatch(fixture.event())
        fixture.retry_all(webhook_id)
        assert "previous_secret" not in fixture.item(webhook_id)
    with fixture.webhook(Answer(401)) as (webhook_id, _):
        fixture.dispatch(fixture.event())


def short(fixture: InvocationFixture) -> None:
    """Short retries: one starts the next, then a long one; others are refused their executions."""
    with fixture.short_delays(), fixture.webhook(Answer(500)) as (webhook_id, _):
        fixture.dispatch(fixture.event())
        [delivery] = fixture.deliveries(webhook_id, status="retrying")
        ids = {**names(webhook_id), "delivery_id": delivery["id"]}
        for attempt in (2, 3):
            state = {"version": 1, **ids, "attempt": attempt}
            assert fixture.retry(action="short_attempt", state=state)["decision"] == "done"
    with fixture.without_step_functions(), fixture.webhook(Answer(500)) as (webhook_id, _):
        fixture.dispatch(fixture.event())
        assert len(fixture.deliveries(webhook_id, status="retrying")) == 1


def gone(fixture: InvocationFixture) -> None:
    """A receiver is gone, at the first attempt or at a later one; its owner enables it again."""
    with fixture.webhook(Answer(410)) as (webhook_id, _):
        fixture.dispatch(fixture.event())
        fixture.dispatch(fixture.event())
        assert fixture.call("GET", f"{WEBHOOKS}/{webhook_id}")["active"] is False
        fixture.call("PATCH", f"{WEBHOOKS}/{webhook_id}", json={"active": True})
    with fixture.webhook(Answer(500), Answer(410)) as (webhook_id, _):
        fixture.dispatch(fixture.event())
        fixture.retry_all(webhook_id)
        assert fixture.call("GET", f"{WEBHOOKS}/{webhook_id}")["active"] is False
    # Its owner is notified once EventBridge takes the event.
    with fixture.webhook(Answer(500), Answer(410)) as (webhook_id, _):
        fixture.dispatch(fixture.event())
        with fixture.without_eventbridge():
            fixture.retry_all(webhook_id)
        fixture.retry(action="sweep")


def recover(fixture: InvocationFixture) -> None:
    """A webhook is down, is probed, comes back, is drained; another is deleted meanwhile."""
    failing = [Answer(500)] * (FAILURES_TO_OPEN + 1)
    with fixture.webhook(*failing, Answer(200)) as (webhook_id, _):
        for _ in range(FAILURES_TO_OPEN):
            fixture.dispatch(fixture.event())
        fixture.dispatch(fixture.event(), fixture.event())
        assert len(fixture.deliveries(webhook_id, status="waiting")) == 2
        state = {**names(webhook_id), **_recovery(fixture, webhook_id)}
        state = fixture.retry(**state)
        state = fixture.retry(**state)
        fixture.change("WebhooksTable", names(webhook_id), draining_since={"N": "1"})
        while state["decision"] != "done":
            state = fixture.retry(**state)
        assert fixture.deliveries(webhook_id, status="waiting") == []
    with fixture.webhook(Answer(500)) as (webhook_id, _):
        for _ in range(FAILURES_TO_OPEN + 1):
            fixture.dispatch(fixture.event())
        state = {**names(webhook_id), **_recovery(fixture, webhook_id)}
    assert fixture.retry(**state)["decision"] == "wait"


def restore(fixture: InvocationFixture) -> None:
    """A webhook's secret goes missing; it gets another, and the waiting delivery is sent."""
    with fixture.webhook() as (webhook_id, receiver):
        item = fixture.item(webhook_id)
        del item["secret"]
        fixture.put("WebhooksTable", item)
        fixture.dispatch(fixture.event())
        assert len(fixture.deliveries(webhook_id, status="waiting")) == 1
        fixture.call("POST", f"{WEBHOOKS}/{webhook_id}/rotate-secret")
        assert (
            fixture.retry(**names(webhook_id), **_recovery(fixture, webhook_id))["decision"]
            == "wait"
        )
        assert len(receiver.requests) == 1


def fail_for_days(fixture: InvocationFixture) -> None:
    """After four days of failures a webhook's owner is warned, after five it is disabled."""
    with fixture.webhook(Answer(500)) as (webhook_id, _):
        for days in (0, 4.5, 5.5):
            fixture.dispatch(fixture.event())
            since = int(time.time() * 1000 - days * DAY_MS)
            history = {"failing_since": {"N": str(since)}}
            if "warned_at" in fixture.item(webhook_id):
                history["warned_at"] = {"N": str(since + WARN_AFTER_MS)}
            fixture.change("WebhooksTable", names(webhook_id), **history)
            fixture.retry_all(webhook_id)
        assert fixture.call("GET", f"{WEBHOOKS}/{webhook_id}")["active"] is False


def replay(fixture: InvocationFixture) -> None:
    """Replays are started, shown, carried out, and ended by their owner or by a fault."""
    with fixture.webhook(Answer(410), Answer(200)) as (webhook_id, _):
        fixture.dispatch(fixture.event())
        fixture.call("PATCH", f"{WEBHOOKS}/{webhook_id}", json={"active": True})
        path = f"{WEBHOOKS}/{webhook_id}/replay"
        ends = (("done", None), ("done", "succeeded"), ("abandon", None), ("cancel", None))
        for end, status in ends:
            body = {"since": now(-DAY_MS), "until": now(), "status": status}
            started = fixture.call("POST", path, 202, json=body)
            state = {**names(webhook_id), "replay_id": started["id"], "action": "replay"}
            fixture.call("GET", f"{path}s")
            fixture.call("GET", f"{path}s/{started['id']}")
            if end == "cancel":
                fixture.call("DELETE", f"{path}s/{started['id']}")
            elif end == "abandon":
                fixture.retry(action="abandon", state={"version": 1, **state})
            else:
                state = fixture.retry(**state, seconds=0)
                while state["decision"] != "done":
                    state = fixture.retry(**state)


def sweep(fixture: InvocationFixture) -> None:
    """The sweep restarts abandoned work: a delivery's retries, and a recovery."""
    long_ago = {"N": str(int(time.time() * 1000) - DAY_MS)}
    with fixture.webhook(Answer(500)) as (webhook_id, _):
        fixture.dispatch(fixture.event())
        [delivery] = fixture.deliveries(webhook_id, status="retrying")
        key = {"owner": f"acc_1#{webhook_id}", "delivery_id": delivery["id"]}
        fixture.change("DeliveriesTable", key, next_attempt_at=long_ago)
        fixture.stop(delivery["id"])
        for _ in range(FAILURES_TO_OPEN):
            fixture.dispatch(fixture.event())
        fixture.change("WebhooksTable", names(webhook_id), recovery_due_at=long_ago)
        swept = fixture.retry(action="sweep")
        assert swept == Swept(overdue_deliveries=1, overdue_recoveries=1)._asdict()


def erase(fixture: InvocationFixture) -> None:
    """A recipient's deliveries are erased, until a fault makes the job give up the rest."""
    with fixture.webhook() as (webhook_id, _):
        fixture.dispatch(fixture.event())
        erasure = fixture.call("DELETE", "/api/v1/recipients/recipient%40example.com", 202)
        state = {"account_id": "acc_1", "erasure_id": erasure["id"], "action": "erase"}
        assert fixture.retry(**state)["decision"] == "wait"
        fixture.retry(action="abandon", state={"version": 1, **state})
        path = f"/api/v1/recipients/erasures/{erasure['id']}"
        assert fixture.call("GET", path)["status"] == "failed"
        assert fixture.deliveries(webhook_id)


def check(fixture: InvocationFixture) -> None:
    """A receiver is checked, and its second check is given up; in a rotation it has moved."""
    with fixture.webhook(Answer(401), Answer(200)) as (webhook_id, _):
        fixture.call("POST", f"{WEBHOOKS}/{webhook_id}/rotate-secret")
        path = f"{WEBHOOKS}/{webhook_id}/check"
        for end in ("completed", "failed"):
            started = fixture.call("POST", path, 202)
            state = {**names(webhook_id), "check_id": started["id"], "action": "check"}
            if end == "failed":
                fixture.retry(action="abandon", state={"version": 1, **state})
            else:
                assert fixture.retry(**state)["decision"] == "done"
            assert fixture.call("GET", f"{path}s/{started['id']}")["status"] == end


SCENARIOS = (
    keys,
    manage,
    publish,
    deliver,
    deliver_widely,
    move,
    short,
    gone,
    recover,
    restore,
    fail_for_days,
    replay,
    erase,
    check,
    sweep,
)


def _recovery(fixture: InvocationFixture, webhook_id: str) -> dict[str, Any]:
    recovery_id = fixture.item(webhook_id)["recovery_id"]["S"]
    return {"action": "recover", "recovery_id": recovery_id, "seconds": 0}


def _heal(fixture: InvocationFixture, webhook_id: str) -> None:
    """Reset the count of failures, which would open the circuit amid a schedule."""
    fixture.change("WebhooksTable", names(webhook_id), failures={"N": "0"})
