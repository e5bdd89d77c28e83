"""Sockets and servers: what the ports of the local stack have in common."""

from __future__ import annotations

import contextlib
import errno
import socket
import threading
from typing import TYPE_CHECKING

from werkzeug.serving import WSGIRequestHandler, make_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from wsgiref.types import WSGIApplication


class PortTaken(Exception):
    """A port that the stack needs is in use; the message says which, and what to do."""


def listen(host: str, port: int, setting: str) -> socket.socket:
    """Return a socket that listens; port 0 is any free one.

    `setting` is the environment variable that chooses this port, for the message of PortTaken.
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
        raise PortTaken(msg) from error
    listener.listen(socket.SOMAXCONN)
    return listener


@contextlib.contextmanager
def serve(
    listener: socket.socket,
    application: WSGIApplication,
    *,
    handler: type[WSGIRequestHandler] = WSGIRequestHandler,
) -> Iterator[None]:
    """Serve a WSGI application on a listening socket, a thread a connection, until the end."""
    # Without this, an answer's head and body wait 40 ms for each other on a kept connection.
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
