"""Throttling by DynamoDB is our own fault for every call: moto throttles none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from botocore.awsrequest import AWSResponse, HTTPHeaders

from support import samples
from support.engines import MOTO
from support.stores import on_dynamodb, open_dynamodb
from webhooks.domain.api_key import ApiKey
from webhooks.domain.delivery import Status
from webhooks.domain.errors import UnavailableError
from webhooks.domain.health import RecoveryKey
from webhooks.domain.jobs.replay import NOT_ARRIVED, Replay, ReplayStatus
from webhooks.domain.selection import Selection
from webhooks.domain.webhook import Secrets
from webhooks.ports import DeliveryQuery, JobOwner, WebhookChanges

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.stores import Clock, Stores

DELIVERY = samples.delivery()
REPLAY_ID = "019b4069-0000-7000-8000-00000000000a"
SELECTION = Selection(0, samples.NOW_MS, NOT_ARRIVED)
SUCCEEDED = Selection(0, samples.NOW_MS, (Status.SUCCEEDED,))
REPLAY = Replay("acc_1", samples.WEBHOOK_ID, REPLAY_ID, SELECTION, samples.NOW_MS, samples.NOW_MS)
RECOVERY = RecoveryKey("acc_1", samples.WEBHOOK_ID, "r")
ENDED = REPLAY.ended(ReplayStatus.COMPLETED, 0)
KEY = ApiKey("h", "key_1", "acc_1", "first", "90ab", samples.NOW_MS)
OWNER = ("acc_1", samples.WEBHOOK_ID)
CALLS: dict[str, Callable[[Stores], object]] = {
    "webhooks.create": lambda on: on.webhooks.create(samples.webhook(), "s", limit=1),
    "webhooks.get": lambda on: on.webhooks.get(*OWNER),
    "webhooks.page": lambda on: on.webhooks.page("acc_1", 1),
    "webhooks.newest_urls": lambda on: on.webhooks.newest_urls("acc_1"),
    "webhooks.update": lambda on: on.webhooks.update(*OWNER, WebhookChanges(active=True), 0),
    "webhooks.rotate_secret": lambda on: on.webhooks.rotate_secret(
        *OWNER, "s", previous_until_ms=1, now_ms=0
    ),
    "webhooks.restore_secret": lambda on: on.webhooks.restore_secret(*OWNER, "s"),
    "webhooks.delete": lambda on: on.webhooks.delete(*OWNER),
    "destinations.destinations": lambda on: on.destinations.destinations("acc_1"),
    "destinations.destination": lambda on: on.destinations.destination(*OWNER),
    "destinations.end_overlap": lambda on: on.destinations.end_overlap(*OWNER, "s"),
    "destinations.refused_both": lambda on: on.destinations.refused_both(*OWNER, Secrets("s"), 0),
    "health.failed": lambda on: on.health.failed(*OWNER, 1, 0),
    "health.succeeded": lambda on: on.health.succeeded(*OWNER, 0),
    "health.open": lambda on: on.health.open(RECOVERY, 0, 0),
    "health.warn": lambda on: on.health.warn(*OWNER, 0, 0),
    "health.disable": lambda on: on.health.disable(*OWNER, "gone", 0),
    "health.keep": lambda on: on.health.keep(RECOVERY, 0),
    "health.end": lambda on: on.health.end(RECOVERY, 0),
    "health.replace": lambda on: on.health.replace(RECOVERY, "n", 0),
    "health.overdue": lambda on: on.health.overdue(0, 1),
    "deliveries.get": lambda on: on.deliveries.get(DELIVERY.key),
    "deliveries.get_many": lambda on: on.deliveries.get_many([DELIVERY.key]),
    "deliveries.create": lambda on: on.deliveries.create(DELIVERY),
    "deliveries.note_expiring": lambda on: on.deliveries.note_expiring(DELIVERY),
    "deliveries.update": lambda on: on.deliveries.update(DELIVERY, before=DELIVERY),
    "overdue.page": lambda on: on.overdue.page("0", 0, 1, 1),
    "overdue_jobs.overdue": lambda on: on.overdue_jobs.overdue(1, 1),
    "log.page": lambda on: on.log.page(DeliveryQuery(*OWNER), 1),
    "reader.oldest_first": lambda on: on.reader.oldest_first(*OWNER, SELECTION, 1),
    "reader.oldest_first of others": lambda on: on.reader.oldest_first(*OWNER, SUCCEEDED, 1),
    "replays.create": lambda on: on.replays.create(REPLAY),
    "replays.get": lambda on: on.replays.get(REPLAY.key),
    "replays.page": lambda on: on.replays.page(JobOwner(*OWNER), 1),
    "replays.count_since": lambda on: on.replays.count_since(JobOwner(*OWNER), 0),
    "replays.running_one": lambda on: on.replays.running_one(JobOwner(*OWNER)),
    "replays.save": lambda on: on.replays.save(REPLAY, REPLAY),
    "replays.save the end": lambda on: on.replays.save(REPLAY, ENDED),
    "replays.running_since": lambda on: on.replays.running_since(JobOwner(*OWNER), 0),
    "api_keys.create": lambda on: on.api_keys.create(KEY),
    "api_keys.get": lambda on: on.api_keys.get("h"),
    "api_keys.find": lambda on: on.api_keys.find("acc_1", "key_1"),
    "api_keys.page": lambda on: on.api_keys.page("acc_1", 1),
    "api_keys.revoke": lambda on: on.api_keys.revoke("h", 0),
    "api_keys.touch": lambda on: on.api_keys.touch("h", 0),
}


@pytest.fixture
def throttled(clock: Clock) -> Iterator[Stores]:
    """All stores on a DynamoDB that refuses every request for now."""

    def refuse(**_: Any) -> Any:
        error = {"Code": "ThrottlingException", "Message": "Rate exceeded"}
        return AWSResponse("", 400, HTTPHeaders(), None), {"Error": error}

    with open_dynamodb(MOTO) as client:
        client.meta.events.register_first("before-call.dynamodb", refuse)
        yield on_dynamodb(client, clock)


@pytest.mark.parametrize("name", CALLS)
def test_a_throttled_call_is_our_own_trouble_and_never_an_absence(
    throttled: Stores, name: str
) -> None:
    with pytest.raises(UnavailableError, match="ThrottlingException"):
        CALLS[name](throttled)


def test_throttled_writes_of_a_batch_are_told(throttled: Stores) -> None:
    assert throttled.deliveries.put_settled([DELIVERY]) == [DELIVERY.key]
