"""A receiver's response, read within limits: a complete head, and the beginning of a body."""

from __future__ import annotations

import io
import re
import ssl
import time
from http.client import BadStatusLine, HTTPException, HTTPResponse, RemoteDisconnected
from typing import TYPE_CHECKING

from webhooks.adapters.http.dialer import AttemptFailedError
from webhooks.domain.delivery import FailureReason
from webhooks.domain.status_codes import is_interim, switches_protocols

if TYPE_CHECKING:
    import socket

    from _typeshed import WriteableBuffer

MAX_HEAD_BYTES = 65_536
MAX_HEAD_LINES = 101
"""Limits for one head. Each interim response (100 to 199), of any number, has its own head."""

MAX_BODY_SECONDS = 0.5
"""Total wait for the beginning of a body after the head."""

_BLANK = frozenset({b"\r\n", b"\n"})
_STATUS_LINE = re.compile(rb"(HTTP/1\.[0-9]) ([1-9][0-9]{2})(?: [^\r\n]*)?\r?\n")


class _Source(io.RawIOBase):
    """A socket's bytes, read with an optional deadline.

    A socket's timeout begins anew with each read, and http.client reads a chunk's size, its
    extension and the trailers until their lines end, however slowly their bytes arrive.
    """

    def __init__(self, raw: io.RawIOBase, sock: socket.socket) -> None:
        self._raw = raw
        self._socket = sock
        self._deadline: float | None = None

    def wait_until(self, deadline: float | None) -> None:
        """Set the deadline, a time of `time.monotonic`; with None, the socket's own timeout."""
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int | None:
        if self._deadline is not None:
            left = self._deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self._socket.settimeout(left)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Stream(io.BufferedReader):
    """A response's bytes. Each line must be complete, and each head of limited size."""

    _bytes_left = MAX_HEAD_BYTES
    _lines_left = MAX_HEAD_LINES
    finished = False

    def begin_head(self) -> None:
        """Reset the limits for another head."""
        self._bytes_left = MAX_HEAD_BYTES
        self._lines_left = MAX_HEAD_LINES

    def readline(self, size: int | None = -1, /) -> bytes:
        line = super().readline(self._bytes_left + 1)
        self._bytes_left -= len(line)
        self._lines_left -= 1
        if self._bytes_left < 0 or self._lines_left < 0:
            raise AttemptFailedError(FailureReason.RESPONSE_TOO_LARGE)
        if not line.endswith(b"\n"):
            # http.client accepts an incomplete head, also if the timer closed the connection.
            raise RemoteDisconnected("the response's head broke off")
        return line

    def close(self) -> None:
        # http.client closes at the end of a body; `leaves_clean` still has to check what follows.
        if self.finished:
            super().close()


class BoundedResponse(HTTPResponse):
    """A receiver's response. `began` is true once a byte of it has arrived."""

    def __init__(self, sock: socket.socket, method: str | None = None) -> None:
        super().__init__(sock, method=method)
        self._source = _Source(self.fp.detach(), sock)
        self._stream = _Stream(self._source, 4096)
        self.fp = self._stream
        self.began = False

    def begin(self) -> None:
        """Read the head; a connection that ends before its last line gave no response."""
        if not self._stream.peek(1):
            raise RemoteDisconnected("the connection ended without a response")
        self.began = True
        super().begin()

    def _read_status(self) -> tuple[str, int, str]:
        """Skip interim responses: only the attempt's deadline limits their number.

        A 101 is final: the bytes after it belong to another protocol.
        """
        while True:
            self._stream.begin_head()
            match = _STATUS_LINE.fullmatch(self._stream.readline())
            if match is None:
                raise BadStatusLine("")
            status = int(match[2])
            if not is_interim(status):
                return match[1].decode(), status, ""
            while self._stream.readline() not in _BLANK:
                pass

    def take(self, max_bytes: int) -> bytes:
        """Return the beginning of the body as it came, as much of it as arrives in time.

        The head has already decided the outcome; therefore the wait for the body is short: half a
        second in all, chunk sizes and trailers included.
        """
        taken = bytearray()
        self._source.wait_until(time.monotonic() + MAX_BODY_SECONDS)
        try:
            while len(taken) < max_bytes and (part := self.read1(max_bytes - len(taken))):
                taken += part
        except (OSError, HTTPException, ValueError, AttemptFailedError):
            self.will_close = True  # only the head counts; the rest broke off
        self._source.wait_until(None)
        return bytes(taken)

    def leaves_clean(self, connection: socket.socket) -> bool:
        """Whether the next response on this connection cannot be mistaken for part of this one."""
        read_to_the_end = self.fp is None if self.chunked else self.length == 0
        lengths = self.msg.get_all("content-length", [])
        framed_once = len(lengths) + len(self.msg.get_all("transfer-encoding", [])) <= 1
        if (
            self.will_close
            or not (read_to_the_end and framed_once)
            or switches_protocols(self.status)
            or self.msg.defects
            or not all(length.isdecimal() for length in lengths)
        ):
            return False
        try:
            connection.settimeout(0)
            return not self._stream.peek(1)
        except ssl.SSLWantReadError:
            return True
        except OSError:
            return False

    def close(self) -> None:
        """Close the response and release its socket."""
        self._stream.finished = True
        super().close()
        self._stream.close()
