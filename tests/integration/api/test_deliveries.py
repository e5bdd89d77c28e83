"""A webhook's log, resending and trying out, from event to answer."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator

from support import samples
from support.http_api import AccountClient, ApiOnFakes
from webhooks.domain.catalog import schema_of
from webhooks.domain.delivery import Delivery, FailureReason, Status, delivery_id
from webhooks.domain.event import EventType
from webhooks.domain.webhook import Secrets

if TYPE_CHECKING:
    from support.http_api import Answer

WEBHOOK = samples.webhook(account_id="acme")
FOREIGN = samples.webhook(2, account_id="globex")
LOG = f"/api/v1/webhooks/{WEBHOOK.id}/deliveries"
ABSENT = "0199a5b0-0000-7000-8000-000000000000"
BODY = (
    b'{"event":"email.delivered","transaction_id":"txn_\\"1\\"",'
    b'"timestamp":"2025-12-21T10:30:00Z","data":{"to":"recipient@example.com","n":1e+21,"x":null}}'
)


@pytest.fixture
def on_fakes() -> ApiOnFakes:
    on_fakes = ApiOnFakes()
    for webhook in (WEBHOOK, FOREIGN):
        on_fakes.webhooks.add(webhook, Secrets(samples.SECRET))
    return on_fakes


def recorded(on_fakes: ApiOnFakes, number: int = 0, **changes: Any) -> Delivery:
    """Record a delivery whose event happened `number` seconds after the contract's example."""
    at_ms = samples.NOW_MS + number * 1000
    values: dict[str, Any] = {
        "account_id": "acme",
        "webhook_id": WEBHOOK.id,
        "id": delivery_id(samples.EVENT_ID, at_ms, WEBHOOK.id),
        "body": BODY,
        "created_at_ms": at_ms,
        **changes,
    }
    return on_fakes.deliveries.create(samples.delivery(**values))


def ids(answer: Answer) -> list[str]:
    assert answer.status == 200, answer.text
    return [delivery["id"] for delivery in answer.data]


def test_a_delivery_is_listed_with_its_last_attempt(
    on_fakes: ApiOnFakes, acme: AccountClient
) -> None:
    delivery = recorded(on_fakes)
    answer = acme.call("GET", LOG)
    assert answer.json == {
        "success": True,
        "data": [
            {
                "id": delivery.id,
                "event_id": samples.EVENT_ID,
                "event": "email.delivered",
                "transaction_id": 'txn_"1"',
                "status": "retrying",
                "test": False,
                "created_at": "2025-12-21T10:30:00.000Z",
                "attempt_count": 1,
                "last_attempt": {
                    "number": 1,
                    "started_at": "2025-12-21T10:30:00.000Z",
                    "duration_ms": 35,
                    "status_code": 500,
                    "error": "http_status",
                    "manual": False,
                    "probe": False,
                },
                "next_attempt_at": "2025-12-21T10:30:05.000Z",
            }
        ],
        "pagination": {},
    }


def test_a_delivery_is_shown_with_its_payload_and_every_attempt(
    on_fakes: ApiOnFakes, acme: AccountClient
) -> None:
    attempts = (
        samples.attempt(1, response_body="<b>no</b>\\x00"),
        samples.attempt(2, status_code=None, error=FailureReason.TIMEOUT, response_body=""),
        samples.attempt(3, status_code=200, error=None, response_body="ok", manual=True),
    )
    delivery = recorded(
        on_fakes, attempts=attempts, status=Status.SUCCEEDED, next_attempt_at_ms=None
    )
    data = acme.call("GET", f"{LOG}/{delivery.id}").data
    assert data["body"] == BODY.decode()
    assert data["payload"] == json.loads(BODY)
    assert [attempt["response_body"] for attempt in data["attempts"]] == [
        "<b>no</b>\\x00",
        "",
        "ok",
    ]
    assert data["attempts"][1] == {
        "number": 2,
        "started_at": "2025-12-21T10:30:00.000Z",
        "duration_ms": 35,
        "error": "timeout",
        "manual": False,
        "probe": False,
        "response_body": "",
    }
    assert data["last_attempt"]["manual"] is True
    assert data["attempt_count"] == 3
    assert "next_attempt_at" not in data
    listed = acme.call("GET", LOG).data[0]
    assert data.items() >= listed.items()


def test_a_body_that_has_no_utf_8_is_shown_all_the_same(
    on_fakes: ApiOnFakes, acme: AccountClient
) -> None:
    body = rb'{"event":"email.sent","data":{"to":"a\ud800b"}}'
    delivery = recorded(on_fakes, body=body)
    answer = acme.call("GET", f"{LOG}/{delivery.id}")
    assert answer.status == 200
    assert answer.data["body"] == body.decode()
    assert answer.data["payload"]["data"]["to"] == "a\ud800b"
    assert "transaction_id" not in answer.data


def test_why_a_delivery_was_deferred_is_said(on_fakes: ApiOnFakes, acme: AccountClient) -> None:
    recorded(on_fakes, status=Status.WAITING, reason="gone", attempts=(), next_attempt_at_ms=None)
    [listed] = acme.call("GET", LOG).data
    assert (listed["status"], listed["reason"], listed["attempt_count"]) == ("waiting", "gone", 0)
    assert "last_attempt" not in listed


class TestTheList:
    def test_it_is_newest_first_page_by_page(
        self, on_fakes: ApiOnFakes, acme: AccountClient
    ) -> None:
        expected = [recorded(on_fakes, number).id for number in range(5)][::-1]
        seen: list[str] = []
        query = {"limit": "2"}
        while True:
            answer = acme.call("GET", LOG, query=query)
            seen += ids(answer)
            cursor = answer.json["pagination"].get("next_cursor")
            if cursor is None:
                break
            query["cursor"] = cursor
        assert seen == expected

    def test_it_is_filtered_by_status_and_by_event(
        self, on_fakes: ApiOnFakes, acme: AccountClient
    ) -> None:
        exhausted = recorded(on_fakes, 1, status=Status.EXHAUSTED)
        opened = recorded(on_fakes, 2, event_type="email.opened")
        assert ids(acme.call("GET", LOG, query="status=exhausted")) == [exhausted.id]
        assert ids(acme.call("GET", LOG, query="event=email.opened")) == [opened.id]
        assert ids(acme.call("GET", LOG, query="status=exhausted&event=email.opened")) == []

    @pytest.mark.parametrize("status", Status)
    def test_every_status_can_be_asked_for(
        self, on_fakes: ApiOnFakes, acme: AccountClient, status: Status
    ) -> None:
        for number, each in enumerate(Status):
            recorded(on_fakes, number, status=each)
        [listed] = acme.call("GET", LOG, query={"status": status.value}).data
        assert listed["status"] == status

    @pytest.mark.parametrize(
        ("query", "numbers"),
        [
            ({"since": "2025-12-21T10:30:01Z"}, [2, 1]),
            ({"until": "2025-12-21T10:30:01.000Z"}, [1, 0]),
            ({"since": "2025-12-21T11:30:01+01:00", "until": "2025-12-21T10:30:01Z"}, [1]),
            ({"since": "2025-12-21T10:30:02.001Z"}, []),
        ],
    )
    def test_it_is_filtered_by_the_events_time_both_ends_included(
        self, on_fakes: ApiOnFakes, acme: AccountClient, query: dict[str, str], numbers: list[int]
    ) -> None:
        found = [recorded(on_fakes, number).id for number in range(3)]
        assert ids(acme.call("GET", LOG, query=query)) == [found[number] for number in numbers]

    @pytest.mark.parametrize(
        ("query", "fields"),
        [
            ("status=lost", ["status"]),
            ("status=", ["status"]),
            ("status=waiting&status=retrying", ["status"]),
            ("event=email.eaten", ["event"]),
            ("event=*", ["event"]),
            ("since=yesterday", ["since"]),
            ("since=1766313000", ["since"]),
            ("until=2025-12-21", ["until"]),
            ("since=x&until=x", ["since", "until"]),
            ("since=2025-12-21T10:30:01Z&until=2025-12-21T10:30:00Z", ["until"]),
            ("limit=0", ["limit"]),
            ("limit=101", ["limit"]),
            ("cursor=x", ["cursor"]),
            ("color=red", ["color"]),
        ],
    )
    def test_a_query_that_is_not_understood_is_refused_by_name(
        self, acme: AccountClient, query: str, fields: list[str]
    ) -> None:
        answer = acme.call("GET", LOG, query=query)
        assert (answer.status, answer.fields) == (422, fields)
        assert all(detail["message"].endswith(".") for detail in answer.error["details"])

    def test_a_cursor_is_of_no_use_elsewhere(
        self, on_fakes: ApiOnFakes, acme: AccountClient
    ) -> None:
        other = samples.webhook(3, account_id="acme")
        on_fakes.webhooks.add(other, Secrets(samples.SECRET))
        for number in range(2):
            recorded(on_fakes, number)
        cursor = acme.call("GET", LOG, query="limit=1").json["pagination"]["next_cursor"]
        elsewhere = [
            acme.call("GET", LOG, query={"cursor": cursor, "status": "retrying"}),
            acme.call("GET", LOG, query={"cursor": cursor, "since": "2025-12-21T10:30:00Z"}),
            acme.call("GET", LOG.replace(WEBHOOK.id, other.id), query={"cursor": cursor}),
            acme.call("GET", "/api/v1/webhooks", query={"cursor": cursor}),
            on_fakes.globex.call(
                "GET", LOG.replace(WEBHOOK.id, FOREIGN.id), query={"cursor": cursor}
            ),
        ]
        assert {(answer.status, *answer.fields) for answer in elsewhere} == {(422, "cursor")}
        assert acme.call("GET", LOG, query={"cursor": cursor, "limit": "50"}).status == 200


class TestResend:
    @pytest.mark.parametrize("status", Status)
    def test_one_attempt_is_started_beside_the_schedule_whatever_the_status(
        self, on_fakes: ApiOnFakes, acme: AccountClient, status: Status
    ) -> None:
        delivery = recorded(on_fakes, status=status)
        answers = [acme.call("POST", f"{LOG}/{delivery.id}/resend") for _ in range(2)]
        assert {answer.status for answer in answers} == {202}
        assert answers[0].data["id"] == delivery.id
        assert answers[0].data["status"] == status
        assert [*on_fakes.scheduler.resends.values()] == [(delivery.key, 2)] * 2
        assert on_fakes.scheduler.executions == {}
        assert on_fakes.deliveries.deliveries[delivery.key] == delivery

    def test_nothing_is_sent_to_a_webhook_that_is_disabled(
        self, on_fakes: ApiOnFakes, acme: AccountClient
    ) -> None:
        delivery = recorded(on_fakes)
        on_fakes.webhooks.add(replace(WEBHOOK, active=False), Secrets(samples.SECRET))
        answer = acme.call("POST", f"{LOG}/{delivery.id}/resend")
        assert (answer.status, answer.error["code"]) == (409, "webhook_disabled")
        assert on_fakes.scheduler.resends == {}

    def test_our_own_failure_is_named_as_such(
        self, on_fakes: ApiOnFakes, acme: AccountClient
    ) -> None:
        delivery = recorded(on_fakes)
        on_fakes.scheduler.failures.plan("resend", True)
        assert acme.call("POST", f"{LOG}/{delivery.id}/resend").status == 503


class TestATestEvent:
    @pytest.mark.parametrize("event_type", EventType)
    def test_it_is_a_delivery_like_any_other_but_marked(
        self, on_fakes: ApiOnFakes, acme: AccountClient, event_type: EventType
    ) -> None:
        body = {"event": event_type.value}
        answer = acme.call("POST", f"/api/v1/webhooks/{WEBHOOK.id}/test", json=body)
        assert answer.status == 202
        assert (answer.data["status"], answer.data["test"]) == ("pending", True)
        assert (answer.data["event"], answer.data["attempt_count"]) == (event_type, 0)
        [delivery] = on_fakes.deliveries.deliveries.values()
        assert delivery.key == ("acme", WEBHOOK.id, answer.data["id"])
        assert on_fakes.scheduler.executions == {delivery.key: (1, 0)}
        shown = acme.call("GET", f"{LOG}/{delivery.id}").data
        assert shown["test"] is True
        assert shown["transaction_id"] == shown["payload"]["transaction_id"]
        Draft202012Validator(schema_of(event_type)).validate(shown["payload"])

    def test_each_is_another_event(self, on_fakes: ApiOnFakes, acme: AccountClient) -> None:
        path = f"/api/v1/webhooks/{WEBHOOK.id}/test"
        made = [acme.call("POST", path, json={"event": "email.sent"}).data for _ in range(3)]
        for name in ("id", "event_id", "transaction_id"):
            assert len({one[name] for one in made}) == 3
        assert set(ids(acme.call("GET", LOG))) == {one["id"] for one in made}

    @pytest.mark.parametrize(
        "body", [{}, {"event": "*"}, {"event": "email.eaten"}, {"event": 1}, {"event": None}]
    )
    def test_an_unknown_type_is_refused(
        self, on_fakes: ApiOnFakes, acme: AccountClient, body: dict[str, Any]
    ) -> None:
        answer = acme.call("POST", f"/api/v1/webhooks/{WEBHOOK.id}/test", json=body)
        assert (answer.status, answer.fields) == (422, ["event"])
        assert on_fakes.deliveries.deliveries == {}

    def test_nothing_is_sent_to_a_webhook_that_is_disabled(
        self, on_fakes: ApiOnFakes, acme: AccountClient
    ) -> None:
        on_fakes.webhooks.add(replace(WEBHOOK, active=False), Secrets(samples.SECRET))
        answer = acme.call(
            "POST", f"/api/v1/webhooks/{WEBHOOK.id}/test", json={"event": "email.sent"}
        )
        assert (answer.status, answer.error["code"]) == (409, "webhook_disabled")
        assert on_fakes.deliveries.deliveries == {}


CALLS = [
    ("GET", "/deliveries", {}),
    ("GET", "/deliveries/{delivery}", {}),
    ("POST", "/deliveries/{delivery}/resend", {}),
    ("POST", "/test", {"json": {"event": "email.sent"}}),
]


@pytest.mark.parametrize(("method", "path", "request_"), CALLS)
def test_foreign_absent_and_malformed_webhooks_are_answered_alike(
    on_fakes: ApiOnFakes, method: str, path: str, request_: dict[str, Any]
) -> None:
    foreign = recorded(on_fakes, account_id="globex", webhook_id=FOREIGN.id)
    before = dict(on_fakes.deliveries.deliveries)
    answers = set()
    for webhook_id in (FOREIGN.id, ABSENT, "event", "x", FOREIGN.id.upper()):
        target = f"/api/v1/webhooks/{webhook_id}{path.format(delivery=foreign.id)}"
        answer = on_fakes.acme.call(method, target, **request_)
        answers.add((answer.status, answer.text, json.dumps(answer.headers)))
    [(status, text, _)] = answers
    assert status == 404
    assert json.loads(text)["error"]["code"] == "webhook_not_found"
    assert on_fakes.deliveries.deliveries == before
    assert not on_fakes.scheduler.executions
    assert not on_fakes.scheduler.resends


@pytest.mark.parametrize(("method", "path", "request_"), CALLS[1:3])
def test_deliveries_of_others_absent_and_malformed_are_answered_alike(
    on_fakes: ApiOnFakes, method: str, path: str, request_: dict[str, Any]
) -> None:
    foreign = recorded(on_fakes, account_id="globex", webhook_id=FOREIGN.id)
    answers = set()
    for wanted in (foreign.id, ABSENT, "x", foreign.id.upper(), "x" * 3000, samples.EVENT_ID):
        target = f"/api/v1/webhooks/{WEBHOOK.id}{path.format(delivery=wanted)}"
        answer = on_fakes.acme.call(method, target, **request_)
        answers.add((answer.status, answer.text))
    [(status, text)] = answers
    assert status == 404
    assert json.loads(text)["error"]["code"] == "delivery_not_found"
    assert not on_fakes.scheduler.resends


def test_the_event_types_are_listed_with_what_receivers_need(acme: AccountClient) -> None:
    answer = acme.call("GET", "/api/v1/event-types")
    assert answer.status == 200
    assert [entry["type"] for entry in answer.data] == [*EventType]
    for entry in answer.data:
        assert set(entry) == {"type", "description", "schema", "sample"}
        Draft202012Validator.check_schema(entry["schema"])
        Draft202012Validator(entry["schema"]).validate(entry["sample"])


def test_the_event_types_need_a_key(acme: AccountClient) -> None:
    answer = acme.call("GET", "/api/v1/event-types", headers={"Authorization": ""})
    assert answer.status == 401
