"""A bad receiver's acts on a connection: for `Receiver(on_connect=...)` and for `Raw(...)`.

Each function makes a `Wire`. Endless ones stop when the receiver does, or when the sender hangs up.
"""

from __future__ import annotations

import itertools
import socket
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterable

    from support.receiver import Wire

INTERIM = b"HTTP/1.1 100 Continue\r\n\r\n"


def silent() -> Wire:
    """Send nothing, and keep the connection open."""
    return says(then_silent=True)


def says(*parts: bytes, then_silent: bool = False) -> Wire:
    """Send these very bytes, and hang up or fall silent."""

    def act(connection: socket.socket, stop: threading.Event) -> None:
        for part in parts:
            connection.sendall(part)
        if then_silent:
            stop.wait(60)

    return act


def drips(first: bytes, rest: Iterable[bytes], every_seconds: float = 0.05) -> Wire:
    """Send the beginning at once and the rest bit by bit, each time before a socket times out."""

    def act(connection: socket.socket, stop: threading.Event) -> None:
        connection.sendall(first)
        for part in rest:
            if stop.wait(every_seconds):
                return
            connection.sendall(part)

    return act


def for_ever(first: bytes, part: bytes) -> Wire:
    """Send the beginning and then the same part as fast as the sender takes it."""

    def act(connection: socket.socket, stop: threading.Event) -> None:
        connection.sendall(first)
        for _ in itertools.takewhile(lambda _: not stop.is_set(), itertools.count()):
            connection.sendall(part)

    return act


def resets() -> Wire:
    """Break the connection with a reset."""

    def act(connection: socket.socket, _: threading.Event) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()

    return act
