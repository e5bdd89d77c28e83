"""What can go wrong, by whose fault it is.

::

    WebhooksError
    ├── InvalidInput          the caller's input breaks a rule; says which field and what to do
    │   ├── InvalidTarget     a url that no webhook may have
    │   ├── InvalidWebhook    a registration that breaks rules, every one of them listed
    │   └── InvalidEvent      an event message that can never be processed; has a reason code
    ├── LimitReached          the account has as many as it may have
    └── Unavailable           our own side (a table, a queue, a key) did not answer: try again

A receiver that fails is never an exception: it is an `Outcome` (see `delivery`). An absent webhook
or delivery is `None`.
"""

from __future__ import annotations


class WebhooksError(Exception):
    """The root of this package's errors."""


class InvalidInput(WebhooksError):
    """A value breaks a rule of the contract.

    `field` is the path of the value, as `events[1]`; `message` is one sentence for a person that
    says what to do. Neither ever holds a secret or the refused value itself.
    """

    def __init__(self, field: str, message: str) -> None:
        """Name the field and say what to do."""
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


class InvalidTarget(InvalidInput):
    """A url, or an address that it leads to, that no delivery may go to."""

    def __init__(self, message: str, field: str = "url") -> None:
        """Say what is wrong with the url, without repeating it."""
        super().__init__(field, message)


class InvalidEvent(InvalidInput):
    """An event message that no number of tries will make processable.

    `reason` is a stable code for metrics and for the events dead-letter queue: `not_json`,
    `too_deep`, `not_an_object`, `unknown_event`, `no_account`, `invalid_field`, `too_large`.
    """

    def __init__(self, reason: str, field: str, message: str) -> None:
        """Give the stable reason next to the field and the sentence."""
        super().__init__(field, message)
        self.reason = reason


class LimitReached(WebhooksError):
    """The account already has as many as it may have; the message says of what, and the limit."""


class Unavailable(WebhooksError):
    """Something of ours was throttled, timed out or refused us; the work is to be tried again."""
