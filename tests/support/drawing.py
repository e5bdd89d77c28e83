"""Events' data drawn by hypothesis, and words that mean something in a message.

Hypothesis draws words of the product's own code too, so sooner or later a field is called `to` and
holds no recipient. Here `to` has its recipients by construction, and the other words that mean
something come up in each run, instead of in one of thousands.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from webhooks.domain.payload import parse, serialize

WORDS = st.sampled_from(
    (
        *("account_id", "event", "id", "transaction_id", "timestamp", "data", "email.sent"),
        *("to", "email_id", "type", "status", "subject", "from", "__proto__", "0"),
        *("shard", "body", "occurred_at_ms", "Type", "Notification", "Message"),
        *("eventType", "notificationType", "detail-type", "detail", "mail", "Bounce", "aws.ses"),
    )
)
"""Fields of an event and its data, and the marks of each kind of message."""


def json_values(texts: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    """Draw JSON of any kind, whose texts and keys are of `texts`."""
    return st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | texts,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
        max_leaves=10,
    )


def event_data(texts: st.SearchStrategy[str]) -> st.SearchStrategy[dict[str, Any]]:
    """Draw an event's data: one recipient or several, and further JSON of any kind."""
    recipients = texts.filter(bool)
    return st.builds(
        lambda more, to: {**more, "to": to},
        st.dictionaries(texts | WORDS, json_values(texts), max_size=4),
        recipients | st.lists(recipients, min_size=1, max_size=3),
    )


def as_read(data: dict[str, Any]) -> dict[str, Any]:
    """Return data in the form of a message's JSON after reading: numbers are doubles, paired
    surrogates are joined."""
    again = parse(serialize(data))
    assert isinstance(again, dict)
    return again
