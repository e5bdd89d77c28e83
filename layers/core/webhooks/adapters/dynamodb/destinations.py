"""The store of webhooks on DynamoDB, for the functions that sign."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from webhooks.adapters.aws import CALL_SECONDS, error_code, unavailable_on_failure
from webhooks.adapters.dynamodb import item_keys, webhook_items
from webhooks.domain.errors import UnavailableError
from webhooks.domain.webhook import Destination

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mypy_boto3_dynamodb import DynamoDBClient

    from webhooks.domain.shard import Shard
    from webhooks.domain.webhook import Secrets


class DynamoDBDestinationStore:
    """Webhooks with their secrets, for the functions that sign. `monotonic` returns seconds."""

    def __init__(
        self,
        client: DynamoDBClient,
        table: str,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._table = table
        self._monotonic = monotonic

    def destinations(self, account_id: str, shard: Shard | None = None) -> Sequence[Destination]:
        """Return every webhook of an account or a shard; all of its pages, or UnavailableError.

        No further page is read after `CALL_SECONDS`: the invocation has other work too.
        """
        until = self._monotonic() + CALL_SECONDS
        if shard is None:
            condition = "webhook_id < :end"
            values = {":end": {"S": item_keys.AFTER_ALL_WEBHOOKS}}
        else:
            condition = "webhook_id BETWEEN :first AND :last"
            values = {":first": {"S": shard.first}, ":last": {"S": shard.last}}
        query: dict[str, Any] = {
            "TableName": self._table,
            "KeyConditionExpression": f"account_id = :account_id AND {condition}",
            "ExpressionAttributeValues": {":account_id": {"S": account_id}, **values},
            "ConsistentRead": True,
        }
        found: list[Destination] = []
        while True:
            with unavailable_on_failure("finding an account's webhooks"):
                answer = self._client.query(**query)
            found += [_destination(item) for item in answer["Items"]]
            if not answer.get("LastEvaluatedKey"):
                return found
            if self._monotonic() >= until:
                msg = "finding an account's webhooks: too slow"
                raise UnavailableError(msg)
            query["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    def destination(self, account_id: str, webhook_id: str) -> Destination | None:
        """Return one webhook, None if it was deleted."""
        with unavailable_on_failure("reading a webhook"):
            answer = self._client.get_item(
                TableName=self._table,
                Key=item_keys.webhook_key(account_id, webhook_id),
                ConsistentRead=True,
            )
        item = answer.get("Item")
        return _destination(item) if item else None

    def end_overlap(self, account_id: str, webhook_id: str, secret: str) -> None:
        """Remove the previous secret, if `secret` is still the current one."""
        self._update(
            account_id,
            webhook_id,
            "ending a rotation's overlap",
            UpdateExpression="REMOVE previous_secret, previous_secret_expires_at, #refusals",
            ConditionExpression="secret = :secret",
            ExpressionAttributeNames={"#refusals": webhook_items.REFUSALS},
            ExpressionAttributeValues={":secret": {"S": secret}},
        )

    def refused_both(self, account_id: str, webhook_id: str, secrets: Secrets, now_ms: int) -> None:
        """Count one more refusal of both secrets, unless they or the count have changed since.

        Of parallel refusals only one is counted. A count from an earlier overlap is replaced.
        """
        before = secrets.refusals
        values = {
            ":secret": {"S": secrets.current},
            ":until": item_keys.number(secrets.previous_expires_at_ms),
            ":refusals": webhook_items.refusals_value(secrets, now_ms),
        }
        names = {"#refusals": webhook_items.REFUSALS, "#until": "until"}
        unchanged = "(attribute_not_exists(#refusals) OR #refusals.#until <> :until)"
        if before is not None:
            unchanged = "#refusals.#until = :until AND #refusals.#count = :count"
            names["#count"] = "count"
            values[":count"] = item_keys.number(before.times)
        self._update(
            account_id,
            webhook_id,
            "counting a refusal",
            UpdateExpression="SET #refusals = :refusals",
            ConditionExpression=(
                f"secret = :secret AND previous_secret_expires_at = :until AND {unchanged}"
            ),
            ExpressionAttributeNames=names,
            ExpressionAttributeValues=values,
        )

    def _update(self, account_id: str, webhook_id: str, operation: str, **update: Any) -> None:
        """Make an update; nothing happens if its condition does not hold."""
        with unavailable_on_failure(operation):
            try:
                self._client.update_item(
                    TableName=self._table,
                    Key=item_keys.webhook_key(account_id, webhook_id),
                    **update,
                )
            except ClientError as error:
                if error_code(error) != "ConditionalCheckFailedException":
                    raise


def _destination(item: Any) -> Destination:
    return Destination(webhook_items.read_webhook(item), webhook_items.read_secrets(item))
