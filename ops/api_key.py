"""Creates an API key for an account, on this machine's stack or on a deployed one.

::

    python -m ops.api_key --account acme [--name NAME] [--scopes read,write] [--stack STACK]
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
from botocore.exceptions import BotoCoreError

from ops.outputs import FILE, NoStackError, of_deployed, of_local
from webhooks.adapters.dynamodb.api_keys import DynamoDBApiKeyStore
from webhooks.domain.api_key import ALL_SCOPES, parse_scopes
from webhooks.domain.errors import WebhooksError
from webhooks.services.api_keys import ApiKeyService

if TYPE_CHECKING:
    from collections.abc import Sequence

_ROOT = Path(__file__).parent.parent
_LOCAL_OUTPUT = "ApiKeysTable"
_DEPLOYED_OUTPUT = "ApiKeysTableName"


@dataclass(frozen=True)
class KeysTable:
    """A stack's table of API keys. Without an endpoint or region, the AWS settings apply."""

    name: str
    endpoint_url: str | None = None
    region: str | None = None


def local_table(outputs_file: Path = FILE) -> KeysTable:
    """Return the table of the stack on this machine, from the stack's outputs file."""
    outputs = of_local(outputs_file)
    try:
        return KeysTable(outputs[_LOCAL_OUTPUT], outputs["AwsEndpointUrl"], outputs["Region"])
    except KeyError as error:
        msg = "the local stack is not this project's: start it again with `make run`"
        raise NoStackError(msg) from error


def deployed_table(stack: str) -> KeysTable:
    """Return the table of a deployed stack, from its CloudFormation outputs."""
    outputs = of_deployed(stack)
    if _DEPLOYED_OUTPUT not in outputs:
        msg = f"the stack {stack} has no output {_DEPLOYED_OUTPUT}: is it one of this project?"
        raise NoStackError(msg)
    return KeysTable(outputs[_DEPLOYED_OUTPUT])


def issue(
    table: KeysTable, account_id: str, name: str = "", scopes: Sequence[str] | None = None
) -> str:
    """Create and store a key, with all scopes if none are named; return its text.

    The text is not stored. Raises InvalidInputError for a bad account, name or scope, and
    UnavailableError if the table does not respond.
    """

    # A stack on this machine accepts any credentials and must not get real ones.
    credentials = "test" if table.endpoint_url else None
    session = boto3.session.Session(credentials, credentials, region_name=table.region)
    client = session.client("dynamodb", endpoint_url=table.endpoint_url)
    allowed = ALL_SCOPES if scopes is None else parse_scopes(scopes)
    return (
        ApiKeyService(DynamoDBApiKeyStore(client, table.name)).issue(account_id, name, allowed).text
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a new key, and nothing else, on standard output; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m ops.api_key", description="Create an API key.")
    parser.add_argument("--account", required=True, help="the key's account")
    parser.add_argument("--name", default="", help="the key's name, for its owner")
    parser.add_argument(
        "--scopes", help="read, write or publish, separated by commas; default: all"
    )
    parser.add_argument("--json", action="store_true", help="print the key and its account as JSON")
    parser.add_argument("--stack", help="a deployed stack; without it, the one on this machine")
    options = parser.parse_args(arguments)

    try:
        table = deployed_table(options.stack) if options.stack else local_table()
        scopes = options.scopes.split(",") if options.scopes is not None else None
        text = issue(table, options.account, options.name, scopes)
    except (NoStackError, WebhooksError, BotoCoreError) as error:
        print(f"No key was created: {error}", file=sys.stderr)
        return 1
    print(json.dumps({"account_id": options.account, "key": text}) if options.json else text)
    print(
        f"A key for the account {options.account}. Save it: it is shown only this once.",
        file=sys.stderr,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
