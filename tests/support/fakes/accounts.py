"""Other data of an account: API keys, rate limits, kept answers."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from support.fakes.failures import Failures
from webhooks.domain.errors import IdempotencyConflictError, IdempotencyInProgressError
from webhooks.ports import Page, StoredResponse

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from webhooks.domain.api_key import ApiKey
    from webhooks.domain.rate_limit import RateLimitWindow


class FakeRateLimitStore:
    """`RateLimitStore` in a dictionary, with every write counted."""

    def __init__(self) -> None:
        self.used: dict[RateLimitWindow, int] = {}
        self.failures = Failures()
        self.writes = 0

    def consume(self, window: RateLimitWindow, *, limit: int, count: int = 1) -> bool:
        self.failures.check("consume")
        self.writes += 1
        used = self.used.get(window, 0) + count
        if used > limit:
            return False
        self.used[window] = used
        return True

    def add(self, window: RateLimitWindow, count: int) -> int:
        self.failures.check("add")
        self.writes += 1
        self.used[window] = self.used.get(window, 0) + count
        return self.used[window]


class FakeHostTurns:
    """`HostTurns` in a dictionary, with every write counted."""

    def __init__(self) -> None:
        self.next_ms: dict[tuple[str, str], int] = {}
        self.failures = Failures()
        self.writes = 0

    def reserve(
        self,
        account_id: str,
        host: str,
        *,
        span_ms: int,
        now_ms: int,
        latest_ms: int,
        least_ms: int = 0,
    ) -> int | None:
        self.failures.check("reserve")
        self.writes += 1
        begins_ms = max(self.next_ms.get((account_id, host), 0), now_ms)
        if begins_ms > latest_ms:
            return None
        least_ms = least_ms if begins_ms == now_ms else 0
        self.next_ms[account_id, host] = begins_ms + max(span_ms, least_ms)
        return begins_ms


class FakeApiKeyStore:
    """`ApiKeyStore` in a dictionary."""

    def __init__(self) -> None:
        self.keys: dict[str, ApiKey] = {}
        self.failures = Failures()

    def create(self, key: ApiKey) -> None:
        self.failures.check("create")
        self.keys.setdefault(key.key_hash, key)

    def get(self, key_hash: str) -> ApiKey | None:
        self.failures.check("get")
        return self.keys.get(key_hash)

    def find(self, account_id: str, key_id: str) -> ApiKey | None:
        self.failures.check("find")
        found = (key for key in self.keys.values() if key.account_id == account_id)
        return next((key for key in found if key.id == key_id), None)

    def page(self, account_id: str, limit: int, before: str | None = None) -> Page[ApiKey]:
        self.failures.check("page")
        keys = sorted(
            (
                key
                for key in self.keys.values()
                if key.account_id == account_id and (before is None or key.id < before)
            ),
            key=lambda key: key.id,
            reverse=True,
        )
        page = keys[:limit]
        return Page(page, page[-1].id if len(keys) > limit else None)

    def revoke(self, key_hash: str, now_ms: int, *, while_active: str | None = None) -> bool:
        self.failures.check("revoke")
        needed = [key_hash] + ([] if while_active is None else [while_active])
        if any(each not in self.keys or self.keys[each].revoked_at_ms for each in needed):
            return False
        self.keys[key_hash] = replace(self.keys[key_hash], revoked_at_ms=now_ms)
        return True

    def touch(self, key_hash: str, now_ms: int) -> None:
        self.failures.check("touch")
        self.keys[key_hash] = replace(self.keys[key_hash], last_used_at_ms=now_ms)


class FakeIdempotencyStore:
    """`IdempotencyStore` in a dictionary; None stands for an answer that is being made."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, ...], tuple[str, StoredResponse | None]] = {}
        self.seeds: dict[tuple[str, ...], str] = {}
        """The seeds of the calls without an answer."""
        self.left: set[tuple[str, ...]] = set()
        """Keys whose call is no longer being answered."""

    def get_or_create(
        self,
        key: Sequence[str],
        fingerprint: str,
        answer: Callable[[str], StoredResponse],
        *,
        seed: str,
        undecided: Callable[[Exception], bool],
        remaining_ms: Callable[[], int],
    ) -> StoredResponse:
        whole = tuple(key)
        known = self.kept.get(whole)
        taken_over = whole in self.left
        if known is not None and known[0] != fingerprint:
            raise IdempotencyConflictError
        if known is not None and not taken_over:
            if known[1] is not None:
                return known[1]._replace(replayed=True)
            raise IdempotencyInProgressError
        self.left.discard(whole)
        self.kept[whole] = (fingerprint, None)
        try:
            made = answer(self.seeds.setdefault(whole, seed))
        except Exception as error:
            self._end(whole, left=taken_over or undecided(error))
            raise
        except BaseException:
            if remaining_ms() <= 0:
                self.left.add(whole)
            raise
        if made.final:
            self.kept[whole] = (fingerprint, made)
            del self.seeds[whole]
        else:
            self._end(whole, left=taken_over)
        return made

    def _end(self, key: tuple[str, ...], *, left: bool) -> None:
        if left:
            self.left.add(key)
        else:
            del self.kept[key], self.seeds[key]
