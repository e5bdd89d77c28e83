"""Records as they were captured: what becomes of each, and what one odd part of one costs."""

from __future__ import annotations

import copy
import json
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from support.world import World
from webhooks.domain.catalog import schema_of
from webhooks.domain.errors import InvalidEventError
from webhooks.domain.event import Event, EventType
from webhooks.domain.intake import Message, read_message
from webhooks.domain.recipient import addresses_of
from webhooks.domain.ses import SesAccounts, to_events

if TYPE_CHECKING:
    from collections.abc import Iterator

DATA = Path(__file__).parents[1] / "data"
FOLDER = DATA / "ses_records"
NAMES = sorted(path.name.removesuffix(".expected.json") for path in FOLDER.glob("*.expected.json"))
IDS: dict[str, dict[str, Any]] = json.loads((DATA / "ses_event_ids.json").read_text("utf-8"))
ACCOUNTS = SesAccounts({"shop-mail": "acc_shop"}, "acc_default")
WITH_A_CLIENT = {EventType.OPENED, EventType.CLICKED}
NO_COMPLAINTS = {"complaint-auth-failure"}


def text_of(name: str) -> str:
    paths = (FOLDER / f"{name}.json", DATA / "ses" / f"{name}.json")
    return next(path for path in paths if path.exists()).read_text(encoding="utf-8")


def expected_of(name: str) -> dict[str, Any]:
    document = json.loads((FOLDER / f"{name}.expected.json").read_text(encoding="utf-8"))
    expected: dict[str, Any] = document["expected"]
    return expected


def read(text: str) -> Message:
    return read_message(text, sent_at_ms=0, ses_accounts=ACCOUNTS)


def told(event: Event) -> dict[str, Any]:
    """Return what is compared with an expectation."""
    body = json.loads(event.body)
    return {**body, "to": body["data"]["to"], "account_id": event.account_id}


@cache
def validator(event_type: EventType) -> Draft202012Validator:
    return Draft202012Validator(schema_of(event_type))


def validate(event: Event) -> None:
    validator(event.type).validate(json.loads(event.body))


def at(value: Any, path: str) -> Any:
    for key in path.split("."):
        value = value[key]
    return value


def bare(name: str) -> dict[str, Any]:
    """Return a record out of its envelopes."""
    document = json.loads(text_of(name))
    while True:
        if "Message" in document:
            document = json.loads(document["Message"])
        elif "detail" in document:
            document = document["detail"]
        else:
            record: dict[str, Any] = document
            return record


@pytest.mark.parametrize("name", NAMES)
def test_a_record_becomes_what_is_expected_of_it(name: str) -> None:
    expected = expected_of(name)
    message = read(text_of(name))
    assert not message.refusals
    if "ignored" in expected:
        assert message == Message(ignored_types=(expected["ignored"],))
        return
    found = [told(event) for event in message.events]
    wanted = expected["events"]
    if isinstance(wanted, str):
        wanted = [told(event) for one in json.loads(text_of(name)) for event in to_events(one)]
        wanted = [{"event": one["event"], "to": one["to"]} for one in wanted]
        assert wanted
    assert len(found) == len(wanted)
    for event, want in zip(found, wanted, strict=True):
        assert {field: event[field] for field in want} == want
        for path, value in expected.get("and_each_has", {}).items():
            assert at(event, path) == value
    assert len(message.ignored_types) == (0 if found else 1)


@pytest.mark.parametrize("name", NAMES)
def test_the_dispatcher_sends_what_is_expected_of_a_record(name: str) -> None:
    world = World(ses_accounts=ACCOUNTS)
    for number, account_id in enumerate(("acc_shop", "acc_default"), start=1):
        world.add(number, account_id=account_id, events=("*",))
    assert world.send(text_of(name)) == []
    assert world.rejected.messages == []
    sent = sorted(body for _, body, _ in world.sender.posts)
    assert sent == sorted(event.body for event in read(text_of(name)).events)
    assert world.observer.counts.get("IgnoredEvents", 0) == (0 if sent else 1)


@pytest.mark.parametrize("name", sorted(IDS))
def test_an_events_id_is_what_it_was_before_transaction_ids_were_its_own(name: str) -> None:
    events = read(text_of(name)).events
    if name in NO_COMPLAINTS:
        assert not events
        return
    assert {json.loads(event.body)["data"]["id"] for event in events} == {IDS[name]["data_id"]}
    ids = [event.id for event in events]
    assert (ids == IDS[name]["ids"]) == (events[0].type not in WITH_A_CLIENT)


def test_an_open_that_names_no_client_has_the_id_that_it_had() -> None:
    record = bare("open-google-proxy")
    record["open"] |= {"ipAddress": None, "userAgent": None}
    [event] = to_events(record)
    assert event.id == IDS["open-google-proxy"]["ids"][0]


@pytest.mark.parametrize("name", NAMES)
def test_every_event_fits_the_schema_of_its_type(name: str) -> None:
    for event in read(text_of(name)).events:
        validate(event)


def test_a_receiver_that_goes_by_the_transaction_id_loses_nothing() -> None:
    """The mails are one: sent to two, delivered to one, bounced by the other, opened by two."""
    texts = []
    for name in ("bounce-two-recipients", "delivery-eventbridge", "open-several-recipients"):
        texts.append(bare(name))
    texts += [copy.deepcopy(texts[0]), copy.deepcopy(texts[2])]
    texts[3] = {"eventType": "Send", "send": {}, "mail": texts[3]["mail"]}
    texts[4]["open"]["ipAddress"] = "192.0.2.9"
    for record in texts:
        record["mail"]["messageId"] = "one-mail"
    events = [event for record in texts for event in to_events(record)]
    assert len(events) == 2 + 1 + 1 + 2 + 1
    assert len({event.transaction_id for event in events}) == len(events)
    assert len({event.id for event in events}) == len(events)
    told_ids = [json.loads(event.body)["data"] for event in events]
    assert len({(data["id"], data["email_id"]) for data in told_ids}) == 1
    for event in events:
        prefix, time, digits = event.transaction_id.split("_")
        assert (prefix, int(time, 36)) == ("txn", event.occurred_at_ms)
        assert re.fullmatch("[0-9a-f]{12}", digits)
    assert [to_events(record) for record in texts] == [to_events(record) for record in texts]


ODD: tuple[Any, ...] = (None, "", "text", 17, True, 1.5, [], {}, [None], ["text"], [[]], {"a": 1})
MISSING = object()


def paths_in(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, part in items:
            yield from paths_in(part, (*path, key))


def with_odd(record: dict[str, Any], path: tuple[Any, ...], value: object) -> dict[str, Any]:
    changed = copy.deepcopy(record)
    parent = changed
    for key in path[:-1]:
        parent = parent[key]
    if value is MISSING:
        del parent[path[-1]]
    else:
        parent[path[-1]] = copy.deepcopy(value)
    return changed


ONE_OF_EACH = (
    *("send-eventbridge", "delivery-eventbridge", "bounce-two-recipients", "click-link-tags"),
    *("open-several-recipients", "complaint-yahoo", "delay-mailboxfull", "rendering-failure"),
    "subscription-unsubscribed",
)


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_an_odd_part_costs_itself_and_never_the_record(name: str) -> None:
    """Whatever is missing, null or of another type: the rest is told as before."""
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


def test_a_list_that_names_nobody_leaves_the_list_of_those_mailed() -> None:
    """Who of the two it was is not known; to tell both that they bounced would be wrong."""
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
    ("subtype", "suppressed"),
    [
        ("Suppressed", True),
        ("OnAccountSuppressionList", True),
        ("OnTenantSuppressionList", True),
        ("EmailValidationSuppressed", True),
        ("UnsubscribedRecipient", True),
        ("General", None),
        ("NoEmail", None),
        ("BrandNew", None),
    ],
)
def test_a_bounce_of_what_was_never_sent_says_so(subtype: str, suppressed: bool | None) -> None:
    record = bare("bounce-suppressed-global")
    record["bounce"]["bounceSubType"] = subtype
    bounce = json.loads(to_events(record)[0].body)["data"]["bounce"]
    assert bounce.get("suppressed") is suppressed
    assert (bounce["type"], bounce["ses_subtype"]) == ("hard", subtype)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("bounce", "bounceType"), "Permanent"),
        (("bounce", "bounceType"), "Undetermined"),
        (("bounce", "bounceSubType"), "MailboxFull"),
        (("bounce", "reportingMTA"), "dns; a7.example"),
        (("bounce", "remoteMtaIp"), "203.0.113.25"),
        (("bounce", "bouncedRecipients", 0, "status"), "5.1.1"),
        (("bounce", "bouncedRecipients", 0, "diagnosticCode"), "smtp; 550"),
    ],
)
def test_only_what_no_server_reports_on_is_an_auto_reply(path: tuple[Any, ...], value: str) -> None:
    record = bare("bounce-out-of-office")
    assert json.loads(to_events(record)[0].body)["data"]["bounce"]["auto_reply"] is True
    bounce = json.loads(to_events(with_odd(record, path, value))[0].body)["data"]["bounce"]
    assert "auto_reply" not in bounce


@pytest.mark.parametrize(
    ("said", "bot"),
    [("Likely", "likely"), ("Unlikely", "unlikely"), ("likely", "likely"), ("Perhaps", None)]
    + [(odd, None) for odd in (None, True, 1, ["Likely"], "")],
)
def test_what_ses_says_of_bots_is_told_and_nothing_assumed(said: object, bot: str | None) -> None:
    for name, part in (("open-google-proxy", "open"), ("click-link-tags", "click")):
        record = bare(name)
        record[part]["isBotEvent"] = said
        assert json.loads(to_events(record)[0].body)["data"][part].get("bot") == bot


@pytest.mark.parametrize("field", ["ipAddress", "userAgent"])
@pytest.mark.parametrize(
    ("name", "part"), [("open-several-recipients", "open"), ("click-link-tags", "click")]
)
def test_two_clients_in_one_second_are_two_events(name: str, part: str, field: str) -> None:
    record = bare(name)
    other = with_odd(record, (part, field), "another")
    [first], [second] = to_events(record), to_events(other)
    assert first.id != second.id
    assert first.transaction_id != second.transaction_id
    assert first.occurred_at_ms == second.occurred_at_ms


@pytest.mark.parametrize(
    ("feedback", "counted"),
    [
        ("not-spam", "IgnoredNotSpam"),
        ("Not-Spam", "IgnoredNotSpam"),
        ("auth-failure", "IgnoredAuthFailure"),
        ("abuse", None),
        ("fraud", None),
        ("virus", None),
        ("other", None),
        (None, None),
        (17, None),
    ],
)
def test_feedback_by_which_nobody_complains_is_counted_and_dropped(
    feedback: object, counted: str | None
) -> None:
    record = with_odd(bare("complaint-yahoo"), ("complaint", "complaintFeedbackType"), feedback)
    world = World(ses_accounts=SesAccounts(default="acc_1"))
    world.add(events=("*",))
    assert world.send(json.dumps(record)) == []
    assert len(world.sender.posts) == (0 if counted else 1)
    assert world.observer.counts.get(str(counted), 0) == (1 if counted else 0)
    assert world.observer.counts.get("IgnoredEvents", 0) == (1 if counted else 0)


def topics(**statuses: str) -> list[dict[str, str]]:
    return [{"topicName": name, "subscriptionStatus": one} for name, one in statuses.items()]


@pytest.mark.parametrize(
    ("new", "old", "told_of"),
    [
        ({"unsubscribeAll": True}, {}, {"all": True, "topics": []}),
        (
            {
                "unsubscribeAll": False,
                "topicSubscriptionStatus": topics(news="OptOut", ads="OptIn"),
            },
            {"topicSubscriptionStatus": topics(news="OptIn", ads="OptIn")},
            {"all": False, "topics": ["news"]},
        ),
        # Subscribing, or leaving all as it was, is not unsubscribing.
        (
            {"unsubscribeAll": False, "topicSubscriptionStatus": topics(news="OptIn")},
            {"topicSubscriptionStatus": topics(news="OptOut")},
            None,
        ),
        ({"unsubscribeAll": False}, {"unsubscribeAll": True}, None),
        # What cannot be read is what the link is there for.
        (None, None, {"all": False, "topics": []}),
    ],
)
def test_who_unsubscribes_is_told_and_who_subscribes_is_not(
    new: object, old: object, told_of: dict[str, Any] | None
) -> None:
    record = bare("subscription-unsubscribed")
    record["subscription"] |= {"newTopicPreferences": new, "oldTopicPreferences": old}
    message = read(json.dumps(record))
    if told_of is None:
        assert message == Message(ignored_types=("Subscription",))
        return
    subscription = json.loads(message.events[0].body)["data"]["subscription"]
    assert subscription == {
        "contact_list": "customers",
        "source": "UnsubscribeHeader",
        **told_of,
    }


def test_a_rejected_mail_has_failed_for_each_recipient() -> None:
    record = bare("send-eventbridge")
    record |= {"eventType": "Reject", "reject": {"reason": "Bad content"}}
    record["mail"]["destination"] = ["ada@customer.example", "bert@customer.example"]
    events = to_events(record)
    assert [told(event)["to"] for event in events] == record["mail"]["destination"]
    for event in events:
        assert event.type is EventType.FAILED
        data = json.loads(event.body)["data"]
        assert data["failure"] == {"type": "rejected", "reason": "Bad content"}
        assert event.timestamp == record["mail"]["timestamp"]


def test_the_message_id_and_the_headers_that_are_asked_for_are_told() -> None:
    record = bare("delivery-eventbridge")
    record["mail"]["headers"] = [
        {"name": "message-id", "value": "<17@shop.example>"},
        {"name": "X-Order-ID", "value": "1042"},
        {"name": "X-Order-Id", "value": "again"},
        {"name": "X-Secret", "value": "s"},
        {"name": "List-Id"},
        None,
        "text",
    ]
    [event] = to_events(record, headers=("X-Order-Id", "List-Id", "X-Absent"))
    data = json.loads(event.body)["data"]
    assert data["message_id"] == "<17@shop.example>"
    assert data["headers"] == {"X-Order-Id": "1042"}
    assert b"X-Secret" not in event.body
    record["mail"]["headers"] = None
    record["mail"]["commonHeaders"]["messageId"] = "<18@shop.example>"
    data = json.loads(to_events(record)[0].body)["data"]
    assert data["message_id"] == "<18@shop.example>"
    assert "headers" not in data


def test_of_ses_own_tags_the_tenant_and_the_feedback_ids_go_through() -> None:
    record = bare("delivery-eventbridge")
    record["mail"]["tags"] |= {
        "ses:tenant-name": ["acme"],
        "ses:feedback-id-a": ["autumn"],
        "ses:feedback-id-b": ["b"],
        "order": ["1042"],
    }
    tags = json.loads(to_events(record)[0].body)["data"]["tags"]
    assert tags == {
        "ses:tenant-name": ["acme"],
        "ses:feedback-id-a": ["autumn"],
        "ses:feedback-id-b": ["b"],
        "order": ["1042"],
    }


def in_sns(document: object) -> str:
    text = document if isinstance(document, str) else json.dumps(document)
    return json.dumps({"Type": "Notification", "TopicArn": "arn:aws:sns:x", "Message": text})


def test_an_arrays_records_are_read_as_if_each_had_come_alone() -> None:
    documents: list[Any] = [json.loads(text_of(name)) for name in NAMES if "pipe" not in name]
    alone = [read(json.dumps(one)) for one in documents]
    found = read(json.dumps(documents))
    assert found.events == tuple(event for one in alone for event in one.events)
    assert found.ignored_types == tuple(name for one in alone for name in one.ignored_types)
    assert not found.refusals
    assert read(in_sns(documents)) == found
    assert to_events(documents, accounts=ACCOUNTS) == list(found.events)


def test_what_is_wrong_in_an_array_costs_that_document() -> None:
    good = bare("delivery-eventbridge")
    bad = {"eventType": "Bounce", "mail": 17}
    world = World(ses_accounts=SesAccounts(default="acc_1"))
    world.add(events=("*",))
    assert world.send(json.dumps([bad, good, 17, [good], {"event": "email.lost"}])) == []
    assert len(world.sender.posts) == 1
    assert [(one.reason, json.loads(one.body)) for one in world.rejected.messages] == [
        ("invalid_field", bad),
        ("not_an_object", 17),
        ("not_an_object", [good]),
        ("unknown_event", {"event": "email.lost"}),
    ]
    assert world.observer.counts["RejectedMessages"] == 4
    assert len(to_events([bad, good])) == 1
    with pytest.raises(InvalidEventError, match="mail"):
        to_events([bad, bad])


@given(st.integers(1, 6))
@settings(max_examples=6, deadline=None)
def test_sns_may_have_been_put_around_sns(times: int) -> None:
    text = text_of("delivery-eventbridge")
    whole = read(text)
    for _ in range(times):
        text = in_sns(text)
    assert read(text) == whole
    # What reads messages on their way may have made an object of the text in the envelope.
    document = {"Type": "Notification", "Message": json.loads(text)}
    assert read(json.dumps(document)) == whole
    assert read(in_sns(in_sns("Successfully validated SNS topic for Amazon SES event publishing.")))


@pytest.mark.parametrize("kind", ["SubscriptionConfirmation", "UnsubscribeConfirmation"])
def test_sns_asking_for_a_confirmation_is_refused_with_what_to_do(kind: str) -> None:
    document = {
        "Type": kind,
        "MessageId": "1",
        "Token": "2336412f37fb",
        "TopicArn": "arn:aws:sns:eu-west-1:111122223333:ses-events",
        "Message": "You have chosen to subscribe to the topic",
        "SubscribeURL": "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription",
    }
    for text in (json.dumps(document), in_sns(document)):
        with pytest.raises(InvalidEventError) as caught:
            read(text)
        assert caught.value.reason == "confirmation"
        assert kind in caught.value.message
        assert "aws sns confirm-subscription" in caught.value.message
        assert "2336412f37fb" not in str(caught.value)
        assert "SubscribeURL" not in str(caught.value)
