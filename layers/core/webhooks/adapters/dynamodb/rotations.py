"""Rotations of secrets on DynamoDB, which never read a secret.

A rotation is one transaction: on the webhook's secrets, and on the record of its last rotation in
the deliveries' table. The API's role may name a secret only in an expression without any readable
attribute, so that no secret can be copied to an attribute that is shown. Therefore the facts of a
rotation that the role may read (its number, its time, the end of its overlap) are in that record.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from webhooks.adapters.aws import unavailable_on_failure
from webhooks.adapters.dynamodb import item_keys
from webhooks.adapters.dynamodb.conditional import update_if
from webhooks.adapters.dynamodb.transactions import CONDITION_FAILED, transact
from webhooks.domain.errors import (
    OverlapRunningError,
    RotationConflictError,
    UnavailableError,
)
from webhooks.domain.rotation import Rotation
from webhooks.domain.timestamps import MILLISECONDS

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_DAY_SECONDS = 86_400

_EXISTS = "attribute_exists(secret)"
_NO_OVERLAP = (
    "(attribute_not_exists(previous_secret_expires_at) OR previous_secret_expires_at <= :now)"
)
_IS_CURRENT = "secret = :secret"
_IS_ANOTHER = "secret <> :secret"
_NOTHING = "SET secret = secret"
_KEEP_PREVIOUS = "previous_secret = secret, previous_secret_expires_at = :until"
_REMOVE_PREVIOUS = "REMOVE previous_secret, previous_secret_expires_at"


class _Record(NamedTuple):
    """The last rotation of a webhook: its number, the end of its overlap, its time.

    `ended_overlap` is true if it ended the overlap of the rotation before it. Times are Unix
    milliseconds.
    """

    number: int
    until_ms: int
    at_ms: int = 0
    ended_overlap: bool = False


_NEVER = _Record(0, 0)


class SecretRotation:
    """One rotation of the secret of an account's webhook.

    `tables` are those of webhooks and of deliveries; `owner` is the ids of the account and the
    webhook. Times are Unix milliseconds.
    """

    def __init__(
        self,
        client: DynamoDBClient,
        tables: tuple[str, str],
        owner: tuple[str, str],
        secret: str,
        *,
        previous_until_ms: int,
        now_ms: int,
    ) -> None:
        self._client = client
        self._webhooks_table, self._deliveries_table = tables
        self._key = item_keys.webhook_key(*owner)
        self._record_key = item_keys.rotation_key(*owner)
        self._secret = {"S": secret}
        self._until_ms = previous_until_ms
        self._now_ms = now_ms
        self._overlaps = previous_until_ms > now_ms

    def make(self, *, force: bool, since_ms: int | None = None) -> Rotation | None:
        """Rotate; None if there is no secret to rotate (see the port)."""
        seen = self._read()
        if since_ms is not None and seen.at_ms >= since_ms:
            return self._made_since(seen)
        reasons = self._write(seen, force=False)
        if not reasons:
            return self._made(Rotation(self._until_ms if self._overlaps else None))
        if reasons[0] != CONDITION_FAILED and not force:
            raise RotationConflictError
        made = self._made_before(force=force)
        if made is not None:
            return self._made(made)
        if force:
            return self._forced(seen)
        if not self._holds(_EXISTS):
            return None
        until_ms = self._read().until_ms
        raise OverlapRunningError(until_ms if until_ms > self._now_ms else None)

    def _forced(self, seen: _Record) -> Rotation | None:
        """Rotate, and end a running overlap if there is one."""
        if not self._write(seen, force=True):
            return self._made(Rotation(self._until_ms if self._overlaps else None, True))
        # An earlier send of this write was applied, and its response lost.
        made = self._made_before(force=True)
        return made and self._made(made._replace(ended_overlap=True))

    def _made_since(self, seen: _Record) -> Rotation | None:
        """Return the rotation of an earlier try of the call, in its present state.

        If another rotation was made since the first try, it is not undone: its secret is in use.
        """
        if self._holds(_IS_CURRENT):
            until_ms = seen.until_ms if self._lives(seen.until_ms) else None
            return Rotation(until_ms, seen.ended_overlap)
        if self._holds(_EXISTS):
            raise RotationConflictError
        return None

    def _write(self, seen: _Record, *, force: bool) -> list[str]:
        """Rotate in one transaction; returns the reasons if a condition stopped it.

        The stored secret must differ from the new one: if a response is lost and the write sent
        again, the new secret would be taken for the old. Unless forced, no overlap may be running,
        and no other rotation may have been made since `seen` was read: of parallel rotations
        without an overlap, each would end the secret that the one before has returned.
        """
        values = {":secret": self._secret}
        expression = f"SET secret = :secret {_REMOVE_PREVIOUS}"
        if self._overlaps:
            values[":until"] = item_keys.number(self._until_ms)
            expression = f"SET secret = :secret, {_KEEP_PREVIOUS}"
        clauses = [_EXISTS, _IS_ANOTHER]
        if not force:
            clauses.append(_NO_OVERLAP)
            values[":now"] = item_keys.number(self._now_ms)
        secrets = {
            "TableName": self._webhooks_table,
            "Key": self._key,
            "UpdateExpression": expression,
            "ConditionExpression": " AND ".join(clauses),
            "ExpressionAttributeValues": values,
        }
        end_ms = max(self._until_ms, self._now_ms)
        record: dict[str, Any] = {
            "TableName": self._deliveries_table,
            "Item": {
                **self._record_key,
                "rotation": item_keys.number(seen.number + 1),
                "until": item_keys.number(self._until_ms if self._overlaps else 0),
                # Two processes' clocks always differ a little.
                "at": item_keys.number(max(self._now_ms, seen.at_ms)),
                "ended_overlap": {"BOOL": force},
                "expires_at": item_keys.number(end_ms // MILLISECONDS + _DAY_SECONDS),
            },
        }
        if not force:
            record |= _unchanged(seen)
        return transact(
            self._client, [{"Update": secrets}, {"Put": record}], "rotating a webhook's secret"
        )

    def _made_before(self, *, force: bool) -> Rotation | None:
        """Return the rotation to this very secret if an earlier try has made it."""
        if not self._overlaps:
            # If the owner gives the current secret, this update ends the one before it.
            ends = _IS_CURRENT if force else f"{_IS_CURRENT} AND {_NO_OVERLAP}"
            return Rotation(None) if self._holds(ends, _REMOVE_PREVIOUS) else None
        if not self._holds(_IS_CURRENT):
            return None
        until_ms = self._read().until_ms
        return Rotation(until_ms if self._lives(until_ms) else None)

    def _lives(self, until_ms: int) -> bool:
        """Whether the overlap with this end is running: a receiver's response may have ended it."""
        overlap = f"{_IS_CURRENT} AND previous_secret_expires_at = :until"
        return until_ms > self._now_ms and self._holds(overlap, until_ms=until_ms)

    def _holds(self, condition: str, expression: str = _NOTHING, *, until_ms: int = 0) -> bool:
        """Whether a condition on the secrets holds, found out by a conditional update.

        The condition must name the secret: otherwise an update would create an absent item.
        """
        values = {
            ":secret": self._secret,
            ":now": item_keys.number(self._now_ms),
            ":until": item_keys.number(until_ms),
        }
        named = {name: value for name, value in values.items() if name in condition}
        update: dict[str, Any] = {
            "TableName": self._webhooks_table,
            "Key": self._key,
            "UpdateExpression": expression,
            "ConditionExpression": condition,
        }
        if named:
            update["ExpressionAttributeValues"] = named
        return self._update(update)

    def _update(self, update: dict[str, Any]) -> bool:
        return update_if(self._client, update, "rotating a webhook's secret")

    def _read(self) -> _Record:
        with unavailable_on_failure("reading a webhook's last rotation"):
            answer = self._client.get_item(
                TableName=self._deliveries_table, Key=self._record_key, ConsistentRead=True
            )
        item = answer.get("Item")
        if not item:
            return _NEVER
        return _Record(
            int(item["rotation"]["N"]),
            int(item["until"]["N"]),
            int(item["at"]["N"]),
            item["ended_overlap"]["BOOL"],
        )

    def _made(self, rotation: Rotation) -> Rotation:
        """Record when the webhook was changed; a failure must not withhold the new secret."""
        with suppress(UnavailableError):
            self._update(
                {
                    "TableName": self._webhooks_table,
                    "Key": self._key,
                    "UpdateExpression": "SET updated_at = :now",
                    "ConditionExpression": "attribute_exists(webhook_id)",
                    "ExpressionAttributeValues": {":now": item_keys.number(self._now_ms)},
                }
            )
        return rotation


def _unchanged(seen: _Record) -> dict[str, Any]:
    """Return the condition that no rotation was recorded since `seen` was read."""
    if seen is _NEVER:
        return {"ConditionExpression": "attribute_not_exists(delivery_id)"}
    return {
        "ConditionExpression": "rotation = :seen",
        "ExpressionAttributeValues": {":seen": item_keys.number(seen.number)},
    }
