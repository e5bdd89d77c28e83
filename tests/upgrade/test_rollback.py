"""Work that this release began, ended by the one before: a rollback."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

import pytest

from ops.former_parts import redrive_parts
from support import samples
from support.receiver import Answer, Receiver
from support.ses_records import ACCOUNTS
from upgrade.release_stories import (
    STORIES,
    by_secrets,
    delivered,
    publish,
    register,
    statuses,
)
from upgrade.releases import Releases, both_releases
from webhooks.adapters.sqs import SQSEventQueue
from webhooks.domain.delivery import FailureReason, SignedWith, delivery_id
from webhooks.domain.ingest import read_message
from webhooks.domain.resending import Outgoing
from webhooks.domain.shard import Part, to_messages

if TYPE_CHECKING:
    from collections.abc import Iterator

    from webhooks.domain.event import Event


def a_long_retry_waits(releases: Releases) -> Iterator[None]:
    account = releases.account("acc_long")
    with Receiver(Answer(500)) as receiver:
        webhook = register(account, receiver)
        publish(releases, "acc_long")
        with releases.long_delays():
            releases.dispatch()
        releases.wait_for_call("acc_long")
        receiver.answer_with(by_secrets(webhook["secret"]))
        yield
        delivered(releases, account, webhook, 1)
        assert len(receiver.requests) == 2
        [letter] = releases.letters_of("acc_long")
        assert (letter["type"], letter["reason"]) == ("delivery.interrupted", "internal_error")
        releases.redrive("acc_long")
        assert len(receiver.requests) == 2, "its message is of no harm"


def parts_are_on_the_queue(releases: Releases) -> Iterator[None]:
    account = releases.account("acc_parts")
    now_ms = int(time.time() * 1000)
    with Receiver() as receiver:
        webhooks = [register(account, receiver) for _ in range(4)]
        ids = sorted(webhook["id"] for webhook in webhooks)
        sent, received = (_event("acc_parts", name) for name in ("email.sent", "email.delivered"))
        ends = [Part.naming(event, (ids[0], ids[3]), now_ms) for event in (sent, received)]
        middle = [Part.naming(sent, ids[1:3], now_ms)]
        [(together, _)] = to_messages([(part, 2) for part in ends], lambda: 100)
        [(alone, _)] = to_messages([(part, 2) for part in middle], lambda: 100)
        assert together.startswith("[")
        releases.later(together, "acc_parts")
        releases.later(alone, "acc_parts")
        yield
        assert not receiver.requests
        stack = releases.stack
        for _ in range(2):
            redrive_parts(
                releases.sqs,
                stack.events_dead_letter_queue_url,
                stack.events_queue_url,
                lambda _: None,
                threads=1,
            )
            releases.dispatch()
        by_id = {webhook["id"]: webhook for webhook in webhooks}
        for at, webhook_id in enumerate(ids):
            delivered(releases, account, by_id[webhook_id], 2 if at in {0, 3} else 1)
        assert len(receiver.requests) == 6


def _event(account_id: str, name: str) -> Event:
    text = samples.event_text(account_id=account_id, event=name)
    sent_at_ms = int(time.time() * 1000)
    [event] = read_message(text, sent_at_ms=sent_at_ms, ses_accounts=ACCOUNTS).events
    return event


def a_message_was_sent_again(releases: Releases) -> Iterator[None]:
    account = releases.account("acc_sent_again")
    with Receiver() as receiver:
        webhook = register(account, receiver)
        yield
        text = samples.event_text(account_id="acc_sent_again")
        arrived_at_ms = int(time.time() * 1000) - 60_000
        again = Outgoing(
            *(text, "acc_sent_again"),
            arrived_at_ms=arrived_at_ms,
            tries=3,
            suspicions=1,
            delays=2,
            paced=1,
        )
        queue = SQSEventQueue(releases.sqs, releases.stack.events_queue_url)
        assert not queue.put([again])
        releases.dispatch()
        delivered(releases, account, webhook, 1)


def an_attempt_has_what_only_this_release_knows(releases: Releases) -> Iterator[None]:
    account = releases.account("acc_words")
    now_ms = int(time.time() * 1000)
    with Receiver() as receiver:
        webhook = register(account, receiver)
        attempts = (
            samples.attempt(1, error=FailureReason.RESPONSE_TOO_LARGE, started_at_ms=now_ms),
            samples.attempt(2, requests=2, signed_with=SignedWith.NEW, started_at_ms=now_ms),
        )
        delivery = samples.delivery(
            account_id="acc_words",
            webhook_id=webhook["id"],
            id=delivery_id("evt_words", now_ms, webhook["id"]),
            attempts=attempts,
            created_at_ms=now_ms,
            next_attempt_at_ms=now_ms,
            unstarted=True,
            short=True,
        )
        store = releases.worker_services._deliveries
        assert store.create(delivery) == delivery
        assert store.get(delivery.key) == delivery
        yield
        delivered(releases, account, webhook, 1)
        assert len(receiver.requests) == 1
        shown = account.call(
            "GET", f"/api/v1/webhooks/{webhook['id']}/deliveries/{delivery.id}"
        ).data
        assert [one["error"] for one in shown["attempts"][:1]] == ["answer_too_large"]
        back = store.get(delivery.key)
        assert back is not None
        assert back.attempts[:2] == attempts, "the release before keeps unknown fields"


def a_webhook_has_what_only_this_release_knows(releases: Releases) -> Iterator[None]:
    account = releases.account("acc_fields")
    with Receiver() as receiver:
        webhook = register(
            account,
            receiver,
            events=["email.sent", "email.failed"],
            external_id="mine",
            metadata={"team": "billing"},
        )
        yield
        assert account.call("GET").status == 200
        publish(releases, "acc_fields", event="email.sent")
        releases.dispatch()
        delivered(releases, account, webhook, 1)


def a_registration_is_repeated(releases: Releases) -> Iterator[None]:
    account = releases.account("acc_once")
    with Receiver() as receiver:
        once = {"Idempotency-Key": "one-registration"}
        body = {"url": receiver.url, "events": ["*"]}
        assert account.call("POST", json=body, headers=once).status == 201
        yield
        # The promise of docs/upgrading.md: for a day, and nothing is made twice.
        assert account.call("POST", json=body, headers=once).status == 500
        assert len(account.call("GET").data) == 1


def a_receiver_asked_for_a_pause(releases: Releases) -> Iterator[None]:
    account = releases.account("acc_pause")
    with Receiver(Answer(503, {"Retry-After": "600"})) as receiver:
        webhook = register(account, receiver)
        for number in range(2):
            publish(releases, "acc_pause", number)
            releases.dispatch()
        assert sorted(statuses(account, webhook)) == ["retrying", "waiting"]
        receiver.answer_with(by_secrets(webhook["secret"]))
        yield
        # The release before knows no pause of a webhook, and its recovery drains at once. The retry
        # waits in an execution of its own until its time, and is then like any other.
        releases.wait(
            lambda: sorted(statuses(account, webhook)) == ["retrying", "succeeded"], "one waited"
        )


ALL = (
    *STORIES,
    a_long_retry_waits,
    parts_are_on_the_queue,
    a_message_was_sent_again,
    an_attempt_has_what_only_this_release_knows,
    a_webhook_has_what_only_this_release_knows,
    a_registration_is_repeated,
    a_receiver_asked_for_a_pause,
)


class Begun(NamedTuple):
    """Both releases, and the stories by name."""

    releases: Releases
    stories: dict[str, Iterator[None]]


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Begun]:
    """Every story after the rollback, by name."""
    with both_releases(tmp_path_factory.mktemp("releases")) as releases:
        releases.deploy_this()
        stories = {story.__name__: story(releases) for story in ALL}
        for story in stories.values():
            next(story)
        releases.enqueue()
        releases.roll_back()
        releases.dispatch()
        releases.open()
        yield Begun(releases, stories)


@pytest.mark.parametrize("story", [story.__name__ for story in ALL])
def test_work_of_this_release_ends_in_the_former(begun: Begun, story: str) -> None:
    assert next(begun.stories[story], "ended") == "ended"


def test_an_open_retry_calls_a_function_that_is_gone_and_is_begun_anew(begun: Begun) -> None:
    for account_id in ("acc_retry", "acc_long"):
        called = begun.releases.calls(account_id)
        assert called[0] == (True, "WorkerFunction")
        assert called[-1] == (True, "RetrierFunction")


def test_a_job_is_handed_over(begun: Begun) -> None:
    names = {one.name for one in begun.releases.executions("RecoveryStateMachine")}
    assert sum("-rollback-" in name for name in names) >= 3
