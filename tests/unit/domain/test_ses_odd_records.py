"""One odd part of a record of Amazon SES loses itself alone, and never the record."""

from __future__ import annotations

import json
from typing import Any

import pytest

from support.ses_records import MISSING, bare, paths_in, validate, with_odd
from webhooks.domain.ses import to_events

ODD: tuple[Any, ...] = (None, "", "text", 17, True, 1.5, [], {}, [None], ["text"], [[]], {"a": 1})

ONE_OF_EACH = (
    *("send-eventbridge", "delivery-eventbridge", "bounce-two-recipients", "click-link-tags"),
    *("open-several-recipients", "complaint-yahoo", "delay-mailboxfull", "rendering-failure"),
    "subscription-unsubscribed",
)


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_an_odd_part_costs_itself_and_never_the_record(name: str) -> None:
    """A part may be missing, null or of another type: the rest is read as before."""
    record = bare(name)
    [*whole] = to_events(record)
    details = {"send", "delivery", "bounce", "complaint", "open", "click", "deliveryDelay"}
    required: set[tuple[Any, ...]] = {("mail",), ("mail", "messageId"), ("mail", "timestamp")}
    required |= {(part,) for part in record if part in details | {"subscription"} - {"send"}}
    required |= {(part, "timestamp") for part in record}
    required |= {("eventType",), ("notificationType",)}
    if "commonHeaders" not in record["mail"]:
        required |= {("mail", "destination"), ("mail", "destination", 0)}
    tried = 0
    for path in paths_in(record):
        if path in required:
            continue
        for value in (MISSING, *ODD):
            events = to_events(with_odd(record, path, value))
            tried += 1
            assert {event.type for event in events} == {whole[0].type}, (path, value)
            assert {event.timestamp for event in events} == {whole[0].timestamp}
            whom = {str(json.loads(event.body)["data"]["to"]) for event in events}
            assert all("@customer.example" in one for one in whom), (path, value)
            for event in events:
                validate(event)
    assert tried > 200
