"""Stories that begin under one release and end under the other, in either direction.

A story is a generator: its part before the `yield` runs under the first release, the rest under the
second. Each has an account and a receiver of its own.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from support.receiver import Answer, Receiver
from support.samples import event_document, event_text
from webhooks.domain.signing import sendcomms_signature
from webhooks.domain.timestamps import to_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.http_api import AccountClient
    from support.receiver import Request
    from upgrade.releases import Releases

    Story = Callable[[Releases], Iterator[None]]

RECIPIENT = "anna@example.com"


def register(account: AccountClient, receiver: Receiver, **fields: Any) -> dict[str, Any]:
    """Register a webhook for all events; returns it with its secret."""
    made = account.call("POST", json={"url": receiver.url, "events": ["*"], **fields})
    assert made.status == 201, made.text
    webhook: dict[str, Any] = made.data
    return webhook


def publish(releases: Releases, account_id: str, number: int = 0, **changes: Any) -> str:
    """Put an event on the queue; returns its message."""
    now = to_text(int(time.time() * 1000))
    named = {"transaction_id": f"txn_{account_id}_{number}", "timestamp": now, **changes}
    text = event_text(account_id=account_id, **named)
    releases.events.send(text, account_id)
    return text


def deliveries(
    account: AccountClient, webhook: dict[str, Any], **query: Any
) -> list[dict[str, Any]]:
    """Return a webhook's log, newest first."""
    listed = account.call("GET", f"/api/v1/webhooks/{webhook['id']}/deliveries", query=query)
    assert listed.status == 200, listed.text
    found: list[dict[str, Any]] = listed.data
    return found


def statuses(account: AccountClient, webhook: dict[str, Any]) -> list[str]:
    return [one["status"] for one in deliveries(account, webhook)]


def delivered(
    releases: Releases, account: AccountClient, webhook: dict[str, Any], count: int
) -> None:
    """Wait until a webhook's log has so many deliveries, all of them delivered."""
    releases.wait(
        lambda: statuses(account, webhook) == ["succeeded"] * count, f"{count} are delivered"
    )


def by_secrets(*secrets: str) -> Callable[[Request], Answer]:
    """Return a receiver that accepts signatures with one of these secrets."""

    def answer(request: Request) -> Answer:
        genuine = {sendcomms_signature(secret, request.body) for secret in secrets}
        return Answer(200 if request.headers.get("x-sendcomms-signature") in genuine else 401)

    return answer


def a_retry_waits(releases: Releases) -> Iterator[None]:
    account = releases.account("acc_retry")
    with Receiver(Answer(500)) as receiver:
        webhook = register(account, receiver)
        publish(releases, "acc_retry")
        releases.dispatch()
        releases.wait_for_call("acc_retry")
        receiver.answer_with(by_secrets(webhook["secret"]))
        yield
        delivered(releases, account, webhook, 1)
        assert len(receiver.requests) == 2
        assert {one.headers["x-sendcomms-attempt"] for one in receiver.requests} == {"1", "2"}
        assert len({one.body for one in receiver.requests}) == 1


def an_event_waits_on_the_queue(releases: Releases) -> Iterator[None]:
    account = releases.account("acc_queue")
    with Receiver(Answer(503)) as receiver:
        webhook = register(account, receiver)
        yield
        receiver.answer_with(by_secrets(webhook["secret"]))
        publish(releases, "acc_queue")
        releases.dispatch()
        delivered(releases, account, webhook, 1)


def events_of_each_producer_wait_on_the_queue(releases: Releases) -> Iterator[None]:
    account = releases.account("acc_all")
    with Receiver() as receiver:
        webhook = register(account, receiver)
        releases.later(event_text(account_id="acc_all"), "acc_all")
        published = {"event": "email.sent", "data": {"to": RECIPIENT}}
        named = {"account_id": "acc_all", **published}
        releases.later(json.dumps(named), "acc_all")
        record = ses_record("acc_all")
        releases.later(json.dumps(record), None)
        releases.later(json.dumps({"Type": "Notification", "Message": json.dumps(record)}), None)
        yield
        # The record is the same event by either way.
        delivered(releases, account, webhook, 3)
        assert len(receiver.requests) == 3
        receiver.answer_with(by_secrets(webhook["secret"]))


def ses_record(account_id: str) -> dict[str, Any]:
    mail = {
        "timestamp": "2026-11-30T10:00:00.000Z",
        "messageId": "0100019aab-1",
        "source": "hello@example.com",
        "destination": [RECIPIENT],
        "tags": {"account_id": [account_id]},
        "commonHeaders": {"subject": "Welcome"},
    }
    delivery = {"timestamp": "2026-11-30T10:00:01.000Z", "recipients": [RECIPIENT]}
    return {"eventType": "Delivery", "mail": mail, "delivery": delivery}


def a_webhook_is_down(releases: Releases) -> Iterator[None]:
    account = releases.account("acc_down")
    with Receiver(Answer(500)) as receiver:
        webhook = register(account, receiver)
        for number in range(10):
            publish(releases, "acc_down", number)
        releases.dispatch()
        releases.wait_until_shown(account, webhook, "down")
        for number in range(10, 13):
            publish(releases, "acc_down", number)
        releases.dispatch()
        assert statuses(account, webhook).count("waiting") >= 3
        receiver.answer_with(by_secrets(webhook["secret"]))
        yield
        delivered(releases, account, webhook, 13)
        # It settles for 90 seconds more.
        releases.wait_until_shown(account, webhook, "recovering", "healthy")


def a_replay_runs(releases: Releases) -> Iterator[None]:
    account = releases.account("acc_replay")
    with Receiver() as receiver:
        webhook = register(account, receiver)
        for number in range(3):
            publish(releases, "acc_replay", number)
        releases.dispatch()
        path = f"/api/v1/webhooks/{webhook['id']}/replay"
        since = to_text(int((time.time() - 3600) * 1000))
        begun = account.call("POST", path, json={"since": since, "status": "succeeded"})
        assert begun.status == 202, begun.text
        releases.wait_for_call("acc_replay")
        yield
        shown = f"/api/v1/webhooks/{webhook['id']}/replays/{begun.data['id']}"
        ended = releases.wait_until_ended(account, shown)
        assert (ended["status"], ended["succeeded"]) == ("completed", 3)
        assert len(receiver.requests) == 6


def an_erasure_runs(releases: Releases) -> Iterator[None]:
    account = releases.account("acc_erasure")
    with Receiver() as receiver:
        webhook = register(account, receiver)
        data = {**event_document()["data"], "to": RECIPIENT}
        publish(releases, "acc_erasure", 1, data=data)
        publish(releases, "acc_erasure", 2)
        releases.dispatch()
        begun = account.call("DELETE", f"/api/v1/recipients/{RECIPIENT}")
        assert begun.status == 202, begun.text
        releases.wait_for_call("acc_erasure")
        yield
        shown = f"/api/v1/recipients/erasures/{begun.data['id']}"
        ended = releases.wait_until_ended(account, shown)
        assert (ended["status"], ended["erased"]) == ("completed", 1)
        assert sum(one.get("erased", False) for one in deliveries(account, webhook)) == 1


def a_check_runs(releases: Releases) -> Iterator[None]:
    account = releases.account("acc_check")
    with Receiver() as receiver:
        webhook = register(account, receiver)
        receiver.answer_with(by_secrets(webhook["secret"]))
        begun = account.call("POST", f"/api/v1/webhooks/{webhook['id']}/check")
        assert begun.status == 202, begun.text
        releases.wait_for_call("acc_check")
        yield
        shown = f"/api/v1/webhooks/{webhook['id']}/checks/{begun.data['id']}"
        ended = releases.wait_until_ended(account, shown)
        assert ended["status"] == "completed", ended


def an_event_comes_again(releases: Releases) -> Iterator[None]:
    account = releases.account("acc_again")
    with Receiver() as receiver:
        webhook = register(account, receiver)
        with_time = publish(releases, "acc_again")
        without = publish(releases, "acc_again", id="evt_claimed", timestamp=None)
        releases.dispatch()
        assert len(receiver.requests) == 2
        yield
        for text in (with_time, without):
            releases.events.send(text, "acc_again")
        releases.dispatch()
        assert len(receiver.requests) == 2
        assert statuses(account, webhook) == ["succeeded"] * 2


def a_rotation_overlaps(releases: Releases) -> Iterator[None]:
    account = releases.account("acc_rotate")
    with Receiver(Answer(500)) as receiver:
        webhook = register(account, receiver)
        path = f"/api/v1/webhooks/{webhook['id']}/rotate-secret"
        rotated = account.call("POST", path, json={})
        assert rotated.status == 200, rotated.text
        publish(releases, "acc_rotate")
        releases.dispatch()
        releases.wait_for_call("acc_rotate")
        [failed] = deliveries(account, webhook)
        assert failed["status"] == "retrying"
        receiver.answer_with(by_secrets(rotated.data["secret"]))
        yield
        delivered(releases, account, webhook, 1)
        one = f"/api/v1/webhooks/{webhook['id']}/deliveries/{failed['id']}"
        shown = account.call("GET", one)
        assert shown.status == 200, shown.text
        assert shown.data["status"] == "succeeded"


def an_exhausted_delivery_is_redriven(releases: Releases) -> Iterator[None]:
    account = releases.account("acc_dead")
    releases.free.add("acc_dead")
    with Receiver(Answer(500)) as receiver:
        webhook = register(account, receiver)
        publish(releases, "acc_dead")
        releases.dispatch()
        releases.wait(lambda: statuses(account, webhook) == ["exhausted"], "it is exhausted")
        releases.wait(lambda: releases.letters_of("acc_dead"), "its message is there")
        receiver.answer_with(by_secrets(webhook["secret"]))
        yield
        assert statuses(account, webhook) == ["exhausted"]
        releases.redrive("acc_dead")
        delivered(releases, account, webhook, 1)


def lists_go_on(releases: Releases) -> Iterator[None]:
    account = releases.account("acc_lists")
    with Receiver() as receiver:
        webhooks = [register(account, receiver, description=f"number {n}") for n in range(3)]
        for number in range(2):
            publish(releases, "acc_lists", number, event="email.sent")
        releases.dispatch()
        log = f"/api/v1/webhooks/{webhooks[0]['id']}/deliveries"
        paths = ["/api/v1/webhooks", log, "/api/v1/api-keys"]
        account.call("POST", "/api/v1/api-keys", json={"name": "another"})
        firsts = [account.call("GET", path, query={"limit": "1"}) for path in paths]
        yield
        for path, first in zip(paths, firsts, strict=True):
            whole = account.call("GET", path)
            assert whole.status == 200, whole.text
            second = account.call(
                "GET", path, query={"limit": "1", "cursor": first.json["pagination"]["next_cursor"]}
            )
            assert second.status == 200, second.text
            assert [first.data[0]["id"], second.data[0]["id"]] == [
                one["id"] for one in whole.data[:2]
            ]


STORIES: tuple[Story, ...] = (
    a_retry_waits,
    an_event_waits_on_the_queue,
    events_of_each_producer_wait_on_the_queue,
    a_webhook_is_down,
    a_replay_runs,
    an_erasure_runs,
    a_check_runs,
    an_event_comes_again,
    a_rotation_overlaps,
    an_exhausted_delivery_is_redriven,
    lists_go_on,
)
