"""Probations and trials on DynamoDB: how a webhook that was down is judged as it comes back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from webhooks.adapters.dynamodb import item_keys, webhook_items
from webhooks.adapters.dynamodb.own_writes import left
from webhooks.domain.health import Circuit, Comeback, Health, RecoveryKey, Tally

if TYPE_CHECKING:
    from collections.abc import Callable

CLEARED_WINDOW = ", ".join(webhook_items.WINDOW_ATTRIBUTES)
CLEARED_PROBATION = f"{webhook_items.PROBATION}, {CLEARED_WINDOW}"
_ON_PROBATION = (
    f"attribute_exists({webhook_items.PROBATION}) AND draining_since = :since AND "
    "window_since = :since"
)


def taken_down(now_ms: int, *, told_down: bool) -> item_keys.Item:
    """Return the attributes that a success removes from a webhook whose owner knows it is down.

    `told_down` is the caller's knowledge; `now_ms` replaces the former time, which is lost.
    """
    return {webhook_items.DOWN: item_keys.number(now_ms)} if told_down else {}


class Probations:
    """The part of the health store for probations and trials."""

    _update: Callable[..., Any]
    """Makes a conditional update; returns the item, None if the condition failed."""

    def count_on_probation(
        self, account_id: str, webhook_id: str, tally: Tally, since_ms: int
    ) -> Health | None:
        """Count attempts in the window of the probation that began at `since_ms`, if it runs."""
        counted = self._update(
            account_id,
            webhook_id,
            "ADD window_failed :failed, window_taken :taken",
            _ON_PROBATION,
            {
                ":failed": item_keys.number(tally.failed),
                ":taken": item_keys.number(tally.taken),
                ":since": item_keys.number(since_ms),
            },
        )
        return None if counted is None else webhook_items.read_health(counted)

    def end_probation(self, account_id: str, webhook_id: str, since_ms: int) -> None:
        """End the probation that began at `since_ms`, unless it has ended."""
        values = {":since": item_keys.number(since_ms)}
        self._update(account_id, webhook_id, f"REMOVE {CLEARED_PROBATION}", _ON_PROBATION, values)

    def put_on_trial(self, key: RecoveryKey) -> None:
        """Make a webhook that is down come back by a trial, unless its owner asked for a probe."""
        values = {
            ":id": {"S": key.recovery_id},
            ":open": {"S": Circuit.OPEN.value},
            ":trial": {"S": Comeback.TRIAL.value},
        }
        self._update(
            key.account_id,
            key.webhook_id,
            f"SET comeback = :trial REMOVE {CLEARED_WINDOW}",
            "recovery_id = :id AND circuit = :open AND attribute_not_exists(comeback)",
            values,
        )

    def passed(
        self, key: RecoveryKey, now_ms: int, *, proven: bool, told_down: bool = False
    ) -> bool:
        """Start draining a webhook that is down, by its recovery's decision."""
        cleared = [webhook_items.PROBATION, *webhook_items.WINDOW_ATTRIBUTES]
        if proven:
            cleared += [*webhook_items.FAILURE_ATTRIBUTES, webhook_items.DOWN]
        before = self._update(
            key.account_id,
            key.webhook_id,
            f"SET circuit = :draining, draining_since = :now REMOVE {', '.join(cleared)}",
            "recovery_id = :id AND circuit = :open",
            {
                ":id": {"S": key.recovery_id},
                ":open": {"S": Circuit.OPEN.value},
                ":draining": {"S": Circuit.DRAINING.value},
                ":now": item_keys.number(now_ms),
            },
            returns="ALL_OLD",
            recognise=left(
                {
                    "recovery_id": {"S": key.recovery_id},
                    "circuit": {"S": Circuit.DRAINING.value},
                    "draining_since": item_keys.number(now_ms),
                },
                taken=taken_down(now_ms, told_down=told_down),
            ),
        )
        return proven and before is not None and webhook_items.was_down(before)
