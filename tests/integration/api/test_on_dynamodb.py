"""The API on the stores that it is deployed with."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from api import handler
from api.app import Api
from support.backend import backend
from support.fakes import FakeJobScheduler, FakeRateLimitStore, FakeTelemetry
from support.http_api import (
    CURSOR_KEY,
    LAMBDA_CONTEXT,
    LIMITS,
    AccountClient,
    ApiOnFakes,
    http_api_event,
)
from support.samples import event_document
from support.stores import webhook_store
from webhooks.adapters.dynamodb.api_keys import DynamoDBApiKeyStore
from webhooks.adapters.dynamodb.destinations import DynamoDBDestinationStore
from webhooks.domain import targets
from webhooks.services.api_keys import ApiKeyService
from webhooks.services.own_api import OwnApi
from webhooks.services.rate_limits import RateLimits
from webhooks.services.webhooks import WebhookService
from webhooks.wiring.api import ApiServices

if TYPE_CHECKING:
    import pytest

WEBHOOKS = "/api/v1/webhooks"
BODY = {"url": "https://hooks.acme.com/email", "events": ["email.sent", "email.bounced"]}


def make_client(dynamodb: Any, account_id: str) -> AccountClient:
    api_key_service = ApiKeyService(DynamoDBApiKeyStore(dynamodb, "ApiKeysTable"))
    rate_limits = RateLimits(
        FakeRateLimitStore(), limits=LIMITS, telemetry=FakeTelemetry(), clock=time.time
    )
    webhook_service = WebhookService(
        webhook_store(dynamodb),
        recoveries=FakeJobScheduler(),
        rate_limits=rate_limits,
        telemetry=FakeTelemetry(),
        check_url=targets.check_url,
        resolve=lambda _host: ["93.184.216.34"],
        is_public=targets.is_public,
        max_webhooks=3,
        max_webhooks_per_host=3,
        cursor_key=CURSOR_KEY,
    )
    services = SimpleNamespace(
        docs_page=True,
        own_api=OwnApi(),
        webhook_service=webhook_service,
        api_key_service=api_key_service,
        rate_limits=rate_limits,
        telemetry=FakeTelemetry(),
    )
    return AccountClient(Api(cast("ApiServices", services)), api_key_service.issue(account_id).text)


def test_a_webhook_lives_from_registration_to_deletion(dynamodb: Any) -> None:
    acme, globex = make_client(dynamodb, "acme"), make_client(dynamodb, "globex")
    registered = [acme.call("POST", json=BODY).data for _ in range(3)]
    assert acme.call("POST", json=BODY).error["code"] == "webhook_limit_reached"

    ids = [webhook["id"] for webhook in registered]
    first_page = acme.call("GET", query={"limit": "2"})
    cursor = first_page.json["pagination"]["next_cursor"]
    second_page = acme.call("GET", query={"limit": "2", "cursor": cursor})
    assert [webhook["id"] for webhook in first_page.data + second_page.data] == ids[::-1]
    assert second_page.json["pagination"] == {}

    destination = DynamoDBDestinationStore(dynamodb, "WebhooksTable").destination("acme", ids[0])
    assert destination is not None
    assert destination.secrets.current == registered[0]["secret"]

    assert globex.call("GET").data == []
    assert globex.call("DELETE", f"{WEBHOOKS}/{ids[0]}").status == 404
    assert acme.call("GET", f"{WEBHOOKS}/{ids[0]}").data["events"] == BODY["events"]
    assert acme.call("DELETE", query={"id": ids[0]}).data == {"id": ids[0], "deleted": True}
    assert acme.call("DELETE", query={"id": ids[0]}).error["code"] == "webhook_not_found"
    assert acme.call("POST", json=BODY).status == 201


def test_a_missing_table_is_unavailable(dynamodb: Any) -> None:
    acme = make_client(dynamodb, "acme")
    dynamodb.delete_table(TableName="WebhooksTable")
    answer = acme.call("POST", json=BODY)
    assert (answer.status, answer.error["code"]) == (503, "unavailable")
    assert "Table" not in answer.text


def test_keys_events_and_repeated_calls_on_the_functions_own_wiring(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with backend(monkeypatch) as aws:
        services = aws.services(ApiServices)
        acme = AccountClient(Api(services), services.api_key_service.issue("acme").text)
        acme.call("GET")
        aws.calls.clear()
        body = {"url": "http://127.0.0.1:9/hook", "events": ["*"]}
        assert acme.call("POST", json=body).status == 201
        # The two queries count the account's webhooks of that host, before and after.
        assert aws.calls == {"GetItem": 1, "Query": 2, "TransactWriteItems": 1}
        aws.calls.clear()
        header = {"Idempotency-Key": "mine"}
        first = acme.call("POST", json=body, headers=header)
        assert first.status == 201
        # The record, with the seed, and the answer.
        writes = {"PutItem": 1, "TransactWriteItems": 1, "UpdateItem": 1}
        assert aws.calls == {"GetItem": 1, "Query": 2, **writes}
        assert acme.call("POST", json=body, headers=header).text == first.text
        conflict = acme.call("POST", json={**body, "events": ["email.sent"]}, headers=header)
        assert conflict.error["code"] == "idempotency_conflict"

        published = acme.call("POST", "/api/v1/events", json=[event_document(account_id=None)] * 12)
        assert {result["status"] for result in published.data} == {"accepted"}
        assert aws.calls["SendMessageBatch"] == 2

        made = acme.call("POST", "/api/v1/api-keys", json={"name": "lost"}).data
        lost = AccountClient(acme.api, made["key"])
        assert lost.call("GET").status == 200
        assert acme.call("DELETE", f"/api/v1/api-keys/{made['id']}").status == 200
        assert lost.call("GET").status == 401
        [own] = [key for key in acme.call("GET", "/api/v1/api-keys").data if key["name"] == ""]
        refused = acme.call("DELETE", f"/api/v1/api-keys/{own['id']}")
        assert refused.error["code"] == "last_api_key"
        assert aws.calls["Scan"] == 0


def test_the_functions_handler_builds_its_services_once(monkeypatch: pytest.MonkeyPatch) -> None:
    on_fakes = ApiOnFakes()
    built: list[type] = []

    def deployed(kind: type) -> ApiOnFakes:
        built.append(kind)
        return on_fakes

    monkeypatch.setattr(ApiServices, "deployed", classmethod(deployed))
    handler.make_api.cache_clear()
    event = http_api_event(
        "GET", WEBHOOKS, headers={"Authorization": f"Bearer {on_fakes.acme.key}"}
    )
    try:
        assert {handler.lambda_handler(event, LAMBDA_CONTEXT)["statusCode"] for _ in "12"} == {200}
    finally:
        handler.make_api.cache_clear()
    assert built == [ApiServices]
