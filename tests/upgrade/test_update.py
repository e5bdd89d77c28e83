"""Work that the release before began, ended by this one: the update."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest

from ops import redrive
from support.receiver import Receiver
from upgrade.release_stories import STORIES, by_secrets, delivered, publish, register
from upgrade.releases import Releases, both_releases

if TYPE_CHECKING:
    from collections.abc import Iterator


def a_wide_event_is_in_shards(releases: Releases) -> Iterator[None]:
    account = releases.account("acc_wide")
    with Receiver() as receiver:
        webhooks = [register(account, receiver) for _ in range(6)]
        text = publish(releases, "acc_wide")
        releases.dispatch_once()
        shards = releases.take()
        assert len(shards) == 3
        for body in [*shards, text]:
            assert '"shard"' in body or body == text
            releases.later(body, "acc_wide")
        yield
        for webhook in webhooks:
            delivered(releases, account, webhook, 1)
        assert len(receiver.requests) == 6


def an_event_of_a_new_type_was_rejected(releases: Releases) -> Iterator[None]:
    account = releases.account("acc_type")
    with Receiver() as receiver:
        webhook = register(account, receiver)
        publish(releases, "acc_type", event="email.failed")
        releases.dispatch()
        yield
        assert not receiver.requests
        wanted = redrive.Wanted(reason="unknown_event")
        redrive.redrive_events(releases.sqs, releases.stack, wanted, lambda _: None, threads=1)
        releases.dispatch()
        delivered(releases, account, webhook, 1)


def a_registration_is_repeated(releases: Releases) -> Iterator[None]:
    account = releases.account("acc_once")
    with Receiver() as receiver:
        once = {"Idempotency-Key": "one-registration"}
        body = {"url": receiver.url, "events": ["*"]}
        first = account.call("POST", json=body, headers=once)
        yield
        second = account.call("POST", json=body, headers=once)
        assert (second.status, second.data) == (201, first.data)
        assert len(account.call("GET").data) == 1
        receiver.answer_with(by_secrets(first.data["secret"]))
        publish(releases, "acc_once")
        releases.dispatch()
        delivered(releases, account, first.data, 1)


ALL = (
    *STORIES,
    a_wide_event_is_in_shards,
    an_event_of_a_new_type_was_rejected,
    a_registration_is_repeated,
)


class Begun(NamedTuple):
    """Both releases, and the stories by name."""

    releases: Releases
    stories: dict[str, Iterator[None]]


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Begun]:
    """Every story after the update, by name."""
    with both_releases(tmp_path_factory.mktemp("releases")) as releases:
        releases.deploy_former()
        stories = {story.__name__: story(releases) for story in ALL}
        for story in stories.values():
            next(story)
        releases.enqueue()
        releases.deploy_this()
        releases.dispatch()
        releases.open()
        yield Begun(releases, stories)
        assert {
            is_former for _, is_former, name in releases.called if name == "WorkerFunction"
        } <= {False}


@pytest.mark.parametrize("story", [story.__name__ for story in ALL])
def test_work_of_the_former_release_ends_in_this(begun: Begun, story: str) -> None:
    assert next(begun.stories[story], "ended") == "ended"


def test_an_open_execution_calls_this_release_by_the_former_name(begun: Begun) -> None:
    for account_id in ("acc_retry", "acc_replay", "acc_erasure", "acc_check"):
        called = begun.releases.calls(account_id)
        assert set(called) == {(False, "RetrierFunction")}, "none was begun anew"
