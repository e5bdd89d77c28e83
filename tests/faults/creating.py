"""Calls that make something, with an `Idempotency-Key`, among faults; and their results."""

from __future__ import annotations

import json
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

from support import samples
from support.http_api import AccountClient, Answer, http_api_event
from webhooks.adapters.dynamodb.api_keys import ACCOUNT_INDEX
from webhooks.domain.delivery import Status
from webhooks.wiring.api import ApiServices
from webhooks.wiring.dispatcher import DispatcherServices

if TYPE_CHECKING:
    from faults.fault_harness import Tenant
    from webhooks.domain.webhook import Secrets

URL = "http://127.0.0.1:9/hook"
WEBHOOKS = "/api/v1/webhooks"
_OWN = "own " * 5

NO_TIME_LEFT = -1_000
"""The remaining milliseconds of a killed call: its lease of the key is over."""


class Creating(NamedTuple):
    """A call that makes something: `{webhook}` and `{delivery}` are its own, `{number}` unique."""

    method: str
    path: str
    body: dict[str, Any]
    status: int


CALLS = {
    "webhook": Creating("POST", WEBHOOKS, {"url": URL, "events": ["*"]}, 201),
    "named webhook": Creating(
        "POST", WEBHOOKS, {"url": URL, "events": ["*"], "external_id": "e-{number}"}, 201
    ),
    "own secret": Creating("POST", WEBHOOKS, {"url": URL, "events": ["*"], "secret": _OWN}, 201),
    "put": Creating("PUT", f"{WEBHOOKS}/external/e-{{number}}", {"url": URL, "events": ["*"]}, 201),
    "API key": Creating("POST", "/api/v1/api-keys", {"name": "key {number}"}, 201),
    "rotation": Creating("POST", f"{WEBHOOKS}/{{webhook}}/rotate-secret", {}, 200),
    "test": Creating("POST", f"{WEBHOOKS}/{{webhook}}/test", {"event": "email.sent"}, 202),
    "resend": Creating("POST", f"{WEBHOOKS}/{{webhook}}/deliveries/{{delivery}}/resend", {}, 202),
    "replay": Creating(
        "POST", f"{WEBHOOKS}/{{webhook}}/replay", {"since": "2025-12-21T00:00:00Z"}, 202
    ),
    "events": Creating("POST", "/api/v1/events", {}, 202),
    "check": Creating("POST", f"{WEBHOOKS}/{{webhook}}/check", {}, 202),
}


class Made(NamedTuple):
    """The number of an account's items of each kind, without their contents."""

    webhooks: int
    keys: int
    records: int
    executions: int


class Caller:
    """An account that repeats one call, each time with resources of its own."""

    def __init__(self, tenant: Tenant, kind: str) -> None:
        self.tenant = tenant
        self.kind = kind
        self.call = CALLS[kind]
        self.key = tenant.acme.key
        self._api = tenant.acme.api
        self._number = 0
        self._event: dict[str, Any] = {}
        self.webhook_id = ""
        self.before = self.made()
        """The account's items before the present call."""

    def begin(self) -> None:
        """Prepare the resources of the next call, and make it the current one."""
        self._number += 1
        names = {"number": str(self._number), "webhook": "", "delivery": ""}
        if "{webhook}" in self.call.path:
            webhook = self.tenant.webhook(URL, self._number)
            self.webhook_id = names["webhook"] = webhook.id
            if "{delivery}" in self.call.path:
                delivery = samples.delivery(
                    self._number,
                    account_id=self.tenant.account,
                    status=Status.EXHAUSTED,
                    created_at_ms=int(time.time() * 1000),
                )
                self.tenant.harness.services(ApiServices).delivery_log_service._deliveries.create(
                    delivery
                )
                names["delivery"] = delivery.id
        text = json.dumps(self.call.body)
        path = self.call.path
        for name, value in names.items():
            text, path = text.replace(f"{{{name}}}", value), path.replace(f"{{{name}}}", value)
        self._event = http_api_event(
            self.call.method,
            path,
            body=text,
            headers={
                "Authorization": f"Bearer {self.key}",
                "Content-Type": "application/json",
                "Idempotency-Key": f"call-{self._number}",
            },
        )
        self.tenant.harness.faults.clear()
        self.before = self.made()

    def event(self, body: object = None) -> dict[str, Any]:
        """Return the call as the gateway's event, with another body where given."""
        return self._event if body is None else {**self._event, "body": json.dumps(body)}

    def make(self, remaining_ms: int = 15_000, body: object = None) -> Answer:
        """Make the call, with so many milliseconds left."""
        context = SimpleNamespace(
            aws_request_id="lambda-request-id", get_remaining_time_in_millis=lambda: remaining_ms
        )
        return AccountClient(lambda event, _: self._api(event, context), self.key).send(
            self.event(body)
        )

    def made(self) -> Made:
        """Count the account's items."""
        settings = self.tenant.harness.aws.settings
        dynamodb = self.tenant.harness.aws.clients["dynamodb"]
        sent = self.tenant.harness.faults.sent
        account = self.tenant.account
        with self.tenant.harness.faults.out_of_the_way():
            mine = {":account": {"S": account}}
            webhooks = dynamodb.query(
                TableName=settings.webhooks_table,
                Select="COUNT",
                KeyConditionExpression="account_id = :account",
                FilterExpression="attribute_exists(#url)",
                ExpressionAttributeNames={"#url": "url"},
                ExpressionAttributeValues=mine,
            )
            keys = dynamodb.query(
                TableName=settings.api_keys_table,
                IndexName=ACCOUNT_INDEX,
                Select="COUNT",
                KeyConditionExpression="account_id = :account",
                ExpressionAttributeValues=mine,
            )
            records = dynamodb.scan(
                TableName=settings.deliveries_table,
                Select="COUNT",
                FilterExpression="contains(#owner, :account) AND NOT contains(#owner, :limits)",
                ExpressionAttributeNames={"#owner": "owner"},
                ExpressionAttributeValues={**mine, ":limits": {"S": "rate_limit"}},
            )
        return Made(
            webhooks=webhooks["Count"],
            keys=keys["Count"],
            records=records["Count"],
            # An execution under a name in use starts nothing.
            executions=len({body["name"] for name, body in sent if name == "StartExecution"}),
        )

    def secrets(self, webhook_id: str) -> Secrets:
        """Return a webhook's signing secrets."""
        with self.tenant.harness.faults.out_of_the_way():
            destinations = self.tenant.harness.services(DispatcherServices)._destinations
            destination = destinations.destination(self.tenant.account, webhook_id)
        assert destination is not None
        return destination.secrets
