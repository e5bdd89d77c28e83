"""API keys, rate limits and kept answers, as the services need them.

Every method may raise `UnavailableError`: our own side did not answer, and the work is to be tried
again. No method raises anything else of its backend's.
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
        """Add `count` to a window; False, with nothing added, where that exceeds the limit.

        Holds for parallel calls too; where a response is lost, some are counted twice.
        """

    def add(self, window: RateLimitWindow, count: int) -> int:
        """Add `count` to a window, past any limit; returns its sum with it.

        Where a response is lost, `count` may be added twice.
        """


class HostTurns(Protocol):
    """An account's lines of turns at hosts, which all processes stand in."""

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

        Where they begin now, `least_ms` are reserved at least. None, with nothing reserved, where
        they would begin after `latest_ms`. Where a response is
        lost, a stretch of the line may be reserved that nobody uses.
        """


class ApiKeyStore(Protocol):
    """API keys, by hash."""

    def create(self, key: ApiKey) -> None:
        """Add a key. One of its hash that is there already is left as it is: an earlier try's."""

    def get(self, key_hash: str) -> ApiKey | None:
        """Return the key of that hash, None where there is none."""

    def find(self, account_id: str, key_id: str) -> ApiKey | None:
        """Return one key of an account by its id; one just made may not be found for a second."""

    def page(self, account_id: str, limit: int, before: str | None = None) -> Page[ApiKey]:
        """Return up to `limit` keys, revoked ones too, newest first, from those before an id.

        The newest, or how they last changed, may be missing for a second.
        """

    def revoke(self, key_hash: str, now_ms: int, *, while_active: str | None = None) -> bool:
        """Revoke a key if it is active and so is the one of hash `while_active`, where given.

        False, with nothing changed, where either is not, at that very moment.
        """

    def touch(self, key_hash: str, now_ms: int) -> None:
        """Note when a key was last used."""


class StoredResponse(NamedTuple):
    """An answer to an idempotent request: made just now, or kept from the first time.

    One that is not `final` asks for another try of a part, so it is not kept.
    """

    status: int
    body: str
    replayed: bool = False
    final: bool = True


class IdempotencyStore(Protocol):
    """The answers to requests that carry an idempotency key, for 24 hours."""

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
        """Return the answer kept under `key`, else make one with `answer` and keep it.

        `seed` is written before `answer` is called with it. Where an earlier try under `key` ended
        without an answer, that one's seed is given to `answer` instead: the try may have been
        killed, or have raised an error that is `undecided`. Any other error of a first try leaves
        nothing.

        `fingerprint` stands for what was asked: another one raises IdempotencyConflictError where
        an answer is kept or being made. A key whose answer is being made raises
        IdempotencyInProgressError, for as long as the milliseconds that its maker had left.
        """


class SesAccountStore(Protocol):
    """The table of whose the mail of SES's configuration sets and tenants is."""

    def read(self, default: str) -> SesAccounts:
        """Return the whole table, with `default` for all other mail."""
