"""Connects to a receiver by name, after the address rule."""

from __future__ import annotations

import errno
import queue
import socket
import threading
from typing import TYPE_CHECKING, Any, TypeAlias

from webhooks.domain.delivery import FailureReason
from webhooks.domain.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from webhooks.adapters.http.deadline_timer import RequestDeadline

LOOK_UP_SECONDS = 2.0
MAX_LOOK_UPS = 512
MAX_TRIES = 2

_OUR_RESOLVER_ERRORS = frozenset({socket.EAI_MEMORY, socket.EAI_SYSTEM})
"""Errors that no receiver's zone can cause. EAI_AGAIN is not among them: a zone that always
responds with SERVFAIL, or never, looks the same, and must use up its schedule, not our queue."""

_OUR_ERRNOS = frozenset(
    {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL}
)

_Answers: TypeAlias = "Sequence[tuple[Any, ...]]"


class AttemptFailedError(Exception):
    """The receiver failed; `error` is the reason, and nothing of the receiver's is included."""

    def __init__(self, error: FailureReason) -> None:
        super().__init__(error.value)
        self.error = error


class Dialer:
    """Opens connections to receivers, only to addresses for which `allowed` returns True."""

    def __init__(self, allowed: Callable[[str], bool]) -> None:
        self._allowed = allowed
        self._look_ups = threading.BoundedSemaphore(MAX_LOOK_UPS)

    def dial(self, host: str, port: int, deadline: RequestDeadline) -> socket.socket:
        """Look the name up once and connect to an address that it resolved to, within the deadline.

        Raises AttemptFailedError for `dns`, `blocked_address`, `connection` and `timeout`, and
        UnavailableError if this process ran out of a resource.
        """
        addresses = self._vetted_addresses(host, port, deadline)
        for tries_left in range(len(addresses), 0, -1):
            # An address that drops packets must leave time for the next one.
            seconds = deadline.remaining() / tries_left
            if seconds <= 0:
                raise AttemptFailedError(FailureReason.TIMEOUT)
            try:
                return _connect(addresses[-tries_left], port, seconds, deadline)
            except OSError as error:
                if error.errno in _OUR_ERRNOS:
                    raise UnavailableError(
                        "this process has no socket left to reach a receiver"
                    ) from error
                timed_out = isinstance(error, TimeoutError)
        raise AttemptFailedError(FailureReason.TIMEOUT if timed_out else FailureReason.CONNECTION)

    def _vetted_addresses(self, host: str, port: int, deadline: RequestDeadline) -> list[str]:
        """Return one or two IPv4 addresses; a single blocked address fails the whole look-up."""
        if deadline.remaining() <= 0:
            raise AttemptFailedError(FailureReason.TIMEOUT)
        answers = self._look_up(host, port, min(LOOK_UP_SECONDS, max(deadline.remaining(), 0)))
        if not all(self._allowed(address[0]) for *_, address in answers):
            raise AttemptFailedError(FailureReason.BLOCKED_ADDRESS)
        open_addresses = (address[0] for family, *_, address in answers if family == socket.AF_INET)
        addresses = list(dict.fromkeys(open_addresses))[:MAX_TRIES]
        if not addresses:
            raise AttemptFailedError(FailureReason.DNS)
        return addresses

    def _look_up(self, host: str, port: int, seconds: float) -> _Answers:
        """Ask the resolver from another thread, since a look-up cannot be interrupted."""
        box: queue.SimpleQueue[_Answers | OSError | UnicodeError] = queue.SimpleQueue()

        def work() -> None:
            try:
                # As bytes: a text would go through the IDNA codec, and the url rule requires ASCII.
                box.put(
                    socket.getaddrinfo(
                        host.encode(), port, socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP
                    )
                )
            except (OSError, UnicodeError) as error:
                box.put(error)
            finally:
                self._look_ups.release()

        if not self._look_ups.acquire(blocking=False):
            raise UnavailableError("too many look-ups of receivers' names are in progress")
        try:
            threading.Thread(target=work, name="look-up", daemon=True).start()
        except RuntimeError as error:
            self._look_ups.release()
            raise UnavailableError(
                "this process has no thread left to look up a receiver"
            ) from error
        try:
            answers = box.get(timeout=seconds)
        except queue.Empty:
            raise AttemptFailedError(FailureReason.DNS) from None
        if isinstance(answers, Exception):
            raise _named(answers) from answers
        return answers


def _named(error: OSError | UnicodeError) -> AttemptFailedError | UnavailableError:
    ours = (
        error.errno in _OUR_RESOLVER_ERRORS
        if isinstance(error, socket.gaierror)
        else isinstance(error, OSError)
    )
    if ours:
        return UnavailableError("our resolver failed to look up a receiver's address")
    return AttemptFailedError(FailureReason.DNS)


def _connect(address: str, port: int, seconds: float, deadline: RequestDeadline) -> socket.socket:
    connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.settimeout(seconds)
        deadline.hold(connection)
        connection.connect((address, port))
        connection.settimeout(max(deadline.remaining(), 0.001))
    except BaseException:
        connection.close()
        raise
    return connection
