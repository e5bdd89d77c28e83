"""A receiver for tests and demos: it verifies each delivery, and fails on request."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import threading
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from standardwebhooks.webhooks import Webhook, WebhookVerificationError
from werkzeug.wrappers import Request, Response

from local.servers import serve

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable, Iterator
    from wsgiref.types import StartResponse, WSGIEnvironment

PATHS = {
    "/ok": "returns 200",
    "/fail": "always returns 500",
    "/flaky": "returns 503 twice for each delivery, then 200",
    "/gone": "returns 410, which disables the webhook",
    "/slow": "returns 200 after 6 seconds, a second too late",
}
_FLAKY_FAILURES = 2
_SLOW_SECONDS = 6.0


@dataclass(frozen=True, slots=True)
class Received:
    """A received request and the response to it."""

    path: str
    verified: bool
    status: int
    event: str
    to: str
    delivery_id: str
    attempt: int
    event_id: str

    def __str__(self) -> str:
        """Return one line for a person."""
        mark = "verified" if self.verified else "NOT VERIFIED"
        return (
            f"{mark}  {self.event:<16}  to {self.to}  attempt {self.attempt}  "
            f"delivery {self.delivery_id}  {self.path} -> {self.status}"
        )


class Receiver:
    """A customer's endpoint, as a WSGI application that stores and reports its requests.

    Deliveries must be signed with `secret` or with a secret that `other_secrets` returns. Both
    signatures are checked: the contract's own, and the Standard Webhooks one, with the
    `standardwebhooks` library. `report` is called with each request.
    """

    def __init__(
        self,
        secret: str,
        report: Callable[[Received], None],
        other_secrets: Callable[[], Iterable[str]] = tuple,
    ) -> None:
        self._secret = secret
        self._report = report
        self._other_secrets = other_secrets
        self._received: list[Received] = []
        self._changed = threading.Condition()
        self._requests_of: Counter[str] = Counter()
        self._stopping = threading.Event()

    @contextlib.contextmanager
    def serving(self, listener: socket.socket) -> Iterator[str]:
        """Serve on a listening socket until the context ends; yield the receiver's url."""
        with serve(listener, self):
            try:
                yield f"http://127.0.0.1:{listener.getsockname()[1]}"
            finally:
                self._stopping.set()

    @property
    def received(self) -> list[Received]:
        """The requests so far, in order."""
        with self._changed:
            return list(self._received)

    def wait(self, condition: Callable[[list[Received]], bool], timeout_seconds: float) -> bool:
        """Wait until the received requests meet a condition; return whether they did in time."""
        with self._changed:
            return self._changed.wait_for(lambda: condition(list(self._received)), timeout_seconds)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Respond to one delivery."""
        request = Request(environ)
        body = request.get_data()
        verified = verifies(request, body, self._secret) or any(
            verifies(request, body, secret) for secret in self._other_secrets()
        )
        status = self._status(request) if verified else 401
        received = _describe(request, body, verified=verified, status=status)
        self._report(received)
        with self._changed:
            self._received.append(received)
            self._changed.notify_all()
        response = Response(json.dumps({"received": status < 300}), status)
        response.content_type = "application/json"
        return response(environ, start_response)

    def _status(self, request: Request) -> int:
        match request.path:
            case "/ok":
                return 200
            case "/fail":
                return 500
            case "/gone":
                return 410
            case "/flaky":
                return self._flaky_status(request.headers.get("X-SendComms-Delivery", ""))
            case "/slow":
                self._stopping.wait(_SLOW_SECONDS)
                return 200
        return 404

    def _flaky_status(self, delivery_id: str) -> int:
        with self._changed:
            self._requests_of[delivery_id] += 1
            return 503 if self._requests_of[delivery_id] <= _FLAKY_FAILURES else 200


def verifies(request: Request, body: bytes, secret: str) -> bool:
    """Return whether both signatures of a delivery were made with a secret."""
    digest = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    given = request.headers.get("X-SendComms-Signature", "")
    return hmac.compare_digest(given.encode(), f"sha256={digest}".encode()) and any(
        _library_verifies(request, body, key) for key in (secret, secret.encode())
    )


def _library_verifies(request: Request, body: bytes, key: str | bytes) -> bool:
    """Verify with a key as text, or as bytes for a secret that is not base64."""
    try:
        Webhook(key).verify(body, dict(request.headers.items(lower=True)))
    except (WebhookVerificationError, ValueError):
        return False
    return True


def _describe(request: Request, body: bytes, *, verified: bool, status: int) -> Received:
    headers = request.headers
    attempt = headers.get("X-SendComms-Attempt", "")
    return Received(
        path=request.path,
        verified=verified,
        status=status,
        event=headers.get("X-SendComms-Event", "?"),
        # Only a verified body is parsed.
        to=str(json.loads(body)["data"]["to"]) if verified else "?",
        delivery_id=headers.get("X-SendComms-Delivery", "?"),
        attempt=int(attempt) if attempt.isdecimal() else 0,
        event_id=headers.get("webhook-id", "?"),
    )
