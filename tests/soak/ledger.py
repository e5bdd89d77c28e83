"""The result of every event for every webhook: by receivers' records and by the log."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from soak.receivers import ReceiptKey
from webhooks.adapters.dynamodb.delivery_items import read_delivery
from webhooks.adapters.dynamodb.item_keys import owner
from webhooks.domain.delivery import Status

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from soak.plan import Hook, Kind, Plan
    from soak.receivers import Receipt
    from webhooks.domain.delivery import Delivery

COLUMNS = (
    "receivers",
    "webhooks",
    "deliveries",
    "delivered",
    "duplicates",
    "waiting",
    "exhausted",
    "retrying",
    "lost",
)
_STEADY = frozenset({"slow", "flaky"})
"""Receivers that fail now and then, and whose webhooks stay up."""

_FIRST_DELAY_SECONDS = 5.0
_UNDELIVERED = (Status.WAITING, Status.EXHAUSTED, Status.RETRYING)
"""The statuses by which the log accounts for a delivery that no receiver got."""


@dataclass
class Ledger:
    """The account, by kind of receiver.

    `missing` counts the deliveries that the log accounts for, of receivers that were to get them
    all; `problems` lists the other faults. `exhausted` has the ids of exhausted deliveries.
    """

    counts: dict[Kind, Counter[str]]
    missing: int = 0
    unsettled: int = 0
    exhausted: set[str] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)

    @property
    def lost(self) -> int:
        """The deliveries that never arrived and that nothing explains."""
        return sum(counts["lost"] for counts in self.counts.values())

    @property
    def accounted(self) -> bool:
        """Whether all is as it should be."""
        return not (self.lost or self.missing or self.problems)

    def figures(self) -> dict[str, Any]:
        """Return all numbers for a script."""
        return {
            "receivers": {kind.value: dict(counts) for kind, counts in self.counts.items()},
            "lost": self.lost,
            "missing": self.missing,
            "problems": self.problems,
        }

    def table(self) -> str:
        """Return the table, with a line for the sum."""
        total: Counter[str] = sum(self.counts.values(), Counter())
        rows: list[tuple[str, ...]] = [COLUMNS]
        rows += [_row(kind.value, counts) for kind, counts in self.counts.items()]
        rows.append(_row("all", total))
        return "\n".join(
            f"{row[0]:<15}" + "".join(f"{cell:>12}" for cell in row[1:]) for row in rows
        )


def draw_up(
    plan: Plan,
    ids: Mapping[int, str],
    receipts: Mapping[ReceiptKey, Receipt],
    dynamodb: Any,
    table: str,
) -> Ledger:
    """Compare the due deliveries with the received ones and with the log; `ids` are the
    webhooks', by number."""
    ledger = Ledger({kind: Counter() for kind in plan.shape.webhooks})
    for hook in plan.hooks:
        log = _log(dynamodb, table, owner(hook.account_id, ids[hook.number]))
        by_transaction = {delivery.transaction_id: delivery for delivery in log}
        counts = ledger.counts[hook.kind]
        counts["webhooks"] += 1
        for transaction_id in plan.due[hook.number]:
            counts["deliveries"] += 1
            receipt = receipts.get(ReceiptKey(hook.number, transaction_id))
            _enter(ledger, hook, transaction_id, receipt, by_transaction.get(transaction_id))
        ledger.problems += _surplus(plan.due[hook.number], log)
    return ledger


def first_retries(
    plan: Plan,
    ids: Mapping[int, str],
    dynamodb: Any,
    table: str,
    until: float,
) -> list[float]:
    """Return the seconds from each failed first attempt to the second, in ascending order.

    Of receivers that fail now and then, if the second was due before the Unix time `until`.
    """
    seconds: list[float] = []
    for hook in plan.hooks:
        if hook.kind.value not in _STEADY:
            continue
        for delivery in _log(dynamodb, table, owner(hook.account_id, ids[hook.number])):
            if len(delivery.attempts) < 2:
                continue
            first, second = delivery.attempts[:2]
            failed_at = (first.started_at_ms + first.duration_ms) / 1000
            retried_at = second.started_at_ms / 1000
            if failed_at < until - _FIRST_DELAY_SECONDS:
                seconds.append(retried_at - failed_at)
    return sorted(seconds)


def _enter(
    ledger: Ledger,
    hook: Hook,
    transaction_id: str,
    receipt: Receipt | None,
    delivery: Delivery | None,
) -> None:
    counts = ledger.counts[hook.kind]
    name = f"{transaction_id} for webhook {hook.number} ({hook.kind.value})"
    if delivery is not None and delivery.status in _UNDELIVERED:
        ledger.unsettled += delivery.status is Status.RETRYING
        if delivery.status is Status.EXHAUSTED:
            ledger.exhausted.add(delivery.id)
    if receipt is not None:
        counts["delivered"] += 1
        counts["duplicates"] += receipt.times - 1
        if delivery is None:
            ledger.problems.append(f"{name} came, and the log does not know it")
        elif hashlib.sha256(delivery.body).digest() != receipt.digest:
            ledger.problems.append(f"{name} came with other bytes than the log has")
    elif delivery is not None and delivery.status in _UNDELIVERED:
        counts[delivery.status.value] += 1
        ledger.missing += hook.kind.gets_everything
    else:
        counts["lost"] += 1
        status = "not in the log" if delivery is None else delivery.status.value
        ledger.problems.append(f"{name} is lost: it did not come, and is {status}")


def _surplus(due: Sequence[str], log: Sequence[Delivery]) -> Iterator[str]:
    """Find the log's wrong entries: an event twice, or an event that is not due."""
    times = Counter(str(delivery.transaction_id) for delivery in log)
    for transaction_id in due:
        times[transaction_id] -= 1
    for transaction_id, surplus in times.items():
        if surplus > 0:
            yield f"{transaction_id} is {surplus} times too often in the log of a webhook"


def _log(dynamodb: Any, table: str, of: str) -> list[Delivery]:
    pages = dynamodb.get_paginator("query").paginate(
        TableName=table,
        KeyConditionExpression="#owner = :owner",
        ExpressionAttributeNames={"#owner": "owner"},
        ExpressionAttributeValues={":owner": {"S": of}},
        ConsistentRead=True,
    )
    return [read_delivery(item) for page in pages for item in page["Items"]]


def _row(name: str, counts: Counter[str]) -> tuple[str, ...]:
    return (name, *(f"{counts[column]:,}" for column in COLUMNS[1:]))
