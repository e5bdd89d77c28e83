"""The recipients of a record of Amazon SES: lists, addresses, and odd values in them."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.ses_records import MISSING, bare, told, with_odd
from webhooks.domain.errors import InvalidEventError
from webhooks.domain.recipient import addresses_of
from webhooks.domain.ses import to_events

RECIPIENT_LISTS = {
    "delivery-eventbridge": ("delivery", "recipients"),
    "bounce-two-recipients": ("bounce", "bouncedRecipients"),
    "complaint-two-of-one-provider": ("complaint", "complainedRecipients"),
    "delay-mailboxfull": ("deliveryDelay", "delayedRecipients"),
    "send-eventbridge": ("mail", "destination"),
}
NO_ADDRESS: tuple[Any, ...] = (
    None,
    "",
    "text",
    17,
    [],
    {},
    {"emailAddress": None},
    {"emailAddress": ""},
    "a@",
    "@b",
)


@pytest.mark.parametrize("name", sorted(RECIPIENT_LISTS))
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_an_entry_without_an_address_costs_that_entry(name: str, data: st.DataObject) -> None:
    record = bare(name)
    part, listed = RECIPIENT_LISTS[name]
    good = record[part][listed]
    whole = [told(event) for event in to_events(record)]
    odd = st.lists(st.sampled_from(NO_ADDRESS), max_size=2)
    mixed = data.draw(odd)
    for entry in good:
        mixed += [entry, *data.draw(odd)]
    record[part][listed] = mixed
    assert [told(event) for event in to_events(record)] == whole


@pytest.mark.parametrize("destination", [None, MISSING, [], [None], {"a": 1}, 17])
@pytest.mark.parametrize("name", sorted(RECIPIENT_LISTS))
def test_a_record_that_names_its_recipient_needs_no_destination(
    name: str, destination: object
) -> None:
    record = bare(name)
    whole = [event.id for event in to_events(record)]
    changed = with_odd(record, ("mail", "destination"), destination)
    assert [event.id for event in to_events(changed)] == whole
    if name == "send-eventbridge":
        del changed["mail"]["commonHeaders"]
        with pytest.raises(InvalidEventError) as caught:
            to_events(changed)
        assert (caught.value.reason, caught.value.field) == ("invalid_field", "mail.destination")


@pytest.mark.parametrize("name", sorted(RECIPIENT_LISTS))
def test_a_text_where_a_list_is_usual_is_a_list_of_it(name: str) -> None:
    record = bare(name)
    part, listed = RECIPIENT_LISTS[name]
    record[part][listed] = "zoe@customer.example"
    record["mail"]["tags"]["campaign"] = "autumn"
    record["mail"].setdefault("commonHeaders", {})["from"] = "Shop <orders@shop.example>"
    [event] = to_events(record)
    data = json.loads(event.body)["data"]
    assert data["to"] == "zoe@customer.example"
    assert data["tags"] == {"campaign": ["autumn"]}
    assert data["from"] == "Shop <orders@shop.example>"


def test_an_empty_list_leaves_the_list_of_mailed_recipients() -> None:
    """The bounced one of the two is unknown; an event for both would be wrong."""
    record = bare("bounce-two-recipients")
    record["bounce"]["bouncedRecipients"] = [{"action": "failed"}]
    [event] = to_events(record)
    to = json.loads(event.body)["data"]["to"]
    assert to == ["ada@customer.example", "bert@customer.example"]


@pytest.mark.parametrize(
    ("given_as", "address"),
    [
        ("Ada Example <ada@customer.example>", "ada@customer.example"),
        ('"Example, Ada" <ada@customer.example>', "ada@customer.example"),
        ("=?UTF-8?Q?Ad=C3=A9?= <ada@customer.example>", "ada@customer.example"),
        ('"old@shop.example" <ada@customer.example>', "ada@customer.example"),
        ("<ada@customer.example>", "ada@customer.example"),
        (" ada@customer.example (Ada) ", "ada@customer.example"),
        ("Ada <ada@customer.example> (home)", "ada@customer.example"),
        ("Ada+News@Customer.example", "Ada+News@Customer.example"),
        ('"a b"@customer.example', '"a b"@customer.example'),
    ],
)
def test_to_is_a_bare_address(given_as: str, address: str) -> None:
    record = bare("delivery-eventbridge")
    record["delivery"]["recipients"] = [given_as, address]
    [event] = to_events(record)
    assert json.loads(event.body)["data"]["to"] == address
    record = bare("open-google-proxy")
    record["mail"]["destination"] = [given_as, address]
    [event] = to_events(record)
    assert json.loads(event.body)["data"]["to"] == address


@pytest.mark.parametrize(
    ("destination", "expected"),
    [
        (["Ada <ada@customer.example>"], "ada@customer.example"),
        (["Alias@elsewhere.example"], None),
        (["ada@customer.example", "bert@customer.example"], None),
        (None, None),
    ],
)
def test_a_forwarded_bounce_names_the_address_that_was_mailed(
    destination: list[str] | None, expected: str | None
) -> None:
    record = bare("bounce-gmail-over-quota")
    record["mail"]["destination"] = destination
    record["bounce"]["bouncedRecipients"][0]["emailAddress"] = "alias@elsewhere.example"
    [event] = to_events(record)
    data = json.loads(event.body)["data"]
    assert data["to"] == "alias@elsewhere.example"
    assert data["bounce"].get("original_recipient") == expected
    if expected:
        assert expected in addresses_of(json.loads(event.body))


@pytest.mark.parametrize(
    "odd",
    [
        "Ada [shop] <ada@customer.example>",
        "ada@work.example <ada@customer.example>",
        "Ada (unclosed <ada@customer.example>",
        '"unclosed <ada@customer.example>',
    ],
)
def test_a_malformed_header_costs_no_other_recipient(odd: str) -> None:
    """Python's reader of addresses returns nothing of a list in which one text is malformed."""
    record = bare("send-eventbridge")
    record["mail"]["destination"] = None
    record["mail"]["commonHeaders"] |= {"to": [odd, "Bert <bert@x.example>, cleo@x.example"]}
    told_to = [json.loads(event.body)["data"]["to"] for event in to_events(record)]
    assert told_to[-2:] == ["bert@x.example", "cleo@x.example"]
    assert told_to[:-2] == ["ada@customer.example"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ada@x.example, bert@x.example", ["ada@x.example", "bert@x.example"]),
        ("Ada <ada@x.example>, Bert <bert@x.example>", ["ada@x.example", "bert@x.example"]),
        ("Team: ada@x.example, bert@x.example;", ["ada@x.example", "bert@x.example"]),
        ("Team: ada@x.example;", ["ada@x.example"]),
        ("Example, Ada <ada@x.example>", ["ada@x.example"]),
        ('"ada,work"@x.example', ['"ada,work"@x.example']),
    ],
)
def test_a_text_may_hold_several_recipients(text: str, expected: list[str]) -> None:
    record = bare("send-eventbridge")
    for destination in (text, [text]):
        record["mail"]["destination"] = destination
        found = [json.loads(event.body)["data"]["to"] for event in to_events(record)]
        assert found == expected


@pytest.mark.parametrize(
    "text",
    [
        "(" * 5_000 + ", a@x.example",
        "a:" * 5_000 + ", a@x.example",
        " " * 400_000 + "x" + " " * 400_000 + "x",
        "<" + " " * 400_000 + "@" + " " * 400_000,
        "<" + "@" * 800_000,
        "<@> " * 10_000,
        "(" * 200_000,
    ],
    ids=["parentheses", "groups", "spaces", "bracket", "ats", "brackets", "comments"],
)
def test_an_odd_text_takes_neither_the_stack_nor_the_time(text: str) -> None:
    """A time that grows with the square of the text would pass the test's time-out."""
    record = bare("send-eventbridge")
    for place in ("destination", "to"):
        record["mail"]["destination"] = [text, "bert@x.example"] if place == "destination" else None
        record["mail"]["commonHeaders"]["to"] = [text, "bert@x.example"]
        with contextlib.suppress(InvalidEventError):
            assert to_events(record)
