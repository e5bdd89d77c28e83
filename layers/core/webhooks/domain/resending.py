"""Messages that we send to the events queue ourselves, and the history that they carry.

A message that is sent again is a new message to SQS, with another id and another time. The
attributes here keep its first arrival, which the contract's time and the derived ids depend on.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from webhooks.domain.timestamps import MILLISECONDS

if TYPE_CHECKING:
    from collections.abc import Mapping

ARRIVED_AT = "sendcomms_arrived_at"
"""The attribute with the first arrival, in Unix milliseconds."""

TRIES = "sendcomms_tries"
"""The attribute with the number of times that the event failed through a fault of ours."""

SUSPICIONS = "sendcomms_suspicions"
"""The attribute with the number of times that the event may have ended its dispatcher."""

DELAYS = "sendcomms_delays"
"""The attribute with the number of times that its events exceeded their account's limit: events of
such a message are counted on arrival. A held copy has 1, since it was not counted."""

PACED = "sendcomms_paced"
"""The attribute of deliveries delayed by a host's rate limit: `HAS_TURN` or `ASKED`."""

HAS_TURN = 1
"""The message arrives in its turn at the host, and its deliveries are not counted again."""

ASKED = 2
"""The line was too long to reserve a turn: the message asks again on arrival."""

GIVES_UP_AFTER_MS = 4 * 24 * 60 * 60 * MILLISECONDS
"""How long after its first arrival a message that fails through a fault of ours is sent again."""

FEWEST_TRIES = 10
"""An older message still gets this many tries: a message that waited for days, or that is redriven
after days, must survive a short fault too."""

_FIRST_DELAY_SECONDS = 5.0
_LONGEST_DELAY_SECONDS = 720.0
_JITTER = 0.25
"""With it the longest delay is SQS's maximum, 900 seconds ("SendMessage" in its API reference)."""

_NUMBER = re.compile("[0-9]{1,15}")


class Outgoing(NamedTuple):
    """A message for the events queue, with its group for fair queueing.

    `arrived_at_ms` is the first arrival of the original message, in Unix milliseconds. It is None
    for a new message, whose first arrival is SQS's own time.
    """

    body: str
    group: str | None
    delay_seconds: int = 0
    arrived_at_ms: int | None = None
    tries: int = 0
    suspicions: int = 0
    delays: int = 0
    paced: int = 0

    @property
    def attributes(self) -> dict[str, str]:
        """The message attributes, all of them numbers; zero and None are left out."""
        numbers = {
            ARRIVED_AT: self.arrived_at_ms,
            TRIES: self.tries or None,
            SUSPICIONS: self.suspicions or None,
            DELAYS: self.delays or None,
            PACED: self.paced or None,
        }
        return {name: str(number) for name, number in numbers.items() if number is not None}

    @property
    def size_bytes(self) -> int:
        """The bytes that SQS counts: the body, and each attribute's name, type and value."""
        attributes = self.attributes
        texts = [self.body, *attributes, *attributes.values()]
        return sum(len(text.encode()) for text in texts) + len("Number") * len(attributes)


class Carried(NamedTuple):
    """The history that a message carries from the messages before it."""

    arrived_at_ms: int
    tries: int = 0
    suspicions: int = 0
    delays: int = 0
    paced: int = 0


def carried(attributes: Mapping[str, str | None], *, sent_at_ms: int) -> Carried:
    """Read a message's attributes by name; invalid numbers are ignored.

    `sent_at_ms` is when SQS took the message, in Unix milliseconds. Producers can set attributes
    too; therefore no attribute can move an event into the future.
    """
    numbers = {
        name: int(value)
        for name in (ARRIVED_AT, TRIES, SUSPICIONS, DELAYS, PACED)
        if (value := attributes.get(name)) is not None and _NUMBER.fullmatch(value)
    }
    return Carried(
        min(numbers.get(ARRIVED_AT, sent_at_ms), sent_at_ms),
        numbers.get(TRIES, 0),
        numbers.get(SUSPICIONS, 0),
        numbers.get(DELAYS, 0),
        numbers.get(PACED, 0),
    )


def delay_seconds(failures: int, random: float) -> int:
    """Return the delay of a message after `failures`: 5 seconds, doubled up to 12 minutes.

    `random` is from 0 to 1 and adds up to a quarter of the delay as jitter: 15 minutes at most.
    """
    doubled = _FIRST_DELAY_SECONDS * 2.0 ** min(max(failures, 1) - 1, 16)
    return int(min(doubled, _LONGEST_DELAY_SECONDS) * (1 + _JITTER * random))


def gives_up(*, arrived_at_ms: int, tries: int, now_ms: int) -> bool:
    """Whether a message that has failed `tries` times is not sent again."""
    return now_ms - arrived_at_ms > GIVES_UP_AFTER_MS and tries >= FEWEST_TRIES
