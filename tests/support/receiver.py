"""A webhook's receiver on loopback: a real HTTP(S) server with scripted answers.

::

    with Receiver(Answer(500), Answer(200)) as receiver:   # then 200 for ever: the last repeats
        ...
        first, second = receiver.wait_for(2)
        assert first.headers["x-sendcomms-attempt"] == "1"

An answer is an `Answer`, a function from the request to one, a `Raw`: a function that writes any
bytes to the socket (see `hostile`), after which the connection is closed; or an `Early`.
"""

from __future__ import annotations

import contextlib
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Self

from support import sightings
from support.certificates import client_context, server_context
from support.slowness import seconds
from webhooks.domain.targets import Target, parse_url

if TYPE_CHECKING:
    import ssl
    from typing import BinaryIO

    from webhooks.adapters.http.sender import GuardedSender


@dataclass(frozen=True, slots=True)
class Request:
    """A received request. Header names are in lower case; `connection` counts from 1."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    connection: int = 1
    received_at: float = field(default_factory=time.time)

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer. Unless a header frames the body, Content-Length is added."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b'{"received":true}'

    def encode(self) -> bytes:
        reason = HTTPStatus(self.status).phrase if self.status in set(HTTPStatus) else "Odd"
        lines = [f"HTTP/1.1 {self.status} {reason}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        if not {"content-length", "transfer-encoding"} & {name.lower() for name in self.headers}:
            lines.append(f"Content-Length: {len(self.body)}")
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + self.body


Wire = Callable[[socket.socket, threading.Event], None]
"""An act on a connection; the event is set when the receiver stops: never outlive it."""


@dataclass(frozen=True, slots=True)
class Raw:
    """An answer that is not HTTP, or not quite. The connection is closed after it."""

    act: Wire


@dataclass(frozen=True, slots=True)
class Early:
    """An act after the head of a request is read, before its body; then the connection closes."""

    act: Wire


Script = Answer | Raw | Early | Callable[[Request], Answer | Raw]


class Receiver:
    """A receiver that runs in its own threads for as long as its `with` block.

    `tls` is True for a certificate that `client_context` trusts, or a context. `on_connect` acts on
    each new connection before TLS and before any request; the connection is served afterwards
    unless the act closes it. `public_url` leads to it from elsewhere, on `port` of this machine.
    `window_bytes` is the size of the system's buffer of unread bytes; without it, the system's own
    choice. With `own_path` a request for another path gets 404 and is not among its requests: a
    port may have been another receiver's a moment ago.
    """

    def __init__(
        self,
        *answers: Script,
        tls: bool | ssl.SSLContext = False,
        on_connect: Wire | None = None,
        path: str = "/hook",
        port: int = 0,
        public_url: str = "",
        window_bytes: int | None = None,
        own_path: bool = False,
    ) -> None:
        self.requests: list[Request] = []
        self.connections = 0
        self._answers: list[Script] = list(answers) or [Answer()]
        self._context = server_context() if tls is True else tls or None
        self._on_connect = on_connect
        self._path = path
        self._own_path = own_path
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._public_url = public_url
        self._listener = socket.create_server(("127.0.0.1", port), backlog=512)
        if window_bytes is not None:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window_bytes)
        self.port: int = self._listener.getsockname()[1]
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []

    @property
    def url(self) -> str:
        if self._public_url:
            return self._public_url
        return f"{'https' if self._context else 'http'}://127.0.0.1:{self.port}{self._path}"

    def answer_with(self, *answers: Script) -> None:
        """Use this answer from the next request on; the last answer repeats."""
        with self._changed:
            self._answers = list(answers)

    def wait_for(self, count: int, timeout: float = 10.0) -> list[Request]:
        """Return the requests when there are that many; AssertionError if they do not arrive.

        The timeout is in seconds on an idle machine.
        """
        with self._changed:
            arrived = self._changed.wait_for(lambda: len(self.requests) >= count, seconds(timeout))
            if not arrived:
                msg = f"{len(self.requests)} of {count} requests after {timeout} seconds"
                raise AssertionError(msg)
            return list(self.requests)

    def __enter__(self) -> Self:
        sightings.note(sightings.LOOPBACK)
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        _shut(self._listener)
        with self._changed:
            still_open = list(self._open)
        for connection in still_open:
            _shut(connection)
        for thread in self._threads:
            thread.join(5)

    def _start(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with self._listener:
            while not self._stop.is_set():
                try:
                    connection, _ = self._listener.accept()
                except OSError:
                    return
                self.connections += 1
                self._start(partial(self._serve, connection, self.connections))

    def _serve(self, plain: socket.socket, number: int) -> None:
        with self._changed:
            # TLS detaches the socket that it wraps; a copy can still be shut from outside.
            copy = plain.dup()
            self._open.add(copy)
        connection = plain
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._on_connect:
                self._on_connect(connection, self._stop)
            if self._context:
                connection = self._context.wrap_socket(connection, server_side=True)
            self._converse(connection, number)
        except (OSError, ValueError):
            pass  # the sender hung up, or a test made it do so: the test's asserts decide
        finally:
            connection.close()
            with self._changed:
                self._open.discard(copy)
            copy.close()

    def _converse(self, connection: socket.socket, number: int) -> None:
        with connection.makefile("rb") as stream:
            while not self._stop.is_set():
                request = _read_request(stream, number, self._is_early)
                if request is None:
                    return
                if self._own_path and request.path != self._path:
                    connection.sendall(Answer(404).encode())
                    continue
                answer = self._next_answer(request)
                if isinstance(answer, Raw | Early):
                    answer.act(connection, self._stop)
                    return
                connection.sendall(answer.encode())
                if answer.headers.get("Connection", "").lower() == "close":
                    return

    def _is_early(self) -> bool:
        with self._changed:
            return isinstance(self._answers[0], Early)

    def _next_answer(self, request: Request) -> Answer | Raw | Early:
        with self._changed:
            script = self._answers[0]
            if len(self._answers) > 1:
                self._answers.pop(0)
            self.requests.append(request)
            self._changed.notify_all()
        return script if isinstance(script, Answer | Raw | Early) else script(request)


def _read_request(
    stream: BinaryIO, connection: int, only_the_head: Callable[[], bool]
) -> Request | None:
    line = stream.readline()
    if not line:
        return None
    method, path, _ = line.decode("latin-1").split(" ", 2)
    headers: dict[str, str] = {}
    while (line := stream.readline()) not in {b"\r\n", b""}:
        name, _, value = line.decode("latin-1").partition(":")
        headers[name.lower()] = value.strip()
    length = int(headers.get("content-length", "0"))
    body = b"" if only_the_head() else stream.read(length)
    return Request(method, path, headers, body, connection)


def _shut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


_LOOPBACK = re.compile(r"(https?)://(127\.0\.0\.1|localhost):([0-9]{1,5})(/[!-~]*)?")


def loopback_target(url: str) -> Target:
    """The tests' url rule: the real rule, which here also allows receivers on this machine."""
    match = _LOOPBACK.fullmatch(url)
    if match is None:
        return parse_url(url)
    scheme, host, port, path_and_query = match.groups()
    return Target(scheme, host, int(port), path_and_query or "/")


def local_sender(**options: Any) -> GuardedSender:
    """Return the real sender, allowed to reach receivers on this machine and their certificates."""
    from webhooks.adapters.http.sender import GuardedSender

    settings: dict[str, Any] = {
        "allowed": lambda _: True,
        "check": loopback_target,
        "ssl_context": client_context(),
    }
    return GuardedSender(**settings | options)
