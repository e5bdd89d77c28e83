"""Messages that only look like a record of Amazon SES, and records without an event."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest

from support.service_fixture import ServiceFixture
from support.ses_records import MISSING, paths_in
from unit.domain.ses_vectors import FOLDER, TABLE, body_of, only, refusal, vector
from webhooks.domain.errors import InvalidEventError
from webhooks.domain.event import MAX_BODY_BYTES
from webhooks.domain.payload import MAX_DEPTH, parse
from webhooks.domain.ses import SesAccounts, to_events


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
def test_messages_that_only_look_like_ses_are_refused(
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


@pytest.mark.parametrize(
    "value",
    [
        *(None, "", [], [""], [None], 17, [17], True, {}, [["acc_1"]], {"value": "acc_1"}),
        *(["acc_1", "acc_2"], ["acc_1", None], [17, "acc_1"], " acc_1", ["acc 1"], ["a" * 65]),
    ],
)
def test_an_account_tag_of_a_wrong_form_is_not_the_default_accounts(value: object) -> None:
    record = vector("bounce")
    record["mail"]["tags"]["account_id"] = value
    error = refusal(record)
    assert (error.reason, error.field) == ("invalid_field", "mail.tags.account_id")


@pytest.mark.parametrize(
    "tags",
    [
        [{"Name": "account_id", "Value": "acc_1"}],
        [{"key": "shop"}, {"account_id": ["acc_1"]}],
        ["shop=1", "account_id=acc_1"],
        "shop=1, account_id=acc_1",
    ],
)
def test_tags_of_a_wrong_form_that_name_an_account_are_refused(tags: object) -> None:
    record = vector("bounce")
    record["mail"]["tags"] = tags
    error = refusal(record)
    assert (error.reason, error.field) == ("invalid_field", "mail.tags")


@pytest.mark.parametrize("value", ["acc_1", ["acc_1"], ["acc_1", "acc_1"]])
def test_an_account_tag_is_one_text(value: object) -> None:
    record = vector("bounce")
    record["mail"]["tags"]["account_id"] = value
    assert only(record).account_id == "acc_1"


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
    """An erasure reads delivered data, and a shard data to be delivered."""
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


def two_bounced(**entry: Any) -> dict[str, Any]:
    record = vector("bounce")
    record["bounce"]["bouncedRecipients"] = [
        {"emailAddress": "a@example.com", "status": "5.1.1", **entry},
        {"emailAddress": "b@example.com", "status": "5.1.1", "diagnosticCode": "550 unknown"},
    ]
    return record


LARGE = "x" * 70_000


@pytest.mark.parametrize("value", [LARGE, "\x00" * 20_000], ids=["long", "escaped"])
def test_a_part_of_an_entry_that_is_too_large_costs_that_part(value: str) -> None:
    expected = to_events(two_bounced())
    found = to_events(two_bounced(diagnosticCode=value))
    assert [event.id for event in found] == [event.id for event in expected]
    first, second = (body_of(event)["data"]["bounce"] for event in found)
    assert "diagnostic" not in first
    assert (first["type"], first["status"]) == ("hard", "5.1.1")
    assert second["diagnostic"] == "550 unknown"


@pytest.mark.parametrize("number", [float("inf"), float("nan"), 10**400])
def test_a_number_that_is_none_costs_its_part(number: float) -> None:
    record = vector("delivery")
    expected = to_events(record)
    record["delivery"]["processingTimeMillis"] = number
    found = to_events(record)
    assert [event.id for event in found] == [event.id for event in expected]
    delivery = body_of(found[0])["data"]["delivery"]
    assert delivery.get("processing_time_ms") is None
    assert "smtp_response" in delivery


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("headers", {"headers": [{"name": "X-Long", "value": LARGE}]}),
        ("subject", {"commonHeaders": {"subject": LARGE, "from": ["a@b.example"]}}),
        ("from", {"source": LARGE, "commonHeaders": {"subject": "hello"}}),
        ("tags", {"tags": {"one": [LARGE], "two": ["kept"]}}),
    ],
)
def test_a_part_of_the_email_that_is_too_large_costs_that_part(
    name: str, change: dict[str, Any]
) -> None:
    record = two_bounced()
    record["mail"] |= change
    found = to_events(record, headers=("X-Long",))
    assert len(found) == 2
    for event in found:
        data = body_of(event)["data"]
        assert data.get(name) in ([None, {"two": ["kept"]}] if name == "tags" else [None])
        assert data["bounce"]["status"] == "5.1.1"


def test_of_many_small_tags_as_many_are_passed_on_as_there_is_room_for() -> None:
    record = two_bounced()
    record["mail"]["tags"] = {f"t{number}": ["v"] for number in range(8000)}
    for event in to_events(record):
        data = body_of(event)["data"]
        assert MAX_BODY_BYTES // 2 < len(event.body) <= MAX_BODY_BYTES
        assert data["bounce"]["type"] == "hard"
        assert list(data["tags"])[:2] == ["t0", "t1"]


def test_a_recipient_who_can_have_no_event_costs_that_recipient_alone() -> None:
    record = two_bounced()
    record["bounce"]["bouncedRecipients"][0]["emailAddress"] = f"{LARGE}@example.com"
    assert [body_of(event)["data"]["to"] for event in to_events(record)] == ["b@example.com"]
    services = ServiceFixture(ses_accounts=SesAccounts(default="acc_1"))
    services.add(events=("*",))
    text = json.dumps(record)
    assert services.send(text) == []
    assert len(services.sender.posts) == 1
    [rejected] = services.rejected.messages
    assert (rejected.body, rejected.reason) == (text, "too_large")
    record["bounce"]["bouncedRecipients"].pop()
    assert refusal(record).reason == "too_large"
