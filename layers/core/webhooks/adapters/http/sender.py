"""The sender: one signed POST to one receiver, with the address guard inside.

Whatever a receiver does is an `Outcome`. Nothing here logs, and no exception carries a url.
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
from webhooks.domain.targets import is_public, parse_url

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping

    from webhooks.adapters.http.connection import GuardedConnection
    from webhooks.adapters.http.deadline_timer import Watch
    from webhooks.domain.targets import Target

TIMEOUT_SECONDS = 5.0
"""From the connection's first byte to the last of the response's head (contract 2.3)."""

MAX_BODY_BYTES = 4096
"""How much of a response's body is read. A longer one ends the connection, not the delivery."""

_YEAR_SECONDS = 31_536_000.0
_FIRST_TIME = 1e9
"""A larger number of seconds than this is no wait but a time, which was passed in 2001."""

_FIRST_TIME_IN_MILLISECONDS = 1e11
"""And one larger than this is in milliseconds: as those it was passed in 1973, as seconds it is a
time in the year 5138."""


class GuardedSender:
    """Implements `ports.Sender` on requests. One is shared by all threads and kept for long.

    `allowed` is the address rule and `check` the url rule, which also takes the url apart; only
    tests and the local stack pass others, from code. `ssl_context` replaces the trusted
    authorities. Plain http is spoken only to a target that `check` returned with that scheme.
    """

    def __init__(
        self,
        *,
        allowed: Callable[[str], bool] = is_public,
        check: Callable[[str], Target] = parse_url,
        ssl_context: ssl.SSLContext | None = None,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        """Open nothing and start nothing yet."""
        self._check = check
        self._timeout_seconds = timeout_seconds
        self._guard = ConnectionContext(Dialer(allowed), ssl_context)
        self._adapter = GuardedAdapter(self._guard)
        self._watchdog = DeadlineTimer()
        # urllib3 logs urls, whose paths hold customers' tokens: when it connects, at DEBUG, and
        # when a receiver's head is malformed, at WARNING.
        logging.getLogger("urllib3").setLevel(logging.ERROR)

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Outcome:
        """Send one request and return what it came to, within the timeout.

        The name's look-up counts towards it. What is recorded is the whole time that the request
        took, from the look-up to the last byte of the body that was waited for. Raises
        UnavailableError where this process ran out of sockets, threads or memory before a byte was
        sent, and ValueError for a header that HTTP does not allow.
        """
        started = time.monotonic()
        try:
            target = self._check(url)
        except InvalidTargetError:
            return Outcome(error=FailureReason.BLOCKED_ADDRESS)
        with self._watchdog.watch(started + self._timeout_seconds) as watch:
            self._guard.begin(target, watch)
            try:
                response = self._adapter.send(
                    Post(target, body, headers), stream=True, timeout=self._timeout_seconds
                )
                taken = _beginning_of_body(response)
            except AttemptFailedError as failure:
                error = failure.error
            except (requests.RequestException, HTTPError) as failure:
                error = _error_of(failure, watch)
            else:
                return _outcome(response, taken, _milliseconds_since(started))
        return Outcome(error=error, duration_ms=_milliseconds_since(started))

    def close(self) -> None:
        """Close the idle connections and stop the watchdog. No request may be under way."""
        self._adapter.close()
        self._watchdog.close()


def _beginning_of_body(response: requests.Response) -> bytes:
    """Return what is read of the body, and give the connection back."""
    connection = cast("GuardedConnection", response.raw.connection)
    taken = connection.take_body(MAX_BODY_BYTES)
    response.raw.release_conn()
    return taken


def _error_of(failure: Exception, watch: Watch) -> FailureReason:
    if watch.expired or watch.remaining() <= 0 or isinstance(failure, requests.Timeout):
        return FailureReason.TIMEOUT
    if isinstance(failure, requests.exceptions.SSLError):
        return FailureReason.TLS
    return FailureReason.CONNECTION


def _outcome(response: requests.Response, taken: bytes, duration_ms: int) -> Outcome:
    status_code = response.status_code
    succeeded = 200 <= status_code < 300
    asked = response.headers.get("Retry-After")
    return Outcome(
        error=None if succeeded else FailureReason.HTTP_STATUS,
        status_code=status_code,
        duration_ms=duration_ms,
        retry_after_seconds=None if asked is None else retry_after_seconds(asked, time.time()),
        response_body=printable(taken),
    )


def _milliseconds_since(started: float) -> int:
    return round((time.monotonic() - started) * 1000)


def retry_after_seconds(text: str, now: float) -> float | None:
    """Return the whole seconds that a `Retry-After` asks for, rounded up, at most a year's.

    `text` is a number of seconds or an HTTP date (RFC 9110, section 10.2.3), `now` Unix seconds. A
    fraction, a number over 10^9 that is itself Unix seconds, and one over 10^11 that is Unix
    milliseconds, are no HTTP and yet common. None where it is garbage or in the past.
    """
    text = text.strip(" \t")
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
        seconds = float(text)
        if seconds <= _FIRST_TIME:
            return float(math.ceil(min(seconds, _YEAR_SECONDS)))
        seconds = (seconds / 1000 if seconds > _FIRST_TIME_IN_MILLISECONDS else seconds) - now
    else:
        try:
            date = parsedate_to_datetime(text[:64])
        except (ValueError, TypeError, OverflowError):
            return None
        seconds = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now
    return float(math.ceil(min(seconds, _YEAR_SECONDS))) if seconds > 0 else None


def printable(body: bytes) -> str:
    """Return the beginning of a receiver's body as text that can be stored and shown anywhere.

    At most 1,024 bytes once encoded; what is not printable UTF-8 is written as an escape.
    """
    text = body.decode(errors="backslashreplace")
    if not text.isprintable():
        text = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
    return text.encode()[:MAX_RESPONSE_BODY_BYTES].decode(errors="ignore")
