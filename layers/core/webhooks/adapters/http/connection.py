"""The HTTP client's connections: opened only by a `Dialer`, and reused only if clean.

`requests` and `urllib3` do the HTTP; this module changes where connections lead and which of them
are pooled.
"""

from __future__ import annotations

import socket
import ssl
import sys
import threading
import time
from functools import partial
from http.client import HTTPException
from typing import TYPE_CHECKING, Any

import certifi
from requests import PreparedRequest, Response
from requests.adapters import HTTPAdapter
from requests.structures import CaseInsensitiveDict
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager, Retry
from urllib3.connection import HTTPConnection, HTTPSConnection

from webhooks.adapters.http.response import BoundedResponse
from webhooks.domain.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from webhooks.adapters.http.deadline_timer import RequestDeadline
    from webhooks.adapters.http.dialer import Dialer
    from webhooks.domain.targets import Target

MAX_POOLS = 32
MAX_IDLE_CONNECTIONS_PER_POOL = 10
MAX_CONNECTION_AGE_SECONDS = 60.0
"""After this long the name is looked up again, to follow a receiver that moved."""

SECONDS_TO_READ = 0.2
"""Time kept for the response when a receiver stops reading the request: it may have responded."""

_ENDED = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)
"""TLS errors for the end of the connection below, which is no failure of TLS."""


def new_ssl_context() -> ssl.SSLContext:
    """Return a context that trusts certifi's authorities and ignores environment variables.

    `ssl.create_default_context` would write keys to the file that SSLKEYLOGFILE names.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # As in browsers (RFC 9525, section 6.3): a common name may be any label.
    context.hostname_checks_common_name = False
    context.set_alpn_protocols(["http/1.1"])
    context.load_verify_locations(certifi.where())
    return context


class ConnectionContext:
    """The state shared by one sender's connections: dialer, TLS context, each thread's request.

    If `ssl_context` is None, the first connection that needs one makes it.
    """

    def __init__(self, dialer: Dialer, ssl_context: ssl.SSLContext | None) -> None:
        self._dialer = dialer
        self._ssl_context = ssl_context
        self._lock = threading.Lock()
        self._current = threading.local()

    def begin(self, target: Target, deadline: RequestDeadline) -> None:
        """Set the target and the deadline of the request that this thread is about to make."""
        self._current.target = target
        self._current.deadline = deadline

    @property
    def deadline(self) -> RequestDeadline:
        """The deadline of the request that this thread is making."""
        deadline: RequestDeadline = self._current.deadline
        return deadline

    @property
    def target(self) -> Target:
        """The target of the request that this thread is making."""
        target: Target = self._current.target
        return target

    @property
    def ssl_context(self) -> ssl.SSLContext:
        """The one context of all connections: making one costs ten times a handshake."""
        with self._lock:
            if self._ssl_context is None:
                self._ssl_context = new_ssl_context()
            return self._ssl_context

    def dial(self, host: str, port: int) -> socket.socket:
        """Open a connection for this thread's request."""
        return self._dialer.dial(host, port, self.deadline)


def _acknowledge(connection: socket.socket) -> None:
    """Acknowledge the receiver's data at once, rather than after 40 milliseconds.

    TLS 1.3 sends tickets first. With Nagle's algorithm, an early response waits until they are
    acknowledged, and is lost if the receiver closes before that.
    """
    if sys.platform == "linux":
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


class GuardedConnection(HTTPConnection):
    """A connection that its context's dialer opens. It is reused only if it is `clean`.

    `cut_short` is true if the receiver did not read the whole request.
    """

    context: ConnectionContext
    response: BoundedResponse | None = None
    clean = False
    cut_short = False
    opened_at = 0.0

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._pieces: list[bytes] = []

    def response_class(  # type: ignore[override]
        self, sock: socket.socket, method: str | None = None
    ) -> BoundedResponse:
        """Make http.client read a bounded response, and keep a reference to it."""
        self.response = BoundedResponse(sock, method)
        return self.response

    def _new_conn(self) -> socket.socket:
        self.opened_at = time.monotonic()
        return self.context.dial(self.host, self.port)

    def forget_response(self) -> None:
        """Reset the state for the next request."""
        self.response = None
        self.clean = False
        self.cut_short = False

    def request(self, *args: Any, **options: Any) -> None:
        """Send a request, head and body in one piece: fewer packets, fewer calls.

        Raises BrokenPipeError if the receiver does not read all of it. It may have responded before
        it closed, and BrokenPipeError is the only error after which urllib3 still reads the
        response. Different versions of Python and OpenSSL raise different errors for a connection
        that was closed with unread data.
        """
        self._pieces.clear()
        super().request(*args, **options)
        if self.sock is None:
            self.connect()
        rest = memoryview(b"".join(self._pieces))
        try:
            while rest:
                self.sock.settimeout(
                    max(self.context.deadline.remaining() - SECONDS_TO_READ, 0.001)
                )
                rest = rest[self.sock.send(rest) :]
        except (ConnectionError, TimeoutError, ssl.SSLError) as error:
            self.cut_short = True
            raise BrokenPipeError from error
        _acknowledge(self.sock)

    def putrequest(self, method: str, url: str, *args: Any, **options: Any) -> None:
        """Begin the request with its target's exact path and query.

        urllib3 has normalised the `url` given here: `%2f` became `%2F`. A receiver may sign, route
        or compare the registered text (RFC 3986, section 6.2.2.1).
        """
        super().putrequest(method, self.context.target.path_and_query, *args, **options)

    def send(self, data: Any) -> None:
        """Keep a part of the request until `request` has all of them."""
        self._pieces.append(data)

    def getresponse(self) -> Any:
        """Read the response's head; ConnectionError if the connection ends before it."""
        try:
            return super().getresponse()
        except _ENDED as error:
            raise ConnectionResetError from error

    def take_body(self, max_bytes: int) -> bytes:
        """Read the body's beginning, close the response, and decide if the connection is clean."""
        response = self.response
        if response is None:
            return b""
        body = response.take(max_bytes)
        self.clean = (
            not self.cut_short and self.sock is not None and response.leaves_clean(self.sock)
        )
        response.close()
        return body


class _GuardedTlsConnection(GuardedConnection, HTTPSConnection):
    def connect(self) -> None:
        # The certificate is checked against the name, not the address.
        connection = self._new_conn()
        try:
            self.sock = self.context.ssl_context.wrap_socket(connection, server_hostname=self.host)
        except BaseException:
            connection.close()
            raise
        self.is_verified = True


class _GuardedPool(HTTPConnectionPool):
    ConnectionCls = GuardedConnection

    def __init__(self, *args: Any, context: ConnectionContext, **options: Any) -> None:
        self._context = context
        super().__init__(*args, **options)

    def _new_conn(self) -> Any:
        connection: Any = super()._new_conn()
        connection.context = self._context
        return connection

    def _get_conn(self, timeout: float | None = None) -> Any:
        connection: Any = super()._get_conn(timeout)
        if time.monotonic() - connection.opened_at > MAX_CONNECTION_AGE_SECONDS:
            connection.close()
        return connection

    def _put_conn(self, conn: Any) -> None:
        # urllib3 would pool any open connection: after a 101, a half-read body, two responses.
        if conn is not None and not conn.clean:
            conn.close()
        super()._put_conn(conn)

    def _make_request(self, conn: Any, *args: Any, **options: Any) -> Any:
        conn.forget_response()
        if conn.is_closed:
            return super()._make_request(conn, *args, **options)
        try:
            self._context.deadline.hold(conn.sock)
        except OSError as error:
            raise UnavailableError("this process has no descriptor left for a request") from error
        try:
            return super()._make_request(conn, *args, **options)
        except (OSError, HTTPException) as error:
            began = conn.response is not None and conn.response.began
            if began or isinstance(error, TimeoutError):
                raise
        # The receiver closed its end while the connection was idle: try once on a new connection.
        conn.close()
        conn.forget_response()
        return super()._make_request(conn, *args, **options)


class _GuardedTlsPool(_GuardedPool, HTTPSConnectionPool):
    ConnectionCls = _GuardedTlsConnection


class Post(PreparedRequest):
    """A POST to a target, prepared here: exactly these bytes, and no header but these.

    `Accept-Encoding` keeps the response readable; `Content-Length` frames the body.
    """

    def __init__(self, target: Target, body: bytes, headers: Mapping[str, str]) -> None:
        super().__init__()
        self.method = "POST"
        self.target = target
        self.url = target.path_and_query
        self.body = body
        self.headers = CaseInsensitiveDict(
            {**headers, "Accept-Encoding": "identity", "Content-Length": str(len(body))}
        )


class GuardedAdapter(HTTPAdapter):
    """The transport, used without a `Session`.

    A session follows redirects, keeps cookies, and takes proxies, credentials and authorities from
    the environment: without one, none of that can happen.
    """

    def __init__(self, context: ConnectionContext) -> None:
        self._context = context
        super().__init__(
            MAX_POOLS,
            MAX_IDLE_CONNECTIONS_PER_POOL,
            max_retries=Retry(False, respect_retry_after_header=False),
        )

    def init_poolmanager(
        self, connections: int, maxsize: int, block: bool = False, **pool_kwargs: Any
    ) -> None:
        """Make pools whose connections are guarded, for every scheme."""
        self.poolmanager = PoolManager(connections, maxsize=maxsize, block=block, **pool_kwargs)
        self.poolmanager.pool_classes_by_scheme = {
            "http": partial(_GuardedPool, context=self._context),
            "https": partial(_GuardedTlsPool, context=self._context),
        }

    def get_connection_with_tls_context(self, request: Any, *_: Any, **__: Any) -> Any:
        """Find the pool by the target that the url rule parsed: there is no second parser."""
        target: Target = request.target
        return self.poolmanager.connection_from_host(target.host, target.port, target.scheme)

    def cert_verify(self, *_: Any) -> None:
        """Do nothing: the TLS context always verifies certificates."""

    def request_url(self, request: Any, *_: Any) -> str:
        """Return the path and query; there are no proxies. The connection sends the target's."""
        return str(request.target.path_and_query)

    def build_response(self, req: PreparedRequest, resp: Any) -> Response:
        """Wrap the response without reading cookies or an encoding from it."""
        response = Response()
        response.status_code = resp.status
        response.headers = CaseInsensitiveDict(resp.headers)
        response.raw = resp
        response.request = req
        return response
