"""The erasures of an account, as its owner starts and follows them."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING

from webhooks.domain.erasure import (
    SALT_BYTES,
    Erasure,
    ErasureKey,
    ErasureStatus,
    digest,
    erasure_id,
)
from webhooks.domain.errors import UnavailableError
from webhooks.domain.ids import is_uuid
from webhooks.domain.recipient import parse_address

if TYPE_CHECKING:
    from collections.abc import Callable

    from webhooks.ports import ErasureScheduler, ErasureStore
    from webhooks.services.rate_limits import RateLimits

_DAY_MS = 86_400_000


class Erasures:
    """Starts and shows erasures, each account its own.

    Erases nothing itself: it writes a record and starts the state machine that carries it out.
    """

    def __init__(
        self,
        *,
        store: ErasureStore,
        scheduler: ErasureScheduler,
        rate_limits: RateLimits,
        now_ns: Callable[[], int] = time.time_ns,
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        """Allow each account as many as `rate_limits` has."""
        self._store = store
        self._scheduler = scheduler
        self._rate_limits = rate_limits
        self._now_ns = now_ns
        self._random_bytes = random_bytes

    def start(self, account_id: str, address: str) -> Erasure:
        """Have every payload of the account that mentions the address erased.

        One of the same address that began a moment ago, and is yet to go through all of them once
        more, is as good. Raises InvalidInputError, TooManyErasuresError, UnavailableError.
        """
        wanted = parse_address(address)
        now_ns = self._now_ns()
        now_ms = now_ns // 1_000_000
        for other in self._store.running(account_id, now_ms - _DAY_MS):
            if other.passes == 0 and other.seeks([wanted]):
                return other
        self._rate_limits.erasure(account_id)
        salt = self._random_bytes(SALT_BYTES)
        erasure = Erasure(
            account_id=account_id,
            id=erasure_id(now_ns, self._random_bytes(8)),
            created_at_ms=now_ms,
            updated_at_ms=now_ms,
            salt=salt,
            digest=digest(salt, wanted),
        )
        self._store.create(erasure)
        try:
            self._scheduler.start(erasure.key)
        except UnavailableError:
            # Without an execution it would seem to run for ever.
            ended = erasure.ended(ErasureStatus.FAILED, now_ms, "not_started")
            self._store.save(erasure, ended)
            raise
        return erasure

    def get(self, account_id: str, erasure_id: str) -> Erasure | None:
        """Return one erasure of the account, None where it has none of that id."""
        if not is_uuid(erasure_id):
            return None
        return self._store.get(ErasureKey(account_id, erasure_id))
