"""What only looks like a record of Amazon SES, and what no event is made of."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest

from support.ses_records import MISSING, paths_in
from support.ses_vectors import FOLDER, TABLE, body_of, only, refusal, vector
from webhooks.domain.errors import InvalidEventError
from webhooks.domain.payload import MAX_DEPTH, parse
from webhooks.domain.ses import to_events


@pytest.mark.parametrize(
    ("name", "path", "value"),
    [
        ("bounce", ("mail",), "text"),
        ("bounce", ("mail", "messageId"), None),
        ("bounce", ("mail", "timestamp"), "noon"),
        ("bounce", ("mail", "tags", "account_id"), ["no#account"]),
        ("bounce", ("mail", "tags", "transaction_id"), ["\x00"]),
        ("bounce", ("bounce",), None),
        ("bounce", ("bounce", "timestamp"), 17),
        ("deliverydelay", ("deliveryDelay",), "text"),
        ("subscription", ("subscription", "timestamp"), None),
        ("eventbridge_open", ("detail",), "text"),
        ("eventbridge_open", ("detail", "eventType"), ""),
        ("eventbridge_open", ("detail", "eventType"), None),
        ("eventbridge_open", ("source",), "my.shop"),
        ("open", ("eventType",), 17),
        ("reject", ("mail",), None),
        ("complaint", ("complaint", "timestamp"), ""),
    ],
)
def test_what_only_looks_like_ses_is_refused(
    name: str, path: tuple[str, ...], value: object
) -> None:
    record = vector(name)
    parent = record
    for key in path[:-1]:
        parent = parent[key]
    parent[path[-1]] = value
    error = refusal(record)
    assert error.reason == "invalid_field"
    assert error.field.startswith((".".join(path), "eventType"))


@pytest.mark.parametrize("empty", [None, ""])
def test_an_empty_type_hides_no_notification_type(empty: str | None) -> None:
    record = vector("bounce")
    record["notificationType"] = record.pop("eventType", None) or record["notificationType"]
    expected = to_events(record)
    assert to_events(record | {"eventType": empty}) == expected != []


WRONG: tuple[Any, ...] = (None, "text", 17, True, [], {}, ["text"])


@pytest.mark.parametrize("name", [path.stem for path in sorted(FOLDER.glob("*.json"))])
def test_whatever_is_missing_or_of_another_type_a_record_is_events_or_refused(name: str) -> None:
    """Nothing of it may be an error of ours, which would send the message round five times."""
    tried = 0
    for path in paths_in(vector(name)):
        for value in (MISSING, *WRONG):
            record = vector(name)
            parent = record
            for key in path[:-1]:
                parent = parent[key]
            if value is MISSING:
                del parent[path[-1]]
            else:
                parent[path[-1]] = value
            with contextlib.suppress(InvalidEventError):
                to_events(record, accounts=TABLE)
            tried += 1
    assert tried > 100


def test_what_would_nest_too_deep_to_be_read_again_is_left_out() -> None:
    """An erasure reads what was delivered, and a shard what is to be."""
    record = vector("click")
    # A record's detail is a level below its top, an event's two.
    record["click"]["linkTags"] = {"a": nested(MAX_DEPTH - 4)}
    assert parse(only(record).body)["data"]["click"]["link_tags"]  # type: ignore[index]
    record["click"]["linkTags"] = {"a": nested(MAX_DEPTH - 3)}
    parse(json.dumps(record))
    click = body_of(only(record))["data"]["click"]
    assert "link_tags" not in click
    assert click["link"] == record["click"]["link"]


def nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels - 1):
        value = [value]
    return value
