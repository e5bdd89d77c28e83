"""The project's handlers with this machine's services, which may reach receivers on loopback."""

from __future__ import annotations

import hashlib
import queue
import time
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from webhooks.domain.timestamps import to_ms

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from local.functions import Handler

_ROOT = Path(__file__).parent.parent
_LONG_AGO_NS = 1_766_313_000_000_000_000
_USED_SERVICES = {
    "api": (
        *(
            "webhook_service",
            "delivery_log_service",
            "api_key_service",
            "replays",
            "erasures",
            "rate_limits",
            "publisher",
        ),
        "idempotency_store",
    ),
    "dispatcher": ("dispatcher",),
    "worker": ("retrier", "sweep_job"),
}
_FORMER_NAMES = {"retrier": "worker"}
"""Packages that run another function under its name in the former release."""


def make_handler(
    name: str, environment: Mapping[str, str], *, short_delay_seconds: float | None = None
) -> Handler:
    """Return the handler named `<function>.handler.lambda_handler`, ready to serve.

    It reads its settings from `environment`, as in Lambda. `short_delay_seconds` is the longest
    delay of the Express machine, which no deployed function can change.
    """
    from local import loopback
    from webhooks.settings import Settings
    from webhooks.wiring.api import ApiServices
    from webhooks.wiring.common import TargetRules
    from webhooks.wiring.dispatcher import DispatcherServices
    from webhooks.wiring.worker import WorkerServices

    package = name.partition(".")[0]
    function = _FORMER_NAMES.get(package, package)
    kind = {"api": ApiServices, "dispatcher": DispatcherServices, "worker": WorkerServices}[
        function
    ]
    settings = Settings.from_environment(environment)
    if short_delay_seconds is not None:
        settings = replace(settings, short_delay_seconds=short_delay_seconds)

    def build() -> Handler:
        rules = TargetRules(loopback.parse_url, loopback.is_allowed)
        services: Any = kind(settings, rules=rules)
        for used in _USED_SERVICES[function]:
            getattr(services, used)
        if function == "api":
            from api.app import Api

            return Api(services)
        handle = import_module(name.rpartition(".")[0]).handle
        return lambda event, context: handle(event, context, services)

    return _Environments(build)


class _Environments:
    """Lambda's execution environments: each serves one invocation at a time, and is kept."""

    def __init__(self, build: Callable[[], Handler]) -> None:
        self._build = build
        self._free: queue.LifoQueue[Handler] = queue.LifoQueue()
        # The first environment is ready before the first invocation.
        self._free.put(build())

    def __call__(self, event: Any, context: Any) -> Any:
        try:
            handler = self._free.get_nowait()
        except queue.Empty:
            handler = self._build()
        try:
            return handler(event, context)
        finally:
            self._free.put(handler)


def store_key(table: str, endpoint: str, account_id: str) -> str:
    """Store this machine's own API key for an account and return its text.

    The key is the same at each start, because the samples in `events/` contain it. No deployed
    stack has it.
    """
    from webhooks.adapters.aws import client
    from webhooks.adapters.dynamodb.api_keys import DynamoDBApiKeyStore
    from webhooks.services.api_keys import ApiKeyService

    seed = hashlib.sha512(b"sendcomms local").digest()
    store = DynamoDBApiKeyStore(client("dynamodb", endpoint), table)
    api_key_service = ApiKeyService(
        store, now_ns=lambda: _LONG_AGO_NS, random_bytes=lambda count: seed[:count]
    )
    return api_key_service.issue(account_id, "local").text


def live_secrets(table: str, endpoint: str) -> list[str]:
    """Return the secrets of all webhooks, for the receiver."""
    from webhooks.adapters.aws import client
    from webhooks.adapters.dynamodb.destinations import DynamoDBDestinationStore

    dynamodb = client("dynamodb", endpoint)
    store = DynamoDBDestinationStore(dynamodb, table)
    pages = dynamodb.get_paginator("scan").paginate(
        TableName=table, ProjectionExpression="account_id"
    )
    accounts = {item["account_id"]["S"] for page in pages for item in page["Items"]}
    return [
        secret
        for account_id in accounts
        for destination in store.destinations(account_id)
        for secret in destination.secrets.live(to_ms(time.time()))
    ]
