"""The project's handlers with services of this machine, which may reach receivers on loopback."""

from __future__ import annotations

import sys
import time
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from local.aws import REGION

if TYPE_CHECKING:
    from collections.abc import Mapping

    from local.functions import Handler

_ROOT = Path(__file__).parent.parent
_SOURCES = ("functions", "layers/core")
_USED_SERVICES = {
    "api": ("registry", "logbook", "keyring", "replays", "publisher", "kept_answers"),
    "dispatcher": ("dispatcher",),
    "retrier": ("retrier", "replayer"),
}


def make_handler(name: str, environment: Mapping[str, str]) -> Handler:
    """Return the handler of the name `<function>.handler.lambda_handler`, ready to serve.

    It gets its settings from `environment`, as it does from Lambda's.
    """
    _put_sources_on_path()
    from local import loopback
    from webhooks.settings import Settings
    from webhooks.wiring import Services, TargetRules

    function = name.partition(".")[0]
    services = Services(
        function,
        Settings.from_environment(environment),
        rules=TargetRules(loopback.parse_url, loopback.is_allowed),
    )
    for used in _USED_SERVICES[function]:
        # Built now, so that the first invocations need not wait for each other while one builds.
        getattr(services, used)
    if function == "api":
        from api.app import Api

        return Api(services)
    handle = import_module(name.rpartition(".")[0]).handle
    return lambda event, context: handle(event, context, services)


def issue_key(table: str, endpoint: str, account_id: str) -> str:
    """Make an API key for an account and return its text."""
    _put_sources_on_path()
    from local.api_key import KeysTable, issue

    return issue(KeysTable(table, endpoint, REGION), account_id, "local")


def live_secrets(table: str, endpoint: str) -> list[str]:
    """Return the secrets of all webhooks, which their owners were shown: for the receiver."""
    _put_sources_on_path()
    from webhooks.adapters.aws import client
    from webhooks.adapters.dynamodb import DynamoDBDestinationStore

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
        for secret in destination.secrets.live(int(time.time() * 1000))
    ]


def _put_sources_on_path() -> None:
    """Give the functions and the layer the import paths that they have in Lambda."""
    for source in _SOURCES:
        path = str(_ROOT / source)
        if path not in sys.path:
            sys.path.insert(0, path)
