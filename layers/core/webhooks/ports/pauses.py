"""The pauses that receivers ask for, as the services need them.

Every method may raise `UnavailableError`: our own side did not answer, and the work is to be tried
again. No method raises anything else of its backend's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from webhooks.domain.health import Health, RecoveryKey


class Paused(NamedTuple):
    """A webhook's health before a call that was to pause it, and whether the call wrote."""

    before: Health
    written: bool


class PauseStore(Protocol):
    """When the pause of a webhook ends, in Unix milliseconds."""

    def pause(
        self, account_id: str, webhook_id: str, until_ms: int, *, updated_at_ms: int
    ) -> Paused | None:
        """Have a webhook's pause end at a time, unless it ends then or later, or not much earlier.

        Not much is less than `domain.pauses.LEAST_MOVE_MS`. None where the webhook is absent, or
        where what a request depends on was changed since it was read with `updated_at_ms`.
        """

    def clear(self, account_id: str, webhook_id: str, known_ms: int) -> None:
        """End a pause, unless it ends later than `known_ms` by now."""

    def begin(self, key: RecoveryKey, due_ms: int, now_ms: int) -> bool:
        """Give an enabled webhook without a recovery one, whose first step is due at a time.

        It drains: what waits is sent, slowly at first. True for the one call that did it, also
        where it is repeated since its answer was lost.
        """
