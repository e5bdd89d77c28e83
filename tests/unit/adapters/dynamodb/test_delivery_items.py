"""The stored form of attempts: further facts next to them, and the forms of earlier builds."""

from __future__ import annotations

import json

from support import samples
from webhooks.adapters.dynamodb.delivery_items import delivery_item, read_delivery
from webhooks.domain.delivery import SignedWith

RETENTION_SECONDS = 30 * 86_400
SIGNED = samples.attempt(requests=2, signed_with=SignedWith.NEW)


def test_a_stored_attempt_has_no_field_that_the_release_before_does_not_read() -> None:
    item = delivery_item(samples.delivery(attempts=(SIGNED,)), RETENTION_SECONDS)
    [attempt] = item["attempts"]["L"]
    assert len(json.loads(attempt["S"])) <= 8
    assert read_delivery(item).attempts == (SIGNED,)


def test_an_attempt_that_has_its_signature_in_the_list_is_read() -> None:
    item = delivery_item(samples.delivery(attempts=(SIGNED,)), RETENTION_SECONDS)
    fields = json.loads(item["attempts"]["L"][0]["S"])
    fields += [None] * (8 - len(fields))
    earlier = {
        **{name: value for name, value in item.items() if name != "signed"},
        "attempts": {"L": [{"S": json.dumps([*fields, 2, SIGNED.signed_with])}]},
    }
    assert read_delivery(earlier).attempts == (SIGNED,)
