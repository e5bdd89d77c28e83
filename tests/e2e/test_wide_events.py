"""An event to more webhooks than one dispatcher attempts, over a queue that is really polled."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support import samples
from support.stack import eventually
from webhooks.adapters.dynamodb import item_keys, webhook_items
from webhooks.domain.shard import MOST_AT_ONCE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.receiver import Receiver
    from support.stack import Account, Stack

WIDE = MOST_AT_ONCE + 5


@pytest.fixture
def wide(stack: Stack, account: Account, receiver: Receiver) -> Iterator[Account]:
    """An account with more webhooks than the setting allows, which an operator would raise."""
    table = {"TableName": stack.table("WebhooksTable")}
    webhooks = [
        samples.webhook(number, url=receiver.url, account_id=account.id)
        for number in range(1, WIDE + 1)
    ]
    dynamodb = stack.client("dynamodb")
    for webhook in webhooks:
        dynamodb.put_item(**table, Item=webhook_items.webhook_item(webhook, samples.SECRET))
    yield account
    # A deletion over the API would lower a count that never included them.
    for webhook in webhooks:
        dynamodb.delete_item(**table, Key=item_keys.webhook_key(account.id, webhook.id))


def test_a_wide_event_reaches_each_webhook_once(
    stack: Stack, wide: Account, receiver: Receiver
) -> None:
    wide.publish()
    eventually(lambda: len(receiver.requests) >= WIDE, "all arrived", timeout=60)
    stack.events.wait_until_empty()
    posts = list(receiver.requests)
    assert len({one.headers["x-sendcomms-delivery"] for one in posts}) == len(posts) == WIDE
    assert len({(one.headers["webhook-id"], one.body) for one in posts}) == 1
