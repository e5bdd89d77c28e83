"""Rotation of a secret: its result, and the choice between two live secrets during an overlap."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from webhooks.domain.status_codes import blames_signature, may_refuse_signature
from webhooks.domain.timestamps import MILLISECONDS

if TYPE_CHECKING:
    from webhooks.domain.delivery import Outcome

MAX_PAUSE_SECONDS = 300
"""The longest time for which the second secret is left out after a receiver refused both. It is
no longer than the wait before a delivery's second retry."""


class Rotation(NamedTuple):
    """The result of a rotation.

    `previous_until_ms` is when the former secret ends, in Unix milliseconds, or None if it ended at
    once. `ended_overlap` is true if an overlap was running, whose older secret ended.
    """

    previous_until_ms: int | None
    ended_overlap: bool = False


class Refusals(NamedTuple):
    """How often a receiver refused both secrets during an overlap, and when it last did.

    `at_ms` is Unix milliseconds. Responses 401 and 403 are not counted.
    """

    times: int
    at_ms: int

    def pause(self, now_ms: int) -> bool:
        """Whether the second secret is left out at this moment.

        One second after the first refusal, then twice as long each time, up to
        `MAX_PAUSE_SECONDS`. Therefore a receiver that refuses for its own reasons costs few more
        requests, however many deliveries it gets, and a receiver that switches to the new secret
        meanwhile is reached at a retry.
        """
        seconds = min(1 << min(self.times - 1, 16), MAX_PAUSE_SECONDS)
        return self.at_ms <= now_ms < self.at_ms + seconds * MILLISECONDS


def telling(first: Outcome, second: Outcome) -> bool:
    """Whether the second of an attempt's two requests decides how the attempt ended.

    The first decides if both may be refusals of a signature and the first was not 401 or 403: then
    the receiver first refused the delivery itself, and only afterwards the other secret.
    """
    return blames_signature(first.status_code) or not may_refuse_signature(second.status_code)
