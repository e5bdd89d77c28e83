"""Parts of messages in the form of the release before."""

from __future__ import annotations

import json

import pytest

from ops.former_parts import former_bodies

PART = {"shard": ["a", "c"], "account_id": "acc_1", "body": "{}"}


def test_a_part_that_names_webhooks_becomes_one_for_each() -> None:
    bodies = former_bodies(json.dumps({**PART, "webhooks": ["a", "c"]}))
    assert bodies is not None
    assert [json.loads(body) for body in bodies] == [
        {**PART, "shard": ["a", "a"]},
        {**PART, "shard": ["c", "c"]},
    ]


def test_an_array_of_parts_becomes_a_message_for_each() -> None:
    bodies = former_bodies(json.dumps([PART, {**PART, "webhooks": ["b"]}]))
    assert bodies is not None
    assert [json.loads(body)["shard"] for body in bodies] == [["a", "c"], ["b", "b"]]


@pytest.mark.parametrize("body", ["no JSON", "[]", "1", '{"event":"email.sent"}', '[{"a":1}]'])
def test_any_other_message_is_left(body: str) -> None:
    assert former_bodies(body) is None
