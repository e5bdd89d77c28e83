"""All acts of the functions, one after another, each called in Lambda's way, on moto.

When a function learns to make another call, add to a scenario, or add a function to `SCENARIOS`:
`test_roles` fails if a role allows a call that no scenario needs.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from support import samples
from support.invocations import WEBHOOKS, names, now
from support.receiver import Answer, Receiver
from webhooks.adapters.dynamodb import webhook_items
from webhooks.domain.health import FAILURES_TO_OPEN, WARN_AFTER_MS
from webhooks.domain.shard import MOST_AT_ONCE
from webhooks.services.jobs.sweep import Swept

if TYPE_CHECKING:
    from support.invocations import World

DAY_MS = 86_400_000


def keys(world: World) -> None:
    """Keys are made, listed and revoked; a call with an Idempotency-Key is repeated, one fails."""
    path = "/api/v1/api-keys"
    once = {"Idempotency-Key": "once"}
    made = world.call("POST", path, 201, json={"name": "second"}, headers=once)
    assert world.call("POST", path, 201, json={"name": "second"}, headers=once) == made
    world.call("POST", path, 422, json={"name": ""}, headers={"Idempotency-Key": "refused"})
    assert len(world.call("GET", path)) == 2
    world.call("DELETE", f"{path}/{made['id']}")


def manage(world: World) -> None:
    """A webhook's owner uses every operation of the API."""
    with world.webhook() as (webhook_id, receiver):
        one = f"{WEBHOOKS}/{webhook_id}"
        world.call("GET", WEBHOOKS, query={"limit": "1"})
        world.call("GET", one)
        changes = {"url": receiver.url, "events": ["email.sent"], "description": "x"}
        world.call("PATCH", one, json={**changes, "headers": {"X-Team": "x"}, "active": False})
        world.call("PATCH", one, json={"active": True})
        own = {"external_id": "billing", "metadata": {"team": "billing"}}
        world.call("PATCH", one, json=own)
        world.call("GET", f"{WEBHOOKS}/external/billing")
        world.call("PATCH", one, json={"external_id": "crm"})
        body = {"url": receiver.url, "events": ["*"], "metadata": {"team": "crm"}}
        world.call("PUT", f"{WEBHOOKS}/external/crm", json=body)
        world.call("PUT", f"{WEBHOOKS}/external/other", 201, json=body)
        other = world.call("GET", f"{WEBHOOKS}/external/other")
        world.call("DELETE", f"{WEBHOOKS}/{other['id']}")
        world.call("POST", f"{one}/rotate-secret", json={"overlap_seconds": 60})
        world.call("POST", f"{one}/rotate-secret", json={"overlap_seconds": 0, "force": True})
        sample = world.call("POST", f"{one}/test", 202, json={"event": "email.sent"})
        world.call("GET", f"{one}/deliveries/{sample['id']}")
        for status in ("pending", "succeeded", "retrying", "waiting", "exhausted"):
            world.deliveries(webhook_id, status=status)
        world.deliveries(webhook_id, event="email.sent", since="2025-01-01T00:00:00Z")
        world.retry(**names(webhook_id), delivery_id=sample["id"], attempt=1)
        world.call("POST", f"{one}/deliveries/{sample['id']}/resend", 202)
        world.retry(action="resend", **names(webhook_id), delivery_id=sample["id"], attempt=1)
    world.call("DELETE", WEBHOOKS, 404, query={"id": webhook_id})


def publish(world: World) -> None:
    """Events are published one by one and together, and poison is dead-lettered."""
    body = json.loads(world.event())
    world.call("POST", "/api/v1/events", 202, json=body)
    world.call("POST", "/api/v1/events", 202, json=[json.loads(world.event()) for _ in range(12)])
    world.dispatch("not JSON", world.event(event="email.unknown"))


def deliver(world: World) -> None:
    """Deliveries succeed, come twice, fail and are retried, to the end of their schedule."""
    with world.webhook(Answer(200), Answer(200), Answer(500)) as (webhook_id, _):
        again = world.event()
        world.dispatch(again)
        world.dispatch(again)
        world.dispatch(world.event(timestamp=None, id="evt_claimed"))
        world.dispatch(world.event())
        for attempt in range(2, 11):
            decided = world.retry_all(webhook_id, attempt)
            assert decided[0]["decision"] == ("dead_letter" if attempt == 10 else "wait")
            if attempt == FAILURES_TO_OPEN - 1:
                _heal(world, webhook_id)
        assert len(world.deliveries(webhook_id, status="exhausted")) == 1


def deliver_widely(world: World) -> None:
    """An event matches more webhooks than one dispatcher attempts: its shards are queued."""
    with Receiver() as receiver:
        for number in range(MOST_AT_ONCE + 1):
            webhook = samples.webhook(number, url=receiver.url, account_id="acc_wide")
            world.put("WebhooksTable", webhook_items.webhook_item(webhook, samples.SECRET))
        world.dispatch(world.event(account_id="acc_wide"))
        shards = world.queued("shard")
        world.dispatch(*shards[:10])
        world.dispatch(*shards[10:])
        assert len(receiver.requests) == MOST_AT_ONCE + 1


def move(world: World) -> None:
    """A receiver refuses a signature, and accepts the new secret's; another refuses all."""
    with world.webhook(Answer(401), Answer(200)) as (webhook_id, _):
        world.call("POST", f"{WEBHOOKS}/{webhook_id}/rotate-secret")
        world.dispatch(world.event())
        assert "previous_secret" not in world.item(webhook_id)
    with world.webhook(Answer(503), Answer(401), Answer(200)) as (webhook_id, _):
        world.call("POST", f"{WEBHOOKS}/{webhook_id}/rotate-secret")
        world.dispatch(world.event())
        world.retry_all(webhook_id)
        assert "previous_secret" not in world.item(webhook_id)
    with world.webhook(Answer(401)) as (webhook_id, _):
        world.dispatch(world.event())


def short(world: World) -> None:
    """Short retries: one starts the next, then a long one; others are refused their executions."""
    with world.short_delays(), world.webhook(Answer(500)) as (webhook_id, _):
        world.dispatch(world.event())
        [delivery] = world.deliveries(webhook_id, status="retrying")
        ids = {**names(webhook_id), "delivery_id": delivery["id"]}
        for attempt in (2, 3):
            state = {"version": 1, **ids, "attempt": attempt}
            assert world.retry(action="short_attempt", state=state)["decision"] == "done"
    with world.without_step_functions(), world.webhook(Answer(500)) as (webhook_id, _):
        world.dispatch(world.event())
        assert len(world.deliveries(webhook_id, status="retrying")) == 1


def gone(world: World) -> None:
    """A receiver is gone, at the first attempt or at a later one; its owner enables it again."""
    with world.webhook(Answer(410)) as (webhook_id, _):
        world.dispatch(world.event())
        world.dispatch(world.event())
        assert world.call("GET", f"{WEBHOOKS}/{webhook_id}")["active"] is False
        world.call("PATCH", f"{WEBHOOKS}/{webhook_id}", json={"active": True})
    with world.webhook(Answer(500), Answer(410)) as (webhook_id, _):
        world.dispatch(world.event())
        world.retry_all(webhook_id)
        assert world.call("GET", f"{WEBHOOKS}/{webhook_id}")["active"] is False
    # Its owner is notified once EventBridge takes the event.
    with world.webhook(Answer(500), Answer(410)) as (webhook_id, _):
        world.dispatch(world.event())
        with world.without_eventbridge():
            world.retry_all(webhook_id)
        world.retry(action="sweep")


def recover(world: World) -> None:
    """A webhook is down, is probed, comes back, is drained; another is deleted meanwhile."""
    failing = [Answer(500)] * (FAILURES_TO_OPEN + 1)
    with world.webhook(*failing, Answer(200)) as (webhook_id, _):
        for _ in range(FAILURES_TO_OPEN):
            world.dispatch(world.event())
        world.dispatch(world.event(), world.event())
        assert len(world.deliveries(webhook_id, status="waiting")) == 2
        state = {**names(webhook_id), **_recovery(world, webhook_id)}
        state = world.retry(**state)
        state = world.retry(**state)
        world.change("WebhooksTable", names(webhook_id), draining_since={"N": "1"})
        while state["decision"] != "done":
            state = world.retry(**state)
        assert world.deliveries(webhook_id, status="waiting") == []
    with world.webhook(Answer(500)) as (webhook_id, _):
        for _ in range(FAILURES_TO_OPEN + 1):
            world.dispatch(world.event())
        state = {**names(webhook_id), **_recovery(world, webhook_id)}
    assert world.retry(**state)["decision"] == "wait"


def restore(world: World) -> None:
    """A webhook's secret goes missing; it gets another, and the waiting delivery is sent."""
    with world.webhook() as (webhook_id, receiver):
        item = world.item(webhook_id)
        del item["secret"]
        world.put("WebhooksTable", item)
        world.dispatch(world.event())
        assert len(world.deliveries(webhook_id, status="waiting")) == 1
        world.call("POST", f"{WEBHOOKS}/{webhook_id}/rotate-secret")
        assert (
            world.retry(**names(webhook_id), **_recovery(world, webhook_id))["decision"] == "wait"
        )
        assert len(receiver.requests) == 1


def fail_for_days(world: World) -> None:
    """After four days of failures a webhook's owner is warned, after five it is disabled."""
    with world.webhook(Answer(500)) as (webhook_id, _):
        for days in (0, 4.5, 5.5):
            world.dispatch(world.event())
            since = int(time.time() * 1000 - days * DAY_MS)
            history = {"failing_since": {"N": str(since)}}
            if "warned_at" in world.item(webhook_id):
                history["warned_at"] = {"N": str(since + WARN_AFTER_MS)}
            world.change("WebhooksTable", names(webhook_id), **history)
            world.retry_all(webhook_id)
        assert world.call("GET", f"{WEBHOOKS}/{webhook_id}")["active"] is False


def replay(world: World) -> None:
    """Replays are started, shown, carried out, and ended by their owner or by a fault."""
    with world.webhook(Answer(410), Answer(200)) as (webhook_id, _):
        world.dispatch(world.event())
        world.call("PATCH", f"{WEBHOOKS}/{webhook_id}", json={"active": True})
        path = f"{WEBHOOKS}/{webhook_id}/replay"
        ends = (("done", None), ("done", "succeeded"), ("abandon", None), ("cancel", None))
        for end, status in ends:
            body = {"since": now(-DAY_MS), "until": now(), "status": status}
            started = world.call("POST", path, 202, json=body)
            state = {**names(webhook_id), "replay_id": started["id"], "action": "replay"}
            world.call("GET", f"{path}s")
            world.call("GET", f"{path}s/{started['id']}")
            if end == "cancel":
                world.call("DELETE", f"{path}s/{started['id']}")
            elif end == "abandon":
                world.retry(action="abandon", state={"version": 1, **state})
            else:
                state = world.retry(**state, seconds=0)
                while state["decision"] != "done":
                    state = world.retry(**state)


def sweep(world: World) -> None:
    """The sweep restarts abandoned work: a delivery's retries, and a recovery."""
    long_ago = {"N": str(int(time.time() * 1000) - DAY_MS)}
    with world.webhook(Answer(500)) as (webhook_id, _):
        world.dispatch(world.event())
        [delivery] = world.deliveries(webhook_id, status="retrying")
        key = {"owner": f"acc_1#{webhook_id}", "delivery_id": delivery["id"]}
        world.change("DeliveriesTable", key, next_attempt_at=long_ago)
        world.stop(delivery["id"])
        for _ in range(FAILURES_TO_OPEN):
            world.dispatch(world.event())
        world.change("WebhooksTable", names(webhook_id), recovery_due_at=long_ago)
        swept = world.retry(action="sweep")
        assert swept == Swept(overdue_deliveries=1, overdue_recoveries=1)._asdict()


def erase(world: World) -> None:
    """A recipient's deliveries are erased, until a fault makes the job give up the rest."""
    with world.webhook() as (webhook_id, _):
        world.dispatch(world.event())
        erasure = world.call("DELETE", "/api/v1/recipients/recipient%40example.com", 202)
        state = {"account_id": "acc_1", "erasure_id": erasure["id"], "action": "erase"}
        assert world.retry(**state)["decision"] == "wait"
        world.retry(action="abandon", state={"version": 1, **state})
        path = f"/api/v1/recipients/erasures/{erasure['id']}"
        assert world.call("GET", path)["status"] == "failed"
        assert world.deliveries(webhook_id)


def check(world: World) -> None:
    """A receiver is checked, and its second check is given up; in a rotation it has moved."""
    with world.webhook(Answer(401), Answer(200)) as (webhook_id, _):
        world.call("POST", f"{WEBHOOKS}/{webhook_id}/rotate-secret")
        path = f"{WEBHOOKS}/{webhook_id}/check"
        for end in ("completed", "failed"):
            started = world.call("POST", path, 202)
            state = {**names(webhook_id), "check_id": started["id"], "action": "check"}
            if end == "failed":
                world.retry(action="abandon", state={"version": 1, **state})
            else:
                assert world.retry(**state)["decision"] == "done"
            assert world.call("GET", f"{path}s/{started['id']}")["status"] == end


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


def _recovery(world: World, webhook_id: str) -> dict[str, Any]:
    recovery_id = world.item(webhook_id)["recovery_id"]["S"]
    return {"action": "recover", "recovery_id": recovery_id, "seconds": 0}


def _heal(world: World, webhook_id: str) -> None:
    """Reset the count of failures, which would open the circuit amid a schedule."""
    world.change("WebhooksTable", names(webhook_id), failures={"N": "0"})
