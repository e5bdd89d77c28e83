"""Events' data as hypothesis draws it: data that is taken, whatever else it holds.

Hypothesis draws words of the product's own code too, so that sooner or later a field is called
`to` and holds no recipient. Here `to` has its recipients by construction, and the other fields
that mean something come up in one example of a few, instead of in one of thousands.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from webhooks.domain.payload import parse, serialize

FIELDS = st.sampled_from(
    ("id", "email_id", "type", "status", "subject", "from", "event", "shard", "__proto__", "0")
)
"""Names in an event's data that we fill in or move, and some that mean something elsewhere."""


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
    """Draw an event's data: one recipient or several, and JSON of any kind besides."""
    recipients = texts.filter(bool)
    return st.builds(
        lambda more, to: {**more, "to": to},
        st.dictionaries(texts | FIELDS, json_values(texts), max_size=4),
        recipients | st.lists(recipients, min_size=1, max_size=3),
    )


def as_read(data: dict[str, Any]) -> dict[str, Any]:
    """Return data as a message's JSON is read: numbers are doubles, surrogates that pair joined."""
    again = parse(serialize(data))
    assert isinstance(again, dict)
    return again
