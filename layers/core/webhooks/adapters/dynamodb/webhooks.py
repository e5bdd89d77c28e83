"""The store of webhooks on DynamoDB, for their owners."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from webhooks.adapters.aws import unavailable_on_failure
from webhooks.adapters.dynamodb import external_ids, item_keys, webhook_items
from webhooks.adapters.dynamodb.conditional import update_if
from webhooks.adapters.dynamodb.rotations import SecretRotation
from webhooks.adapters.dynamodb.transactions import CONDITION_FAILED, transact
from webhooks.domain.errors import ExternalIdTakenError, LimitReachedError, UnavailableError
from webhooks.domain.webhook_fields import READABLE
from webhooks.ports import Page, UnstartedRecovery

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from mypy_boto3_dynamodb import DynamoDBClient

    from webhooks.domain.rotation import Rotation
    from webhooks.domain.webhook import Webhook
    from webhooks.ports import WebhookChanges

SHOWN_ATTRIBUTES = (
    "account_id",
    *(attribute for field in READABLE for attribute in field.attributes),
)
"""The attributes of a webhook that the API's role may read: all except the secrets."""

_NAMES = {f"#{name}": name for name in SHOWN_ATTRIBUTES}
_PROJECTION = ", ".join(_NAMES)

_EXISTS = "attribute_exists(webhook_id)"

_TRIES = 5
"""Times that a webhook is read again if another call changed its external id meanwhile."""

_OVERLAP_ATTRIBUTES = "previous_secret, previous_secret_expires_at"

_DAY_SECONDS = 86_400
_UNDER_WAY_DAYS = 15
"""How long after its webhook's deletion a delivery's last activity may be, from which its retention
counts: a message may be on the queue for 14 days, and an attempt be due in one."""


class DynamoDBWebhookStore:
    """Webhooks for their owners. Every read names its attributes, never a secret.

    A deleted webhook leaves its id in the table of deliveries for as long as it may have any, so
    that an erasure finds them. `clock` returns Unix seconds.
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
        self._client = client
        self._table = table
        self._deliveries_table = deliveries_table
        self._kept_seconds = (retention_days + _UNDER_WAY_DAYS) * _DAY_SECONDS
        self._clock = clock

    def create(self, webhook: Webhook, secret: str, *, limit: int) -> None:
        """Add a webhook, count it and reserve its external id, in one transaction.

        Therefore the limit is exact, and no two webhooks have one external id.
        """
        absent = "attribute_not_exists(webhook_id)"
        below_limit = "attribute_not_exists(webhook_count) OR webhook_count < :limit"
        writes: list[dict[str, Any]] = [
            {
                "Put": {
                    "TableName": self._table,
                    "Item": webhook_items.webhook_item(webhook, secret),
                    "ConditionExpression": absent,
                }
            },
            self._count(webhook.account_id, 1, below_limit, {":limit": {"N": str(limit)}}),
        ]
        if webhook.external_id:
            writes.append(self._hold(webhook.account_id, webhook.external_id, webhook.id))
        reasons = transact(self._client, writes, "creating a webhook")
        # Its id is random: only an earlier try of this very call can have written it.
        if not reasons or reasons[0] == CONDITION_FAILED:
            return
        if CONDITION_FAILED in reasons[2:]:
            if self._free(webhook.account_id, webhook.external_id):
                self.create(webhook, secret, limit=limit)
                return
            raise ExternalIdTakenError
        msg = f"the account has its maximum of {limit} webhooks: delete one first"
        raise LimitReachedError(msg)

    def get(self, account_id: str, webhook_id: str) -> Webhook | None:
        """Return one webhook, None if this account has none with that id."""
        with unavailable_on_failure("reading a webhook"):
            answer = self._client.get_item(
                TableName=self._table,
                Key=item_keys.webhook_key(account_id, webhook_id),
                ConsistentRead=True,
                ProjectionExpression=_PROJECTION,
                ExpressionAttributeNames=_NAMES,
            )
        item = answer.get("Item")
        return webhook_items.read_webhook(item) if item else None

    def find(self, account_id: str, external_id: str) -> Webhook | None:
        """Return the account's webhook with this external id, None if there is none."""
        webhook_id = external_ids.find(self._client, self._table, account_id, external_id)
        webhook = self.get(account_id, webhook_id) if webhook_id else None
        # The webhook may have been given another external id in between.
        return webhook if webhook is not None and webhook.external_id == external_id else None

    def page(self, account_id: str, limit: int, before: str | None = None) -> Page[Webhook]:
        """Return up to `limit` webhooks, newest first: ids are ordered by time."""
        with unavailable_on_failure("listing webhooks"):
            answer = self._client.query(
                TableName=self._table,
                KeyConditionExpression="#account_id = :account_id AND #webhook_id < :before",
                ExpressionAttributeValues={
                    ":account_id": {"S": account_id},
                    ":before": {"S": before or item_keys.AFTER_ALL_WEBHOOKS},
                },
                ProjectionExpression=_PROJECTION,
                ExpressionAttributeNames=_NAMES,
                ConsistentRead=True,
                ScanIndexForward=False,
                Limit=limit + 1,
            )
        webhooks = [webhook_items.read_webhook(item) for item in answer["Items"]]
        page = webhooks[:limit]
        # A query also stops at a megabyte, before the page is full.
        more = len(webhooks) > limit or "LastEvaluatedKey" in answer
        return Page(page, page[-1].id if more else None)

    def newest_urls(self, account_id: str, *, consistent: bool = True) -> Mapping[str, str]:
        """Return urls by id with one query: at most 260 read units, half if not `consistent`."""
        with unavailable_on_failure("reading the webhooks' urls"):
            answer = self._client.query(
                TableName=self._table,
                KeyConditionExpression="account_id = :id AND webhook_id < :end",
                ExpressionAttributeValues={
                    ":id": {"S": account_id},
                    ":end": {"S": item_keys.AFTER_ALL_WEBHOOKS},
                },
                ProjectionExpression="webhook_id, #url",
                ExpressionAttributeNames={"#url": "url"},
                ConsistentRead=consistent,
                ScanIndexForward=False,
            )
        return {item["webhook_id"]["S"]: item["url"]["S"] for item in answer["Items"]}

    def update(
        self,
        account_id: str,
        webhook_id: str,
        changes: WebhookChanges,
        now_ms: int,
        recovery_id: str | None = None,
    ) -> Webhook | None:
        """Apply `changes`, and read the webhook again; None if it is absent.

        Enabling a webhook clears `disabled_reason`. With a `recovery_id` its health begins anew.
        Raises ExternalIdTakenError.
        """
        values = webhook_items.changed_attributes(changes) | {"updated_at": {"N": str(now_ms)}}
        forgotten = webhook_items.cleared_attributes(changes)
        if "active" in changes:
            forgotten.append("disabled_reason")
        if recovery_id is not None:
            values |= webhook_items.asked(recovery_id, now_ms)
            forgotten += [*webhook_items.FAILURE_ATTRIBUTES, "draining_since"]
        if recovery_id is not None or "url" in changes:
            forgotten.append(webhook_items.NOT_BEFORE)
        if recovery_id is not None or webhook_items.changes_target(changes):
            values[webhook_items.TARGET_CHANGED] = item_keys.number(now_ms)
            forgotten += [*webhook_items.WINDOW_ATTRIBUTES, webhook_items.PROBATION]
        expression = "SET " + ", ".join(f"#{name} = :{name}" for name in values)
        if forgotten:
            expression += " REMOVE " + ", ".join(f"#{name}" for name in forgotten)
        update = self._update_of(account_id, webhook_id, expression, values, named=forgotten)
        if "external_id" in changes:
            updated = self._move(account_id, webhook_id, changes["external_id"], update)
        else:
            updated = self._update(update)
        return self.get(account_id, webhook_id) if updated else None

    def _move(
        self, account_id: str, webhook_id: str, external_id: str, update: dict[str, Any]
    ) -> bool:
        """Make an update that gives a webhook another external id; False if it is absent.

        The same transaction reserves the new id and frees the old one.
        """
        for _ in range(_TRIES):
            webhook = self.get(account_id, webhook_id)
            if webhook is None:
                return False
            old = webhook.external_id
            writes = [{"Update": update | _still_named(update, old)}]
            if old and old != external_id:
                writes.append(self._release(account_id, old, webhook_id))
            holds = bool(external_id) and external_id != old
            if holds:
                writes.append(self._hold(account_id, external_id, webhook_id))
            reasons = transact(self._client, writes, "changing a webhook")
            if not reasons:
                return True
            taken = holds and reasons[-1] == CONDITION_FAILED
            if taken and not self._free(account_id, external_id):
                raise ExternalIdTakenError
        msg = "changing a webhook: its external id changes too often"
        raise UnavailableError(msg)

    def ask(
        self, account_id: str, webhook_id: str, recovery_id: str, now_ms: int, *, before_ms: int
    ) -> bool:
        """Give a webhook that is down or paused a new recovery, which probes it.

        One conditional write ends the pause too. A repeat succeeds if the webhook already has this
        recovery.
        """
        cleared = (*webhook_items.FAILURE_ATTRIBUTES, *webhook_items.WINDOW_ATTRIBUTES)
        forgotten = (*cleared, "draining_since", webhook_items.NOT_BEFORE)
        values = webhook_items.asked(recovery_id, now_ms)
        # A webhook on trial stays on trial.
        assigned = [f"#{name} = :{name}" for name in values if name != "comeback"]
        assigned.append("#comeback = if_not_exists(#comeback, :comeback)")
        expression = f"SET {', '.join(assigned)} REMOVE #{', #'.join(forgotten)}"
        values |= {"before": item_keys.number(before_ms), "enabled": {"BOOL": True}}
        update = self._update_of(
            account_id,
            webhook_id,
            expression,
            values,
            f"(#circuit = :circuit OR #{webhook_items.NOT_BEFORE} > :{webhook_items.ASKED}) AND "
            "active = :enabled AND "
            "(attribute_not_exists(#asked_at) OR #asked_at <= :before "
            "OR #recovery_id = :recovery_id)",
            named=forgotten,
        )
        return self._update(update)

    def rotate_secret(
        self,
        account_id: str,
        webhook_id: str,
        secret: str,
        *,
        previous_until_ms: int,
        now_ms: int,
        force: bool = False,
        since_ms: int | None = None,
    ) -> Rotation | None:
        """Store the new secret and keep the old one, in one expression that reads neither."""
        rotation = SecretRotation(
            self._client,
            (self._table, self._deliveries_table),
            (account_id, webhook_id),
            secret,
            previous_until_ms=previous_until_ms,
            now_ms=now_ms,
        )
        return rotation.make(force=force, since_ms=since_ms)

    def restore_secret(self, account_id: str, webhook_id: str, secret: str) -> bool:
        """Give a webhook whose record has no secret a new one."""
        expression = f"SET #secret = :secret REMOVE {_OVERLAP_ATTRIBUTES}"
        # Or exactly this secret: the response to the first try may have been lost.
        is_none = "attribute_not_exists(#secret)"
        is_made = "#secret = :secret AND attribute_not_exists(previous_secret)"
        has_none = f"attribute_exists(webhook_id) AND ({is_none} OR {is_made})"
        values = {"secret": {"S": secret}}
        return self._update(self._update_of(account_id, webhook_id, expression, values, has_none))

    def _update_of(
        self,
        account_id: str,
        webhook_id: str,
        expression: str,
        values: item_keys.Item,
        condition: str = _EXISTS,
        *,
        named: Iterable[str] = (),
    ) -> dict[str, Any]:
        return {
            "TableName": self._table,
            "Key": item_keys.webhook_key(account_id, webhook_id),
            "UpdateExpression": expression,
            "ConditionExpression": condition,
            "ExpressionAttributeNames": {
                f"#{name}": name for name in (*values, *named) if f"#{name}" in expression
            },
            "ExpressionAttributeValues": {f":{name}": value for name, value in values.items()},
        }

    def _update(self, update: dict[str, Any]) -> bool:
        """Make an update; False if its condition does not hold."""
        return update_if(self._client, update, "changing a webhook")

    def delete(
        self, account_id: str, webhook_id: str, *, unstarted: UnstartedRecovery | None = None
    ) -> bool:
        """Remove a webhook, lower its account's count, free its external id and keep its own.

        One transaction does all of it. It also adds a recovery that could not be started to the
        index of overdue ones, for the sweep.
        """
        for _ in range(_TRIES):
            webhook = self.get(account_id, webhook_id)
            if webhook is None:
                return False
            held = webhook.external_id
            key = {"TableName": self._table, "Key": item_keys.webhook_key(account_id, webhook_id)}
            kept = {
                **item_keys.deleted_webhook_key(account_id, webhook_id),
                "expires_at": {"N": str(int(self._clock()) + self._kept_seconds)},
            }
            writes: list[dict[str, Any]] = [
                {"Delete": key | _still_named({"ConditionExpression": _EXISTS}, held)},
                self._count(account_id, -1, "attribute_exists(webhook_count)", {}),
                {"Put": {"TableName": self._deliveries_table, "Item": kept}},
            ]
            if held:
                writes.append(self._release(account_id, held, webhook_id))
            if unstarted:
                writes.append(self._leave(account_id, webhook_id, unstarted))
            reasons = transact(self._client, writes, "deleting a webhook")
            if not reasons or reasons[0] != CONDITION_FAILED:
                return not reasons
        msg = "deleting a webhook: its external id changes too often"
        raise UnavailableError(msg)

    def _leave(
        self, account_id: str, webhook_id: str, unstarted: UnstartedRecovery
    ) -> dict[str, Any]:
        names = ("recovering", "recovery_id", "recovery_due_at")
        update = "SET " + ", ".join(f"{name} = :{name}" for name in names)
        values = {
            ":recovering": {"S": webhook_items.RECOVERING},
            ":recovery_id": {"S": unstarted.recovery_id},
            ":recovery_due_at": item_keys.number(unstarted.due_ms),
        }
        return {
            "Update": {
                "TableName": self._table,
                "Key": item_keys.webhook_key(
                    account_id, f"{item_keys.DELETED_WEBHOOKS}{webhook_id}"
                ),
                "UpdateExpression": update,
                "ExpressionAttributeValues": values,
            }
        }

    def _hold(self, account_id: str, external_id: str, webhook_id: str) -> dict[str, Any]:
        return external_ids.hold(self._table, account_id, external_id, webhook_id)

    def _free(self, account_id: str, external_id: str) -> bool:
        return external_ids.free(self._client, self._table, account_id, external_id)

    def _release(self, account_id: str, external_id: str, webhook_id: str) -> dict[str, Any]:
        return external_ids.release(self._table, account_id, external_id, webhook_id)

    def _count(
        self, account_id: str, change: int, condition: str, values: dict[str, Any]
    ) -> dict[str, Any]:
        return {
            "Update": {
                "TableName": self._table,
                "Key": item_keys.webhook_key(account_id, item_keys.QUOTA),
                "UpdateExpression": "ADD webhook_count :change",
                "ConditionExpression": condition,
                "ExpressionAttributeValues": {":change": {"N": str(change)}, **values},
            }
        }


def _still_named(write: Mapping[str, Any], external_id: str) -> dict[str, Any]:
    """Extend a write's condition: the webhook must have this external id, or none."""
    condition = write["ConditionExpression"]
    if not external_id:
        return {"ConditionExpression": f"{condition} AND attribute_not_exists(external_id)"}
    values = {**write.get("ExpressionAttributeValues", {}), ":held": {"S": external_id}}
    return {
        "ConditionExpression": f"{condition} AND external_id = :held",
        "ExpressionAttributeValues": values,
    }
