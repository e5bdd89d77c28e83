"""Status codes of receivers: each judgement that is made of one, with its reason and its source.

A code is a response's, or None if there was no response. The service's own codes are not here.
"""

from __future__ import annotations

SWITCHING_PROTOCOLS = 101
"""The bytes after it belong to another protocol (RFC 9110, section 15.2.2)."""

GONE = 410
"""The endpoint was removed for good (RFC 9110, section 15.5.11): its webhook is disabled (contract
2.5)."""

TOO_MANY_REQUESTS = 429
"""The receiver is sent too much at a time (RFC 6585, section 4)."""

INTERNAL_SERVER_ERROR = 500
"""The response of a receiver whose verification raises an error that its code does not catch."""

PAUSE_CODES = frozenset({TOO_MANY_REQUESTS, 503})
"""Codes whose `Retry-After` is obeyed (contract 2.5; RFC 6585, section 4; RFC 9110, section
10.2.3)."""

SIGNATURE_CODES = frozenset({401, 403})
"""Responses to a wrong signature as HTTP defines them (RFC 9110, sections 15.5.2 and 15.5.4).

During a rotation the second secret is always tried (contract 2.3).
"""

OTHER_CAUSES = frozenset({408, GONE, 413, TOO_MANY_REQUESTS})
"""4xx responses that a signature never causes: a time-out, a removed endpoint, a size, a rate
(contract 2.3)."""

UNREAD_CODES = frozenset({408, TOO_MANY_REQUESTS, 502, 503, 504})
"""Responses of a receiver, or of a proxy in front of it, that has not read the request."""

PARSER_CODES = frozenset({400, 406, 415, 422})
"""Responses from a parser or a firewall in front of the receiver's own code."""


def is_interim(code: int) -> bool:
    """Whether another response follows on the connection (RFC 9110, section 15.2).

    Every 1xx but 101, which is final.
    """
    return code < 200 and not switches_protocols(code)


def switches_protocols(code: int) -> bool:
    """Whether the connection no longer speaks HTTP after this response."""
    return code == SWITCHING_PROTOCOLS


def is_success(code: int | None) -> bool:
    """Whether the receiver accepted the delivery: any 2xx (contract 2.3)."""
    return code is not None and 200 <= code < 300


def is_gone(code: int | None) -> bool:
    """Whether the response disables the webhook."""
    return code == GONE


def may_pause(code: int | None) -> bool:
    """Whether a `Retry-After` of the response is obeyed."""
    return code in PAUSE_CODES


def is_rate_limited(code: int | None) -> bool:
    """Whether the receiver reports that it is sent too much at a time."""
    return code == TOO_MANY_REQUESTS


def is_server_error(code: int | None) -> bool:
    """Whether the response blames the receiver itself: 500 and above."""
    return code is not None and code >= 500


def is_strained(code: int | None) -> bool:
    """Whether overload may have caused a failure: no response, 429, or 500 and above.

    Any other 4xx concerns its own delivery only.
    """
    return code is None or is_rate_limited(code) or is_server_error(code)


def blames_signature(code: int | None) -> bool:
    """Whether the response says that the signature is wrong."""
    return code in SIGNATURE_CODES


def may_refuse_signature(code: int | None, *, failing: bool = False) -> bool:
    """Whether the response may be the refusal of a signature (contract 2.3).

    Any 4xx except `OTHER_CAUSES`, and 500 unless the webhook is `failing`: then 500 says little.
    """
    if code == INTERNAL_SERVER_ERROR:
        return not failing
    return code is not None and 400 <= code < 500 and code not in OTHER_CAUSES


def is_inconclusive(code: int | None) -> bool:
    """Whether the response, or its absence, leaves open if the receiver refused the request."""
    return code is None or code in UNREAD_CODES


def is_from_parser(code: int | None) -> bool:
    """Whether the refusal may come from a parser or a firewall before the receiver's own code."""
    return code in PARSER_CODES
