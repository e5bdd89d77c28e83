"""Protocol for the pauses that receivers ask for.

Every method may raise `UnavailableError`: a resource of ours failed, and the caller should retry.
No method raises any other error of its backend.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from webhooks.domain.health import Health, RecoveryKey


class Paused(NamedTuple):
    """A webhook's health before a call to pause it, and whether the call wrote the pause."""

    before: Health
    written: bool


class PauseStore(Protocol):
    """The end of each webhook's pause, in Unix milliseconds."""

    def pause(
        self, account_id: str, webhook_id: str, until_ms: int, *, updated_at_ms: int
    ) -> Paused | None:
        """Extend a webhook's pause to a time, unless that is at most slightly later than its end.

        Slightly is less than `domain.pauses.LEAST_MOVE_MS`. None if the webhook is absent, or if a
        field that requests depend on was changed after it was read with `updated_at_ms`.
        """

    def clear(self, account_id: str, webhook_id: str, known_ms: int) -> None:
        """End a pause, unless it now ends later than `known_ms`."""

    def begin(self, key: RecoveryKey, due_ms: int, now_ms: int) -> bool:
        """Give an enabled webhook without a recovery one, whose first step is due at a time.

        The webhook drains: waiting deliveries are sent, slowly at first. True for the one call that
        wrote it, also if that call is repeated after a lost response.
        """
