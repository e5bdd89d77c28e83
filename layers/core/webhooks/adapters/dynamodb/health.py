"""The health of webhooks on DynamoDB: a few attributes of the webhook's own item."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from botocore.exceptions import ClientError

from webhooks.adapters.aws import error_code, unavailable_on_failure
from webhooks.adapters.dynamodb import item_keys, webhook_items
from webhooks.adapters.dynamodb.own_writes import Recognise, left, made_before
from webhooks.adapters.dynamodb.probations import CLEARED_PROBATION, Probations, taken_down
from webhooks.adapters.dynamodb.recoveries import Recoveries
from webhooks.domain.health import (
    FAILURES_TO_OPEN,
    WINDOW_MS,
    Circuit,
    Comeback,
    RecoveryKey,
    Tally,
)

if TYPE_CHECKING:
    from typing import Literal

    from mypy_boto3_dynamodb import DynamoDBClient

    from webhooks.domain.health import Health, Window

_UNCHANGED = webhook_items.UNCHANGED
_EXISTS = "attribute_exists(webhook_id)"
_WINDOW_IS_LIVE = "window_since > :ended"
_NO_WINDOW_IS_LIVE = "(attribute_not_exists(window_since) OR window_since <= :ended)"


class _Counting(NamedTuple):
    """A write that also counts in a window: its condition, its values and its expression."""

    condition: str
    values: item_keys.Item
    assigned: str = ""
    added: str = ""


class DynamoDBHealthStore(Probations, Recoveries):
    """Health, in conditional updates: of a thousand parallel calls, one reports that it changed it.

    If the SDK sends a write again after its response was lost, the call recognises its own write
    and reports it too. Only then may two calls report one change; therefore a notice about it is
    sent at least once.
    """

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    def failed(
        self,
        account_id: str,
        webhook_id: str,
        count: int,
        now_ms: int,
        *,
        updated_at_ms: int | None = None,
        window: bool = False,
    ) -> Health | None:
        """Count failures in a row; returns the health as it then is, None if absent."""
        condition, values = _unchanged(updated_at_ms)
        counting = _Counting(
            condition,
            values | {":now": item_keys.number(now_ms), ":count": item_keys.number(count)},
            assigned="failing_since = if_not_exists(failing_since, :now)",
            added="failures :count",
        )
        if window:
            return self._count((account_id, webhook_id), Tally(count, 0), now_ms, counting)
        expression = f"SET {counting.assigned} ADD {counting.added}"
        after = self._update(account_id, webhook_id, expression, condition, counting.values)
        return None if after is None else webhook_items.read_health(after)

    def count(
        self,
        account_id: str,
        webhook_id: str,
        tally: Tally,
        now_ms: int,
        *,
        updated_at_ms: int | None = None,
    ) -> Health | None:
        """Count attempts in the webhook's window; returns the health, None if absent."""
        counting = _Counting(*_unchanged(updated_at_ms))
        return self._count((account_id, webhook_id), tally, now_ms, counting)

    def _count(
        self, owner: tuple[str, str], tally: Tally, now_ms: int, counting: _Counting
    ) -> Health | None:
        """Count in the live window, or begin one.

        Between the tries another call may begin a window, or a window's minute may end, but not
        both: three tries are enough.
        """
        assigned, added = counting.assigned, counting.added
        goes_on = f"ADD {_list(added, 'window_failed :failed', 'window_taken :taken')}"
        if assigned:
            goes_on = f"SET {assigned} {goes_on}"
        new = ("window_since = :now", "window_failed = :failed", "window_taken = :taken")
        begins = f"SET {_list(assigned, *new)}"
        if added:
            begins = f"{begins} ADD {added}"
        values = counting.values | {
            ":ended": item_keys.number(now_ms - WINDOW_MS),
            ":failed": item_keys.number(tally.failed),
            ":taken": item_keys.number(tally.taken),
        }
        begun = values | {":now": item_keys.number(now_ms)}
        tries = (
            (goes_on, _WINDOW_IS_LIVE, values, None),
            (begins, _NO_WINDOW_IS_LIVE, begun, left({"window_since": begun[":now"]})),
            (goes_on, _WINDOW_IS_LIVE, values, None),
        )
        for expression, which, given, ours in tries:
            condition = f"{counting.condition} AND {which}"
            after = self._update(*owner, expression, condition, given, recognise=ours)
            if after is not None:
                return webhook_items.read_health(after)
        return None

    def succeeded(
        self, account_id: str, webhook_id: str, now_ms: int, *, told_down: bool = False
    ) -> bool:
        """Reset the count; True only for the first call since the webhook went down."""
        cleared = f"REMOVE {', '.join([*webhook_items.FAILURE_ATTRIBUTES, webhook_items.DOWN])}"
        is_open = {":open": {"S": Circuit.OPEN.value}}
        on_trial = {":trial": {"S": Comeback.TRIAL.value}}
        taken = taken_down(now_ms, told_down=told_down)
        draining = {
            "circuit": {"S": Circuit.DRAINING.value},
            "draining_since": item_keys.number(now_ms),
        }
        taken_from_open = self._update(
            account_id,
            webhook_id,
            "SET circuit = :draining, draining_since = :now, probation = :yes, "
            f"window_since = :now, window_failed = :none, window_taken = :none {cleared}",
            "circuit = :open AND (attribute_not_exists(comeback) OR comeback <> :trial)",
            is_open
            | on_trial
            | {
                ":draining": {"S": Circuit.DRAINING.value},
                ":now": item_keys.number(now_ms),
                ":none": item_keys.number(0),
                ":yes": {"BOOL": True},
            },
            returns="ALL_OLD",
            recognise=left(draining, taken=taken),
        )
        if taken_from_open is not None:
            return webhook_items.was_down(taken_from_open)
        # Otherwise its owner may have enabled it, or changed its url, while it was down.
        before = self._update(
            account_id,
            webhook_id,
            cleared,
            "(attribute_exists(failures) OR attribute_exists(down_since)) AND "
            "(attribute_not_exists(circuit) OR circuit <> :open)",
            is_open,
            returns="ALL_OLD",
            recognise=lambda item: _cleared(item, taken),
        )
        if before is not None:
            return webhook_items.DOWN in before
        # Otherwise it may be on trial, where its recovery decides.
        self._update(
            account_id,
            webhook_id,
            f"REMOVE {', '.join(webhook_items.FAILURE_ATTRIBUTES)}",
            "circuit = :open AND comeback = :trial AND attribute_exists(failures)",
            is_open | on_trial,
        )
        return False

    def open(
        self,
        key: RecoveryKey,
        due_ms: int,
        now_ms: int,
        *,
        window: Window | None = None,
        trial: bool = False,
    ) -> str | None:
        """Open the circuit of an active webhook after failures in a row, or by their share.

        If this call opened the circuit, returns the id of its recovery: the given one, or the
        present one if the webhook was draining.
        """
        recovering = webhook_items.recovering(key.recovery_id, due_ms)
        values: item_keys.Item = {
            ":open": {"S": Circuit.OPEN.value},
            ":since": item_keys.number(now_ms if window is None else window.since_ms),
            ":draining": {"S": Circuit.DRAINING.value},
            ":enabled": {"BOOL": True},
            **{f":{name}": value for name, value in recovering.items()},
        }
        if window is None:
            enough = "failures >= :enough"
            since = "if_not_exists(failing_since, :since)"
            values[":enough"] = item_keys.number(FAILURES_TO_OPEN)
        else:
            # Counts only grow, so there are enough attempts. But more may have been accepted since.
            enough = "window_since = :since AND window_failed > window_taken"
            since = ":since"
        comeback = ""
        if trial:
            comeback = "comeback = :trial, "
            values[":trial"] = {"S": Comeback.TRIAL.value}
        opened = self._update(
            key.account_id,
            key.webhook_id,
            f"SET circuit = :open, {comeback}recovering = :recovering, "
            f"down_since = {since}, "
            "recovery_id = if_not_exists(recovery_id, :recovery_id), "
            "recovery_due_at = if_not_exists(recovery_due_at, :recovery_due_at) "
            f"REMOVE draining_since, {CLEARED_PROBATION}",
            f"active = :enabled AND {enough} AND "
            "(attribute_not_exists(circuit) OR circuit = :draining)",
            values,
            recognise=lambda item: item if _opened(item, values) else None,
        )
        return None if opened is None else webhook_items.read_health(opened).recovery_id

    def warn(self, account_id: str, webhook_id: str, failing_since_ms: int, now_ms: int) -> bool:
        """Record that the owner is warned; True only for the one call that wrote it."""
        warned = self._update(
            account_id,
            webhook_id,
            "SET warned_at = :now",
            "active = :enabled AND failing_since <= :since AND attribute_not_exists(warned_at)",
            {
                ":now": item_keys.number(now_ms),
                ":enabled": {"BOOL": True},
                ":since": item_keys.number(failing_since_ms),
            },
            recognise=left({"warned_at": item_keys.number(now_ms)}),
        )
        return warned is not None

    def disable(
        self,
        account_id: str,
        webhook_id: str,
        reason: str,
        now_ms: int,
        *,
        failing_since_ms: int | None = None,
        updated_at_ms: int | None = None,
    ) -> bool:
        """Disable a webhook; True only for the one call that did it."""
        # An absent webhook has no `active`, so a deleted webhook is not created again.
        condition = "active = :enabled"
        values: item_keys.Item = {
            ":disabled": {"BOOL": False},
            ":enabled": {"BOOL": True},
            ":reason": {"S": reason},
            ":now": item_keys.number(now_ms),
        }
        if failing_since_ms is not None:
            # A success in the meantime has cleared it.
            condition += " AND failing_since <= :since"
            values[":since"] = item_keys.number(failing_since_ms)
        if updated_at_ms is not None:
            condition += f" AND {_UNCHANGED}"
            values[":updated_at"] = item_keys.number(updated_at_ms)
        disabled = self._update(
            account_id,
            webhook_id,
            "SET active = :disabled, disabled_reason = :reason, updated_at = :now, "
            f"{webhook_items.TARGET_CHANGED} = :now",
            condition,
            values,
            recognise=left(
                {
                    "active": values[":disabled"],
                    "disabled_reason": values[":reason"],
                    webhook_items.TARGET_CHANGED: values[":now"],
                }
            ),
        )
        return disabled is not None

    def _update(
        self,
        account_id: str,
        webhook_id: str,
        expression: str,
        condition: str,
        values: item_keys.Item,
        *,
        returns: Literal["ALL_NEW", "ALL_OLD"] = "ALL_NEW",
        recognise: Recognise | None = None,
    ) -> Any:
        """Return the webhook's item as it then is, or was; None if the condition failed.

        If `recognise` finds that an earlier try made this very write, returns as that try would.
        """
        with unavailable_on_failure("recording a webhook's health"):
            try:
                answer = self._client.update_item(
                    TableName=self._table,
                    Key=item_keys.webhook_key(account_id, webhook_id),
                    UpdateExpression=expression,
                    ConditionExpression=condition,
                    ExpressionAttributeValues=values,
                    ReturnValues=returns,
                    ReturnValuesOnConditionCheckFailure="ALL_OLD" if recognise else "NONE",
                )
            except ClientError as error:
                if error_code(error) != "ConditionalCheckFailedException":
                    raise
                return made_before(error, recognise) if recognise else None
        return answer.get("Attributes", {})


def _cleared(item: item_keys.Item, taken: item_keys.Item) -> item_keys.Item | None:
    """Recognise the write that cleared the failures of a webhook whose circuit is not open."""
    is_open = item.get("circuit") == {"S": Circuit.OPEN.value}
    return None if is_open else left({}, absent=("failures", webhook_items.DOWN), taken=taken)(item)


def _opened(item: item_keys.Item, values: item_keys.Item) -> bool:
    """Whether an item shows this opening: by its recovery, or by the failures that caused it."""
    if item.get("recovery_id") == values[":recovery_id"]:
        return True
    since = values[":since"]
    if ":enough" in values:
        since = item.get("failing_since", since)
    return item.get("circuit") == values[":open"] and item.get(webhook_items.DOWN) == since


def _list(*parts: str) -> str:
    return ", ".join(filter(None, parts))


def _unchanged(updated_at_ms: int | None) -> tuple[str, item_keys.Item]:
    """Return the condition that a webhook's target is unchanged, or only that it exists."""
    if updated_at_ms is None:
        return _EXISTS, {}
    return _UNCHANGED, {":updated_at": item_keys.number(updated_at_ms)}
