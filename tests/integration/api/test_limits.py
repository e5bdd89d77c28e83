"""The API's rate limits: the calls that are refused, and the time of the next attempt."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from support import samples
from support.http_api import LIMITS, AccountClient, ApiOnFakes, http_api_event
from webhooks.domain.rate_limit import RateLimit
from webhooks.domain.seed import Seed
from webhooks.domain.webhook import Registration, Secrets

if TYPE_CHECKING:
    from webhooks.domain.webhook import Webhook

WEBHOOKS = "/api/v1/webhooks"
WEBHOOK = f"{WEBHOOKS}/{samples.WEBHOOK_ID}"
DELIVERY = f"{WEBHOOK}/deliveries/{samples.delivery().id}"


def api_with(**limits: int) -> ApiOnFakes:
    """Return an API, its limits changed, on which acme has a webhook with a delivery."""
    api = ApiOnFakes(limits=LIMITS | {RateLimit(kind): limit for kind, limit in limits.items()})
    api.webhooks.add(samples.webhook(account_id="acme"), Secrets(samples.SECRET))
    api.deliveries.create(samples.delivery(account_id="acme"))
    return api


def registration(host: str) -> dict[str, Any]:
    return {"url": f"https://{host}/hook", "events": ["email.sent"]}


@pytest.mark.parametrize(
    ("kind", "path", "body", "seconds"),
    [
        ("tests", f"{WEBHOOK}/test", {"event": "email.sent"}, 3600),
        ("resends", f"{DELIVERY}/resend", None, 3600),
    ],
)
def test_a_webhook_has_only_so_many_an_hour(
    kind: str, path: str, body: dict[str, str] | None, seconds: int
) -> None:
    api = api_with(**{kind: 3})
    request = {} if body is None else {"json": body}
    assert [api.acme.call("POST", path, **request).status for _ in range(4)] == [202, 202, 202, 429]
    answer = api.acme.call("POST", path, **request)
    assert answer.error["code"] == f"too_many_{kind}"
    assert 0 < int(answer.headers["Retry-After"]) <= seconds
    asked_for = {"tests": len(api.deliveries.deliveries) - 1, "resends": len(api.scheduler.resends)}
    assert asked_for[kind] == 3


def test_a_call_that_is_repeated_with_its_key_is_counted_once() -> None:
    api = api_with(tests=1)
    request = {"json": {"event": "email.sent"}, "headers": {"Idempotency-Key": "k"}}
    assert [api.acme.call("POST", f"{WEBHOOK}/test", **request).status for _ in range(3)] == [
        202
    ] * 3


def test_what_is_refused_for_another_reason_is_not_counted() -> None:
    api = api_with(tests=1)
    assert api.acme.call("POST", f"{WEBHOOK}/test", json={"event": "nonsense"}).status == 422
    assert api.acme.call("POST", f"{WEBHOOK}/test", json={"event": "email.sent"}).status == 202


def test_an_account_has_only_so_many_calls_a_minute_whatever_they_are() -> None:
    api = api_with(calls=5)
    calls = [("GET", WEBHOOKS), ("GET", WEBHOOK), ("GET", f"{WEBHOOKS}/x"), ("PUT", WEBHOOKS)]
    # An absent method of a path is refused before the caller is known.
    assert [api.acme.call(*call).status for call in calls] == [200, 200, 404, 405]
    assert [api.acme.call("GET", WEBHOOKS).status for _ in range(3)] == [200, 200, 429]
    answer = api.acme.call("GET", WEBHOOK)
    assert (answer.status, answer.error["code"]) == (429, "too_many_calls")
    assert 0 < int(answer.headers["Retry-After"]) <= 60
    assert api.globex.call("GET", WEBHOOKS).status == 200


def test_all_keys_of_an_account_share_its_calls() -> None:
    api = api_with(calls=2)
    keys = [api.client("acme") for _ in range(3)]
    assert [key.call("GET", WEBHOOKS).status for key in keys] == [200, 200, 429]


def test_documents_and_strangers_count_for_no_account() -> None:
    api = api_with(calls=1)
    for _ in range(3):
        assert api.acme.send(http_api_event("GET", "/api/v1/openapi.json")).status == 200
        assert AccountClient(api.api, "sc_live_nobody").call("GET", WEBHOOKS).status == 401
    assert api.rate_limit_store.used == {}


def test_webhooks_of_an_account_that_lead_to_one_host_are_limited() -> None:
    api = ApiOnFakes(max_webhooks_per_host=2)
    for host in ("a.acme.com", "A.acme.com", "b.acme.com"):
        assert api.acme.call("POST", json=registration(host)).status == 201
    answer = api.acme.call("POST", json=registration("a.acme.com:8443"))
    assert (answer.status, answer.error["code"]) == (409, "host_limit_reached")
    assert api.globex.call("POST", json=registration("a.acme.com")).status == 201
    assert len(api.webhooks.webhooks) == 4


def test_a_webhook_cannot_move_to_a_host_that_is_full_and_may_stay_where_it_is() -> None:
    api = ApiOnFakes(max_webhooks_per_host=1)
    first = api.acme.call("POST", json=registration("a.acme.com")).data["id"]
    second = api.acme.call("POST", json=registration("b.acme.com")).data["id"]
    path = f"{WEBHOOKS}/{second}"
    answer = api.acme.call("PATCH", path, json={"url": "https://a.acme.com/other"})
    assert (answer.status, answer.error["code"]) == (409, "host_limit_reached")
    moved = {"url": "https://a.acme.com/new"}
    assert api.acme.call("PATCH", f"{WEBHOOKS}/{first}", json=moved).status == 200
    assert api.acme.call("PATCH", path, json={"active": False}).status == 200


def test_webhooks_registered_at_the_same_time_do_not_pass_the_hosts_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    api = ApiOnFakes(max_webhooks_per_host=1)
    original = api.webhooks.create

    def create(webhook: Webhook, secret: str, *, limit: int) -> None:
        original(webhook, secret, limit=limit)
        other = samples.webhook(9, account_id="acme", url="https://a.acme.com/other")
        api.webhooks.add(other, Secrets(samples.SECRET))

    monkeypatch.setattr(api.webhooks, "create", create)
    answer = api.acme.call("POST", json=registration("a.acme.com"))
    assert (answer.status, answer.error["code"]) == (409, "host_limit_reached")
    assert [webhook_id for _, webhook_id in api.webhooks.webhooks] == [samples.webhook(9).id]


def test_a_limit_that_the_accounts_own_makes_needless_costs_nothing() -> None:
    api = ApiOnFakes(max_webhooks=3, max_webhooks_per_host=3)
    api.webhooks.failures.plan("newest_urls", True)
    assert [api.acme.call("POST", json=registration("a.acme.com")).status for _ in range(4)] == [
        *([201] * 3),
        409,
    ]


EVENTS = "/api/v1/events"
EVENT = {"event": "email.sent", "data": {"to": "ann@example.com"}}


def publish(api: ApiOnFakes, count: int, **more: Any) -> Any:
    events = [{**EVENT, "id": f"{len(api.events.sent)}-{one}"} for one in range(count)]
    return api.acme.call("POST", EVENTS, json=events, **more)


def test_an_account_publishes_only_so_many_events_a_minute_and_none_of_a_call_too_many() -> None:
    api = api_with(published=50)
    assert publish(api, 30).status == 202
    answer = publish(api, 22)
    assert (answer.status, answer.error["code"]) == (429, "too_many_events")
    assert 0 < int(answer.headers["Retry-After"]) <= 60
    assert len(api.events.sent) == 30
    assert api.telemetry.counts["OverLimitEvents"] == 22
    # A smaller request has room, and other accounts have their own limits.
    assert publish(api, 20).status == 202
    assert len(api.events.sent) == 50
    assert api.globex.call("POST", EVENTS, json=EVENT).status == 202


def test_more_events_than_a_minute_allows_are_refused_for_good() -> None:
    api = api_with(published=50)
    assert publish(api, 51).status == 422
    assert publish(api, 50).status == 202


def test_events_that_are_none_are_not_counted() -> None:
    api = api_with(published=2)
    wrong = [{"event": "email.lost"}] * 40
    assert api.acme.call("POST", EVENTS, json=[*wrong, EVENT]).status == 202
    assert publish(api, 2).status == 202


def test_a_refused_publication_is_not_kept_under_its_key() -> None:
    api = api_with(published=2)
    assert publish(api, 2).status == 202
    headers = {"Idempotency-Key": "k"}
    publish(api, 1)
    assert api.acme.call("POST", EVENTS, json=EVENT, headers=headers).status == 429
    api.rate_limit_store.used.clear()
    api.rate_limits._events.clear()
    assert api.acme.call("POST", EVENTS, json=EVENT, headers=headers).status == 202


def test_a_process_with_few_events_writes_nothing_and_counts_in_lots_past_them() -> None:
    api = api_with(published=2000)
    api.rate_limit_store.writes = 0
    api.rate_limits.publish("other", 10)
    assert api.rate_limit_store.writes == 0
    for _ in range(10):
        api.rate_limits.publish("other", 1)
    assert api.rate_limit_store.writes == 1


def test_without_a_count_events_are_published() -> None:
    api = api_with(published=1)
    assert publish(api, 1).status == 202
    # The first belongs to the call itself.
    api.rate_limit_store.failures.plan("consume", True, True)
    assert publish(api, 1).status == 202


def test_a_repeated_registration_removes_no_webhook_that_is_there() -> None:
    """A limit may have been lowered between the tries: the webhook may have had events by then."""
    api = ApiOnFakes(max_webhooks_per_host=2)
    asked = Registration(url="https://a.acme.com/hook", events=("email.opened",))
    seed = Seed(samples.NOW_MS * 1_000_000, lambda _, number: bytes(number))
    first = api.webhook_service.register("acme", asked, seed=seed)
    api.webhooks.add(
        samples.webhook(9, account_id="acme", url="https://a.acme.com/other"),
        Secrets(samples.SECRET),
    )
    api.webhook_service._max_webhooks_per_host = 1
    again = api.webhook_service.register("acme", asked, seed=replace(seed, repeated=True))
    assert again == first
    assert api.webhooks.get("acme", first.webhook.id) == first.webhook
