"""Protocols for API keys, rate limits and stored responses to idempotent requests.

Every method may raise `UnavailableError`: a resource of ours failed, and the caller should retry.
No method raises any other error of its backend.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from webhooks.domain.api_key import ApiKey
    from webhooks.domain.rate_limit import RateLimitWindow
    from webhooks.domain.ses import SesAccounts
    from webhooks.ports.pages import Page


class RateLimitStore(Protocol):
    """The counts of rate limits, one for each window."""

    def consume(self, window: RateLimitWindow, *, limit: int, count: int = 1) -> bool:
        """Add `count` to a window; False, with nothing added, if that would exceed the limit.

        Holds for parallel calls too. If a response is lost, `count` may be added twice.
        """

    def add(self, window: RateLimitWindow, count: int) -> int:
        """Add `count` to a window even past its limit; returns the new sum.

        If a response is lost, `count` may be added twice.
        """


class HostTurns(Protocol):
    """An account's line of turns for each host, shared by all processes."""

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
        """Reserve the line's next `span_ms`; returns when they begin, in Unix milliseconds.

        If they begin now, at least `least_ms` are reserved. If they would begin after `latest_ms`,
        nothing is reserved and None is returned. If a response is lost, a part of the line may stay
        reserved without use.
        """


class ApiKeyStore(Protocol):
    """API keys, by hash."""

    def create(self, key: ApiKey) -> None:
        """Add a key. If its hash exists already, an earlier try added it, and it stays as it is."""

    def get(self, key_hash: str) -> ApiKey | None:
        """Return the key with that hash, None if there is none."""

    def find(self, account_id: str, key_id: str) -> ApiKey | None:
        """Return one key of an account by its id; a new key may not be found for a second."""

    def page(self, account_id: str, limit: int, before: str | None = None) -> Page[ApiKey]:
        """Return up to `limit` keys older than an id, revoked ones too, newest first.

        The newest keys and the latest changes may be missing for a second.
        """

    def revoke(self, key_hash: str, now_ms: int, *, while_active: str | None = None) -> bool:
        """Revoke an active key, but only if the key with hash `while_active`, if given, is active.

        Both are checked atomically. False, with nothing changed, if either is not active.
        """

    def touch(self, key_hash: str, now_ms: int) -> None:
        """Record when a key was last used, in Unix milliseconds."""


class StoredResponse(NamedTuple):
    """A response to an idempotent request: new, or stored from the first time (`replayed`).

    A response that is not `final` asks the client to repeat a part, so it is not stored.
    """

    status: int
    body: str
    replayed: bool = False
    final: bool = True


class IdempotencyStore(Protocol):
    """The responses to requests with an idempotency key, stored for 24 hours."""

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
        """Return the response stored under `key`; otherwise make one with `answer` and store it.

        `seed` is written before `answer` is called with it. If an earlier try under `key` ended
        without a response, `answer` gets that try's seed instead: the try may have been killed, or
        have raised an error that is `undecided`. Any other error of a first try leaves nothing.

        `fingerprint` identifies the request: a different one raises IdempotencyConflictError if a
        response is stored or being made. While a response is being made, its key raises
        IdempotencyInProgressError, for as long as its maker had milliseconds left.
        """


class SesAccountStore(Protocol):
    """The table that assigns SES's configuration sets and tenants to accounts."""

    def read(self, default: str) -> SesAccounts:
        """Return the whole table, with `default` for all other mail."""
