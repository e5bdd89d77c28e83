"""A webhook's health in a store, and the tests' ways to set it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from support import samples
from webhooks.domain.health import FAILURES_TO_OPEN, Circuit, Health, RecoveryKey, Window

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.stores import Stores

NOW_MS = samples.NOW_MS
DUE_MS = NOW_MS + 30_000
OWNER = ("acc_1", samples.WEBHOOK_ID)
KEY = RecoveryKey(*OWNER, "recovery-1")
DRAINING = Health(
    circuit=Circuit.DRAINING,
    recovery_id="recovery-1",
    recovery_due_at_ms=DUE_MS,
    draining_since_ms=NOW_MS + 7,
    window=Window(NOW_MS + 7, 0, 0),
    probation=True,
)


def health(stores: Stores) -> Health:
    """The health as the senders read it; its owner sees one word."""
    owned = stores.webhooks.get(*OWNER)
    destination = stores.destinations.destination(*OWNER)
    assert owned is not None
    assert destination is not None
    known = destination.webhook.health
    assert (owned.health.state, owned.health.failures) == (known.state, known.failures)
    assert owned.health.failing_since_ms == known.failing_since_ms
    return known


def go_down(stores: Stores, key: RecoveryKey = KEY) -> None:
    stores.health.failed(*key[:2], FAILURES_TO_OPEN, NOW_MS)
    assert stores.health.open(key, DUE_MS, NOW_MS) == key.recovery_id


def come_back(stores: Stores) -> None:
    go_down(stores)
    assert stores.health.succeeded(*OWNER, NOW_MS + 7)


def at_once(count: int, call: Callable[[int], object]) -> list[object]:
    with ThreadPoolExecutor(16) as pool:
        return list(pool.map(call, range(count)))
