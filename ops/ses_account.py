"""Assigns the mail of an Amazon SES configuration set or tenant to an account.

::

    python -m ops.ses_account --set shop-mail --account acc_1 [--stack STACK]
    python -m ops.ses_account --tenant shop --account acc_1
    python -m ops.ses_account --set shop-mail --remove
    python -m ops.ses_account

Without a set or a tenant it lists the assignments. The dispatchers apply a change within a minute.
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

import boto3
from botocore.exceptions import BotoCoreError

from cli.screen import Screen
from ops.outputs import NoStackError, of_deployed, of_local
from webhooks.adapters.dynamodb.ses_accounts import DynamoDBSesAccountStore
from webhooks.domain.errors import WebhooksError
from webhooks.domain.event import checked_account_id
from webhooks.domain.ses import SourceKind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mypy_boto3_dynamodb import DynamoDBClient


def store_of(outputs: Mapping[str, str]) -> DynamoDBSesAccountStore:
    """Return the store of the stack with these outputs, local or deployed. Raises NoStackError."""

    table = outputs.get("WebhooksTableName") or outputs.get("WebhooksTable")
    if table is None:
        msg = "the stack has no output WebhooksTableName: is it one of this project?"
        raise NoStackError(msg)
    endpoint_url = outputs.get("AwsEndpointUrl")
    # A stack on this machine accepts any credentials and must not get real ones.
    credentials = "test" if endpoint_url else None
    region = outputs["Region"] if endpoint_url else None
    session = boto3.session.Session(credentials, credentials, region_name=region)
    client: DynamoDBClient = session.client("dynamodb", endpoint_url=endpoint_url)
    return DynamoDBSesAccountStore(client, table)


def main(arguments: Sequence[str] | None = None) -> int:
    """Change or list the assignments; return the exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    name = options.set or options.tenant
    if name is None and (options.account or options.remove):
        parser.error(
            "name a configuration set (--set, make's SET=) or a tenant (--tenant, TENANT=)"
        )
    if name is not None and bool(options.account) == options.remove:
        parser.error("give an account (--account, make's ACCOUNT=), or --remove (REMOVE=1)")

    screen = Screen(sys.stdout, os.environ, as_json=options.json)
    try:
        store = store_of(of_deployed(options.stack) if options.stack else of_local())
        if name is None:
            _list(store, screen)
            return 0
        return _change(store, options, name)
    except (NoStackError, WebhooksError, BotoCoreError) as error:
        print(f"Nothing was changed: {error}", file=sys.stderr)
        return 1


def _list(store: DynamoDBSesAccountStore, screen: Screen) -> None:
    accounts = store.read("")
    rows = [("tenant", *item) for item in sorted(accounts.tenants.items())]
    rows += [("set", *item) for item in sorted(accounts.configuration_sets.items())]
    if screen.as_json:
        keys = ("kind", "name", "account_id")
        screen.json([dict(zip(keys, row, strict=True)) for row in rows])
    else:
        screen.table(["KIND", "NAME", "ACCOUNT"], rows)


def _change(store: DynamoDBSesAccountStore, options: argparse.Namespace, name: str) -> int:

    kind = SourceKind.CONFIGURATION_SET if options.set else SourceKind.TENANT
    word = kind.name.lower().replace("_", " ")
    if options.remove:
        if not store.delete(kind, name):
            print(f"There is no account for the {word} {name}.", file=sys.stderr)
            return 1
        said = f"The mail of the {word} {name} belongs to the stack's default account"
    else:
        store.put(kind, name, checked_account_id(options.account))
        said = f"The mail of the {word} {name} belongs to the account {options.account}"
    print(f"{said}, effective within a minute.", file=sys.stderr)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m ops.ses_account",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--set", help="the configuration set, by its name")
    source.add_argument("--tenant", help="the tenant, by its name in SES")
    parser.add_argument("--account", help="the account that gets the events of such mail")
    parser.add_argument("--remove", action="store_true", help="remove the assignment")
    parser.add_argument("--json", action="store_true", help="print the list as JSON")
    parser.add_argument("--stack", help="a deployed stack; without it, the one on this machine")
    return parser


if __name__ == "__main__":
    sys.exit(main())
