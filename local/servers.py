"""Sockets and servers of the local stack's ports."""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
import sys
import threading
from typing import TYPE_CHECKING

from werkzeug.serving import WSGIRequestHandler, make_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from wsgiref.types import WSGIApplication


LOOPBACK = "127.0.0.1"
_SIOCGIFADDR = 0x8915
_INTERFACE_REQUEST = "40s"


class PortTakenError(Exception):
    """A port that the stack needs is in use; the message names it and the way out."""


def listen(host: str, port: int, setting: str) -> socket.socket:
    """Return a listening socket; port 0 means any free port.

    `setting` is the environment variable for this port, which the message of PortTakenError names.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        if error.errno != errno.EADDRINUSE:
            raise
        msg = (
            f"port {port} is taken: stop the program that uses it, "
            f"or choose another port with {setting}={port + 1} (0 is any free one)"
        )
        raise PortTakenError(msg) from error
    listener.listen(socket.SOMAXCONN)
    return listener


def docker_bridge_address() -> str | None:
    """Return the address at which Docker's containers on Linux reach this machine, if any.

    Docker resolves `host-gateway` to it. On other systems containers reach this machine's loopback.
    """
    if sys.platform != "linux":
        return None
    import fcntl

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        try:
            answer = fcntl.ioctl(
                any_socket.fileno(), _SIOCGIFADDR, struct.pack(_INTERFACE_REQUEST, b"docker0")
            )
        except OSError:
            return None
    # struct ifreq: 16 bytes of name, then a sockaddr_in, whose address is its bytes 4 to 8.
    return socket.inet_ntoa(answer[20:24])


@contextlib.contextmanager
def serve(
    listener: socket.socket,
    application: WSGIApplication,
    *,
    handler: type[WSGIRequestHandler] = WSGIRequestHandler,
) -> Iterator[None]:
    """Serve a WSGI application on a socket, one thread per connection, until the context ends."""
    # Without this, a response's head and body wait 40 ms for each other on a kept connection.
    prompt_handler = type(handler.__name__, (handler,), {"disable_nagle_algorithm": True})
    host, port = listener.getsockname()[:2]
    server = make_server(
        host,
        port,
        application,
        threaded=True,
        request_handler=prompt_handler,
        fd=listener.fileno(),
    )
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        listener.close()
