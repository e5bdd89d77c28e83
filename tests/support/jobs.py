"""Records of jobs at the beginning of tests."""

from __future__ import annotations

from typing import Any

from support import samples
from webhooks.domain.jobs.check import Check, check_id
from webhooks.domain.jobs.erasure import Erasure, erasure_id
from webhooks.domain.jobs.replay import NOT_ARRIVED, Replay, replay_id
from webhooks.domain.selection import Selection


def replay(number: int = 0, **changes: Any) -> Replay:
    created_at_ms = samples.NOW_MS + number
    values: dict[str, Any] = {
        "account_id": "acc_1",
        "webhook_id": samples.WEBHOOK_ID,
        "id": replay_id(created_at_ms * 1_000_000, bytes(8)),
        "selection": Selection(samples.NOW_MS - 1000, samples.NOW_MS, NOT_ARRIVED),
        "created_at_ms": created_at_ms,
        "updated_at_ms": created_at_ms,
    }
    return Replay(**values | changes)


def erasure(number: int = 0, **changes: Any) -> Erasure:
    created_at_ms = samples.NOW_MS + number
    values: dict[str, Any] = {
        "account_id": "acc_1",
        "id": erasure_id(created_at_ms * 1_000_000, bytes(8)),
        "created_at_ms": created_at_ms,
        "updated_at_ms": created_at_ms,
        "salt": b"s" * 32,
        "digest": b"d" * 32,
    }
    return Erasure(**values | changes)


def check(number: int = 0, **changes: Any) -> Check:
    created_at_ms = samples.NOW_MS + number
    values: dict[str, Any] = {
        "account_id": "acc_1",
        "webhook_id": samples.WEBHOOK_ID,
        "id": check_id(created_at_ms * 1_000_000, bytes(8)),
        "created_at_ms": created_at_ms,
        "updated_at_ms": created_at_ms,
    }
    return Check(**values | changes)
