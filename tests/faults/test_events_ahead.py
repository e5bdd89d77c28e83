"""Row 96: events that are stamped ahead of now."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from support import samples
from support.receiver import Answer, Receiver
from webhooks.domain.filing import MAX_AHEAD_MS
from webhooks.domain.timestamps import to_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from faults.fault_harness import Tenant

    MakeReceiver = Callable[..., Receiver]

HOUR_MS = 3_600_000
FAR = "9999-12-31T23:59:59Z"


def now(offset_ms: int = 0) -> str:
    return to_text(int(time.time() * 1000) + offset_ms)


def stamps() -> dict[str, str]:
    """Return times ahead of now; `a_little` is the last that needs no claim."""
    return {
        "nine_hours": now(9 * HOUR_MS),
        "five_minutes": now(5 * 60_000),
        "far": FAR,
        "a_little": now(MAX_AHEAD_MS - 3000),
        "now": now(),
    }


def replayed(tenant: Tenant, path: str, **request: str) -> dict[str, Any]:
    """Start a replay, make its steps, and return the replay at its end."""
    started = tenant.acme.call("POST", f"{path}/replay", json=request)
    assert started.status == 202
    state = tenant.recoveries()[-1]
    assert tenant.retry(state)["decision"] == "done"
    data: dict[str, Any] = tenant.acme.call("GET", f"{path}/replays/{started.data['id']}").data
    return data


@pytest.mark.parametrize("status", ["retrying", "succeeded", None])
def test_row_96_an_event_stamped_ahead_is_in_the_log_and_in_a_replay_up_to_now(
    tenant: Tenant, receiver: MakeReceiver, status: str | None
) -> None:
    hook = receiver(Answer(200 if status == "succeeded" else 500))
    path = f"/api/v1/webhooks/{tenant.webhook(hook).id}"
    messages = [tenant.message(name, timestamp=stamp) for name, stamp in stamps().items()]
    assert tenant.dispatch(*messages, sent_at_ms=int(time.time() * 1000)) == []
    assert len(hook.requests) == len(messages)
    day = {"since": now(-24 * HOUR_MS)}
    for query in (day, day | {"until": now()}, {"since": now(-60_000)}):
        found = tenant.acme.call("GET", f"{path}/deliveries", query=query).data
        assert {one["transaction_id"] for one in found} == set(stamps())
    hook.answer_with(Answer(200))
    request = day | ({"status": status} if status else {})
    replay = replayed(tenant, path, **request)
    assert (replay["status"], replay["sent"]) == ("completed", len(messages))
    again = hook.requests[len(messages) :]
    assert {one.json["transaction_id"] for one in again} == set(stamps())
    assert {one.body for one in again} == {one.body for one in hook.requests[: len(messages)]}


def test_row_96_events_stamped_ahead_do_not_stand_above_what_came_later(
    tenant: Tenant, receiver: MakeReceiver
) -> None:
    path = f"/api/v1/webhooks/{tenant.webhook(receiver()).id}"
    ahead = [tenant.message(f"txn_{number}", timestamp=FAR) for number in range(5)]
    assert tenant.dispatch(*ahead, sent_at_ms=samples.NOW_MS) == []
    later = tenant.message("txn_later", timestamp=to_text(samples.NOW_MS + 60_000))
    assert tenant.dispatch(later, sent_at_ms=samples.NOW_MS + 60_000) == []
    [newest] = tenant.acme.call("GET", f"{path}/deliveries", query={"limit": "1"}).data
    assert newest["transaction_id"] == "txn_later"
    # The time in the body is the producer's own.
    assert sum(json.loads(one.body)["timestamp"] == FAR for one in tenant.deliveries()) == 5


def test_row_96_a_cut_until_is_said_in_the_answer(tenant: Tenant, receiver: MakeReceiver) -> None:
    path = f"/api/v1/webhooks/{tenant.webhook(receiver()).id}/replay"
    body = {"since": now(-HOUR_MS), "until": FAR}
    cut = tenant.acme.call("POST", path, json=body)
    assert cut.status == 202
    [warning] = cut.json["warnings"]
    assert warning["field"] == "until"
    assert cut.data["until"] in warning["message"]
    assert cut.data["until"] == cut.data["created_at"]


def test_row_96_an_until_of_the_past_is_not_cut(tenant: Tenant, receiver: MakeReceiver) -> None:
    path = f"/api/v1/webhooks/{tenant.webhook(receiver()).id}/replay"
    until = now(-1000)
    answer = tenant.acme.call("POST", path, json={"since": now(-HOUR_MS), "until": until})
    assert (answer.data["until"], "warnings" in answer.json) == (until, False)
