"""One thread that ends every request at its deadline, however the receiver spreads its bytes.

A socket's own timeout starts anew with each byte, so a receiver that drips could hold a request
without limit; only another thread can enforce a total.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import os
import socket
import threading
import time
from typing import Self

from webhooks.domain.errors import UnavailableError


class RequestDeadline:
    """One request's deadline. Use it in a `with` block, in the one thread that makes the request.

    Only a `DeadlineTimer` makes one. `until` is a time of `time.monotonic`. Once `expired` is
    true, the request's socket is shut down: check it before trusting received data.
    """

    def __init__(self, until: float, lock: threading.Condition) -> None:
        self.until = until
        self.expired = False
        self.over = False
        self._lock = lock
        self._copy: socket.socket | None = None

    def remaining(self) -> float:
        """Return the seconds left; zero or less after the deadline."""
        return self.until - time.monotonic()

    def hold(self, connection: socket.socket) -> None:
        """Take this socket as the request's; OSError if the process has no descriptor left.

        A copy of its descriptor is kept: wrapping a socket in TLS detaches it, and if one thread
        closed it while another shuts it down, the descriptor could already belong to another file.
        """
        copy = socket.socket(
            connection.family,
            socket.SOCK_STREAM,
            connection.proto,
            fileno=os.dup(connection.fileno()),
        )
        with self._lock:
            previous, self._copy = self._copy, copy
            if self.expired:
                self._shut()
        if previous is not None:
            previous.close()

    def expire(self) -> None:
        """End the request. The caller holds the lock."""
        self.expired = True
        self._shut()

    def __enter__(self) -> Self:
        """Return the deadline itself, which runs already."""
        return self

    def __exit__(self, *_: object) -> None:
        """Release the socket; the request is over."""
        with self._lock:
            self.over = True
            copy, self._copy = self._copy, None
        if copy is not None:
            copy.close()

    def _shut(self) -> None:
        if self._copy is not None:
            with contextlib.suppress(OSError):  # it is shut down already
                self._copy.shutdown(socket.SHUT_RDWR)


class DeadlineTimer:
    """Ends any number of requests from one thread, which starts with the first of them."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._deadlines: list[tuple[float, int, RequestDeadline]] = []
        self._numbers = itertools.count()
        self._thread: threading.Thread | None = None
        self._closed = False

    def start(self, until: float) -> RequestDeadline:
        """Start a request's deadline, which ends it at `until`, a time of `time.monotonic`.

        Raises UnavailableError if no thread can be started.
        """
        deadline = RequestDeadline(until, self._changed)
        with self._changed:
            if self._thread is None:
                self._thread = self._started()
            heapq.heappush(self._deadlines, (until, next(self._numbers), deadline))
            if self._deadlines[0][2] is deadline:
                self._changed.notify()
        return deadline

    def close(self) -> None:
        """Stop the thread; a later `start` starts another."""
        with self._changed:
            self._closed = True
            self._changed.notify()
            thread, self._thread = self._thread, None
        if thread is not None:
            thread.join()

    def _started(self) -> threading.Thread:
        self._closed = False
        thread = threading.Thread(target=self._run, name="deadline-timer", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            raise UnavailableError("this process has no thread left to time requests") from error
        return thread

    def _run(self) -> None:
        with self._changed:
            while not self._closed:
                while self._deadlines and self._deadlines[0][2].over:
                    heapq.heappop(self._deadlines)
                if not self._deadlines:
                    self._changed.wait()
                    continue
                left = self._deadlines[0][2].remaining()
                if left > 0:
                    self._changed.wait(left)
                else:
                    heapq.heappop(self._deadlines)[2].expire()
