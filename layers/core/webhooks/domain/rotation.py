"""A secret's rotation: its result, and which of two live secrets a receiver is offered when."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from webhooks.domain.delivery import Outcome

SIGNATURE_STATUSES = frozenset({401, 403})
"""Responses to a wrong signature by HTTP's own words. The second secret always follows them."""

OTHER_CAUSES = frozenset({408, 410, 413, 429})
"""Responses 4xx whose cause is never a signature: a time-out, the end, a size, a rate."""

SERVER_ERROR = 500
"""The response of a receiver whose verification raises an error that nothing catches."""

MAX_PAUSE_SECONDS = 300
"""The longest time for which the second secret is left out after a receiver refused both. It is
no longer than the wait before a delivery's second retry."""


class Rotation(NamedTuple):
    """A rotation that was made.

    `previous_until_ms` is when the secret before it ends, Unix milliseconds, None where it ended at
    once. `ended_overlap`: an overlap was running, and its older secret ended.
    """

    previous_until_ms: int | None
    ended_overlap: bool = False


class Refusals(NamedTuple):
    """How often in an overlap a receiver refused both secrets, and when it last did.

    `at_ms` is Unix milliseconds. Responses 401 and 403 are not counted.
    """

    times: int
    at_ms: int

    def pause(self, now_ms: int) -> bool:
        """Tell whether the second secret is left out at this moment.

        One second after the first refusal, then twice as long each time, up to
        `MAX_PAUSE_SECONDS`. A receiver with refusals of its own therefore costs few more requests,
        however many deliveries it gets, and one that moves meanwhile is found at a retry.
        """
        seconds = min(1 << min(self.times - 1, 16), MAX_PAUSE_SECONDS)
        return self.at_ms <= now_ms < self.at_ms + seconds * 1000


def may_refuse_signature(status_code: int | None, *, failing: bool = False) -> bool:
    """Tell whether a response may be the refusal of a signature (contract 2.3).

    Any 4xx but `OTHER_CAUSES`, and 500 unless the webhook is `failing`: then it says little.
    """
    if status_code == SERVER_ERROR:
        return not failing
    return status_code is not None and 400 <= status_code < 500 and status_code not in OTHER_CAUSES


def telling(first: Outcome, second: Outcome) -> bool:
    """Tell whether the second of two requests of an attempt says how the attempt ended.

    The first does where both may be refusals of a signature, and it was no 401 or 403: the receiver
    then refused the delivery itself at first, and the other secret only afterwards.
    """
    return first.status_code in SIGNATURE_STATUSES or not may_refuse_signature(second.status_code)
