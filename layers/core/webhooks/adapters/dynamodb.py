"""The store of webhooks on DynamoDB, as their owners see them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from webhooks.adapters import items, webhook_items
from webhooks.adapters.aws import error_code, unavailable_on_failure
from webhooks.adapters.transactions import CONDITION_FAILED, transact
from webhooks.domain.errors import LimitReachedError, UnavailableError
from webhooks.ports import WebhookPage

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_dynamodb import DynamoDBClient

    from webhooks.domain.webhook import Webhook
    from webhooks.ports import WebhookChanges

SHOWN_ATTRIBUTES = (
    "account_id",
    "webhook_id",
    "url",
    "events",
    "active",
    "disabled_reason",
    "description",
    "headers",
    "created_at",
    "updated_at",
    "failures",
    "failing_since",
    "circuit",
)
"""What the api's role may read of a webhook: every attribute but the secrets."""

_NAMES = {f"#{name}": name for name in SHOWN_ATTRIBUTES}
_PROJECTION = ", ".join(_NAMES)

_OVERLAP_ATTRIBUTES = "previous_secret, previous_secret_expires_at"

_DAY_SECONDS = 86_400
_UNDER_WAY_DAYS = 15
"""How much later than its webhook's deletion a delivery may be heard of last, and be kept from then
on: a message may be on the queue for 14 days, and an attempt be due in one."""


class DynamoDBWebhookStore:
    """Webhooks as their owners see them. Every read names its attributes, never a secret.

    One that is deleted leaves its id beside its deliveries, for as long as there may be any: so
    that an erasure finds them.
    """

    def __init__(
        self,
        client: DynamoDBClient,
        table: str,
        *,
        deliveries_table: str,
        retention_days: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Use the tables through a low-level client; `clock` gives Unix seconds."""
        self._client = client
        self._table = table
        self._deliveries_table = deliveries_table
        self._kept_seconds = (retention_days + _UNDER_WAY_DAYS) * _DAY_SECONDS
        self._clock = clock

    def create(self, webhook: Webhook, secret: str, *, limit: int) -> None:
        """Add a webhook and count it, in one transaction, so that the limit is exact."""
        absent = "attribute_not_exists(webhook_id)"
        below_limit = "attribute_not_exists(webhook_count) OR webhook_count < :limit"
        reasons = transact(
            self._client,
            [
                {
                    "Put": {
                        "TableName": self._table,
                        "Item": webhook_items.webhook_item(webhook, secret),
                        "ConditionExpression": absent,
                    }
                },
                self._count(webhook.account_id, 1, below_limit, {":limit": {"N": str(limit)}}),
            ],
            "creating a webhook",
        )
        if reasons and reasons[1] == CONDITION_FAILED:
            msg = f"the account has {limit} webhooks, as many as it may: delete one first"
            raise LimitReachedError(msg)
        if reasons:
            msg = f"creating a webhook: {reasons[0]}"
            raise UnavailableError(msg)

    def get(self, account_id: str, webhook_id: str) -> Webhook | None:
        """Return one webhook, None where this account has none of that id."""
        with unavailable_on_failure("reading a webhook"):
            answer = self._client.get_item(
                TableName=self._table,
                Key=items.webhook_key(account_id, webhook_id),
                ConsistentRead=True,
                ProjectionExpression=_PROJECTION,
                ExpressionAttributeNames=_NAMES,
            )
        item = answer.get("Item")
        return webhook_items.read_webhook(item) if item else None

    def page(self, account_id: str, limit: int, before: str | None = None) -> WebhookPage:
        """Return up to `limit` webhooks, newest first: ids are ordered by time."""
        with unavailable_on_failure("listing webhooks"):
            answer = self._client.query(
                TableName=self._table,
                KeyConditionExpression="#account_id = :account_id AND #webhook_id < :before",
                ExpressionAttributeValues={
                    ":account_id": {"S": account_id},
                    ":before": {"S": before or items.AFTER_ALL_WEBHOOKS},
                },
                ProjectionExpression=_PROJECTION,
                ExpressionAttributeNames=_NAMES,
                ConsistentRead=True,
                ScanIndexForward=False,
                Limit=limit + 1,
            )
        webhooks = [webhook_items.read_webhook(item) for item in answer["Items"]]
        page = webhooks[:limit]
        # A query stops at a megabyte too, before the page is full.
        more = len(webhooks) > limit or "LastEvaluatedKey" in answer
        return WebhookPage(page, page[-1].id if more else None)

    def update(
        self,
        account_id: str,
        webhook_id: str,
        changes: WebhookChanges,
        now_ms: int,
        recovery_id: str | None = None,
    ) -> Webhook | None:
        """Change what `changes` names, and read the webhook again; None where it is absent.

        Enabling a webhook clears `disabled_reason`. With a `recovery_id` its health begins anew.
        """
        values = webhook_items.changed_attributes(changes) | {"updated_at": {"N": str(now_ms)}}
        forgotten = ["disabled_reason"] if changes.active is not None else []
        if recovery_id is not None:
            values |= webhook_items.draining(recovery_id, now_ms)
            forgotten += webhook_items.FAILURE_ATTRIBUTES
        expression = "SET " + ", ".join(f"#{name} = :{name}" for name in values)
        if forgotten:
            expression += f" REMOVE {', '.join(forgotten)}"
        if not self._update(account_id, webhook_id, expression, values):
            return None
        return self.get(account_id, webhook_id)

    def rotate_secret(
        self, account_id: str, webhook_id: str, secret: str, *, previous_until_ms: int, now_ms: int
    ) -> bool:
        """Move the secret aside and write the new one, inside one expression that reads neither.

        The time of the change is written first and by itself: a role that might name a secret and
        what it may read in one expression could copy the one into the other.
        """
        changed = {"updated_at": {"N": str(now_ms)}}
        if not self._update(account_id, webhook_id, "SET #updated_at = :updated_at", changed):
            return False
        values = {"secret": {"S": secret}}
        expression = "SET #secret = :secret"
        if previous_until_ms > now_ms:
            values["until"] = {"N": str(previous_until_ms)}
            expression += ", previous_secret = #secret, previous_secret_expires_at = :until"
        else:
            expression += f" REMOVE {_OVERLAP_ATTRIBUTES}"
        has_one = "attribute_exists(#secret)"
        return self._update(account_id, webhook_id, expression, values, has_one)

    def restore_secret(self, account_id: str, webhook_id: str, secret: str) -> bool:
        """Give a webhook whose secret went missing a new one."""
        expression = f"SET #secret = :secret REMOVE {_OVERLAP_ATTRIBUTES}"
        has_none = "attribute_exists(webhook_id) AND attribute_not_exists(#secret)"
        values = {"secret": {"S": secret}}
        return self._update(account_id, webhook_id, expression, values, has_none)

    def _update(
        self,
        account_id: str,
        webhook_id: str,
        expression: str,
        values: items.Item,
        condition: str = "attribute_exists(webhook_id)",
    ) -> bool:
        with unavailable_on_failure("changing a webhook"):
            try:
                self._client.update_item(
                    TableName=self._table,
                    Key=items.webhook_key(account_id, webhook_id),
                    UpdateExpression=expression,
                    ConditionExpression=condition,
                    ExpressionAttributeNames={
                        f"#{name}": name for name in values if f"#{name}" in expression
                    },
                    ExpressionAttributeValues={f":{name}": value for name, value in values.items()},
                )
            except ClientError as error:
                if error_code(error) != "ConditionalCheckFailedException":
                    raise
                return False
        return True

    def delete(self, account_id: str, webhook_id: str) -> bool:
        """Remove a webhook, count it off and keep its id, in one transaction."""
        reasons = transact(
            self._client,
            [
                {
                    "Delete": {
                        "TableName": self._table,
                        "Key": items.webhook_key(account_id, webhook_id),
                        "ConditionExpression": "attribute_exists(webhook_id)",
                    }
                },
                self._count(account_id, -1, "attribute_exists(webhook_count)", {}),
                {
                    "Put": {
                        "TableName": self._deliveries_table,
                        "Item": {
                            **items.deleted_webhook_key(account_id, webhook_id),
                            "expires_at": {"N": str(int(self._clock()) + self._kept_seconds)},
                        },
                    }
                },
            ],
            "deleting a webhook",
        )
        return not reasons

    def _count(
        self, account_id: str, change: int, condition: str, values: dict[str, Any]
    ) -> dict[str, Any]:
        return {
            "Update": {
                "TableName": self._table,
                "Key": items.webhook_key(account_id, items.QUOTA),
                "UpdateExpression": "ADD webhook_count :change",
                "ConditionExpression": condition,
                "ExpressionAttributeValues": {":change": {"N": str(change)}, **values},
            }
        }
