"""The sender: one signed POST to one receiver, with the address guard inside.

Any behaviour of a receiver is an `Outcome`. Nothing here logs, and no exception carries a url.
"""

from __future__ import annotations

import logging
import math
import re
import time
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, cast

import requests
from urllib3.exceptions import HTTPError

from webhooks.adapters.http.connection import ConnectionContext, GuardedAdapter, Post
from webhooks.adapters.http.deadline_timer import DeadlineTimer
from webhooks.adapters.http.dialer import AttemptFailedError, Dialer
from webhooks.domain.delivery import MAX_RESPONSE_BODY_BYTES, FailureReason, Outcome
from webhooks.domain.errors import InvalidTargetError
from webhooks.domain.status_codes import is_success
from webhooks.domain.targets import is_public, parse_url
from webhooks.domain.timestamps import MILLISECONDS

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping

    from webhooks.adapters.http.connection import GuardedConnection
    from webhooks.adapters.http.deadline_timer import RequestDeadline
    from webhooks.domain.targets import Target

TIMEOUT_SECONDS = 5.0
"""From the connection's first byte to the last of the response's head (contract 2.3)."""

MAX_BODY_BYTES = 4096
"""How much of a response's body is read. A longer one ends the connection, not the delivery."""

_YEAR_SECONDS = 31_536_000.0
_FIRST_TIME = 1e9
"""A larger number of seconds is not a wait but a Unix time, after 2001."""

_FIRST_TIME_IN_MILLISECONDS = 1e11
"""A larger number is a Unix time in milliseconds, after 1973; in seconds it would be in the year
5138."""


class GuardedSender:
    """Implements `ports.Sender` on requests. One is shared by all threads and kept for long.

    `allowed` is the address rule; `check` is the url rule, which also parses the url. Only tests
    and the local stack pass others, in code. `ssl_context` replaces the trusted authorities. Plain
    http is used only for a target that `check` returned with that scheme.
    """

    def __init__(
        self,
        *,
        allowed: Callable[[str], bool] = is_public,
        check: Callable[[str], Target] = parse_url,
        ssl_context: ssl.SSLContext | None = None,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        self._check = check
        self._timeout_seconds = timeout_seconds
        self._context = ConnectionContext(Dialer(allowed), ssl_context)
        self._adapter = GuardedAdapter(self._context)
        self._timer = DeadlineTimer()
        # urllib3 logs urls, whose paths hold customers' tokens: when it connects, at DEBUG, and
        # when a receiver's head is malformed, at WARNING.
        logging.getLogger("urllib3").setLevel(logging.ERROR)

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Outcome:
        """Send one request and return its outcome, within the timeout.

        The name's look-up counts towards the timeout. The recorded duration is that of the whole
        request, from the look-up to the last byte read of the body. Raises UnavailableError if this
        process ran out of sockets, threads or memory before a byte was sent, and ValueError for a
        header that HTTP does not allow.
        """
        started = time.monotonic()
        try:
            target = self._check(url)
        except InvalidTargetError:
            return Outcome(error=FailureReason.BLOCKED_ADDRESS)
        with self._timer.start(started + self._timeout_seconds) as deadline:
            self._context.begin(target, deadline)
            try:
                response = self._adapter.send(
                    Post(target, body, headers), stream=True, timeout=self._timeout_seconds
                )
                taken = _beginning_of_body(response)
            except AttemptFailedError as failure:
                error = failure.error
            except (requests.RequestException, HTTPError) as failure:
                error = _error_of(failure, deadline)
            else:
                return _outcome(response, taken, _milliseconds_since(started))
        return Outcome(error=error, duration_ms=_milliseconds_since(started))

    def close(self) -> None:
        """Close the idle connections and stop the timer. No request may be in progress."""
        self._adapter.close()
        self._timer.close()


def _beginning_of_body(response: requests.Response) -> bytes:
    """Return the part of the body that is read, and release the connection."""
    connection = cast("GuardedConnection", response.raw.connection)
    taken = connection.take_body(MAX_BODY_BYTES)
    response.raw.release_conn()
    return taken


def _error_of(failure: Exception, deadline: RequestDeadline) -> FailureReason:
    if deadline.expired or deadline.remaining() <= 0 or isinstance(failure, requests.Timeout):
        return FailureReason.TIMEOUT
    if isinstance(failure, requests.exceptions.SSLError):
        return FailureReason.TLS
    return FailureReason.CONNECTION


def _outcome(response: requests.Response, taken: bytes, duration_ms: int) -> Outcome:
    status_code = response.status_code
    asked = response.headers.get("Retry-After")
    return Outcome(
        error=None if is_success(status_code) else FailureReason.HTTP_STATUS,
        status_code=status_code,
        duration_ms=duration_ms,
        retry_after_seconds=None if asked is None else retry_after_seconds(asked, time.time()),
        response_body=printable(taken),
    )


def _milliseconds_since(started: float) -> int:
    return round((time.monotonic() - started) * MILLISECONDS)


def retry_after_seconds(text: str, now: float) -> float | None:
    """Return the whole seconds that a `Retry-After` asks for, rounded up, at most a year's.

    `text` is a number of seconds or an HTTP date (RFC 9110, section 10.2.3), `now` Unix seconds.
    Fractions, numbers over 10^9 (Unix seconds) and over 10^11 (Unix milliseconds) are outside HTTP,
    yet common. None if the text is garbage or the time is in the past.
    """
    text = text.strip(" \t")
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
        seconds = float(text)
        if seconds <= _FIRST_TIME:
            return float(math.ceil(min(seconds, _YEAR_SECONDS)))
        seconds = (
            seconds / MILLISECONDS if seconds > _FIRST_TIME_IN_MILLISECONDS else seconds
        ) - now
    else:
        try:
            date = parsedate_to_datetime(text[:64])
        except (ValueError, TypeError, OverflowError):
            return None
        seconds = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now
    return float(math.ceil(min(seconds, _YEAR_SECONDS))) if seconds > 0 else None


def printable(body: bytes) -> str:
    """Return the beginning of a receiver's body as text that can be stored and shown anywhere.

    At most 1,024 bytes once encoded; bytes that are not printable UTF-8 are written as escapes.
    """
    text = body.decode(errors="backslashreplace")
    if not text.isprintable():
        text = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
    return text.encode()[:MAX_RESPONSE_BODY_BYTES].decode(errors="ignore")
