"""The project's handlers with services of this machine, which may reach receivers on loopback."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from local.functions import Handler

_ROOT = Path(__file__).parent.parent
_SOURCES = ("functions", "layers/core")


def make_handler(name: str, environment: Mapping[str, str]) -> Handler:
    """Return the handler of the name `<function>.handler.lambda_handler`, ready to serve.

    It gets its settings from `environment`, as it does from Lambda's.
    """
    _put_sources_on_path()
    from local import loopback
    from webhooks.adapters.http import GuardedSender
    from webhooks.settings import Settings
    from webhooks.wiring import Services

    function = name.partition(".")[0]
    services = Services(
        function,
        Settings.from_environment(environment),
        sender=GuardedSender(allowed=loopback.is_allowed, check=loopback.parse_url),
        check_url=loopback.check_url,
        is_allowed=loopback.is_allowed,
    )
    if function == "api":
        from api.app import Api

        return Api(services)
    handle = import_module(name.rpartition(".")[0]).handle
    return lambda event, context: handle(event, context, services)


def issue_key(table: str, endpoint: str, account_id: str) -> str:
    """Make an API key for an account and return its text."""
    _put_sources_on_path()
    from webhooks.adapters.aws import client
    from webhooks.adapters.dynamodb import DynamoDBApiKeyStore
    from webhooks.services.keyring import Keyring

    store = DynamoDBApiKeyStore(client("dynamodb", endpoint), table)
    return Keyring(store).issue(account_id, "local").text


def _put_sources_on_path() -> None:
    """Give the functions and the layer the import paths that they have in Lambda."""
    for source in _SOURCES:
        path = str(_ROOT / source)
        if path not in sys.path:
            sys.path.insert(0, path)
