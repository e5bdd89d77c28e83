"""Outages: for a while AWS refuses every request to one of its services, in every process.

Everything above botocore is real: the SDK's own tries, the adapters, and the local event source
mapping. Lambda has no requests here; its outage fails the invocations instead.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from unittest import mock

from botocore.endpoint import Endpoint

from support.faults import refused

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from local.functions import Context, Handler
    from support.faults import Act

STATE_FILE = "SOAK_OUTAGE_FILE"
"""The environment variable with the name of the file that holds the outage's service."""

_KNOWN_SECONDS = 0.2

_SEND = "_send"
"""The method of botocore's `Endpoint` in front of the network."""


class Service(StrEnum):
    """A service of AWS that the stack depends on."""

    DYNAMODB = "DynamoDB"
    KMS = "KMS"
    SQS = "SQS"
    STEP_FUNCTIONS = "Step Functions"
    EVENTBRIDGE = "EventBridge"
    LAMBDA = "Lambda"


class _Refusal(NamedTuple):
    """The beginning of the target of the refused requests, and the response to them."""

    target: str
    act: Act


_REFUSALS: Mapping[str, _Refusal] = {
    Service.DYNAMODB: _Refusal("DynamoDB_", refused("InternalServerError", 500)),
    # DynamoDB uses the key.
    Service.KMS: _Refusal("DynamoDB_", refused("KMSThrottlingException", 400)),
    Service.SQS: _Refusal("AmazonSQS", refused("ServiceUnavailable", 503)),
    Service.STEP_FUNCTIONS: _Refusal("AWSStepFunctions", refused("ServiceUnavailable", 503)),
    Service.EVENTBRIDGE: _Refusal("AWSEvents", refused("InternalException", 500)),
}

ServiceException = type("Lambda.ServiceException", (Exception,), {})
"""Step Functions knows the error of an invocation by its class's name."""


class Outages:
    """The outages of one soak. `past` has the Unix times of those already begun."""

    def __init__(self, state: Path) -> None:
        """Keep the service that is out in the file `state`."""
        self.past: list[tuple[float, float]] = []
        self._state = state
        self._state.write_text("", encoding="utf-8")

    def begin_and_end(self, service: Service, seconds: float, stopping: threading.Event) -> None:
        """Fail a service for some seconds, or until `stopping`."""
        began = time.time()
        self._state.write_text(service, encoding="utf-8")
        try:
            stopping.wait(seconds)
        finally:
            self._state.write_text("", encoding="utf-8")
            self.past.append((began, time.time()))


class Switch:
    """A process's view of the outage."""

    def __init__(self, state: Path) -> None:
        """Read the outage's service from the file `state`."""
        self._state = state
        self._spared = threading.local()
        self._known = ""
        self._known_until = 0.0

    @contextlib.contextmanager
    def sparing(self) -> Iterator[None]:
        """Let the requests of this thread through: those of the soak itself."""
        self._spared.on = True
        try:
            yield
        finally:
            self._spared.on = False

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        """Intercept the requests of every client in this process."""
        original: Any = getattr(Endpoint, _SEND)

        def send(endpoint: Any, request: Any) -> Any:
            refusal = _REFUSALS.get(self._service())
            if refusal is None or getattr(self._spared, "on", False):
                return original(endpoint, request)
            target = request.headers.get("X-Amz-Target", b"")
            name = target.decode() if isinstance(target, bytes) else str(target)
            if not name.startswith(refusal.target):
                return original(endpoint, request)
            return refusal.act(lambda changed: original(endpoint, changed), request)

        with mock.patch.object(Endpoint, _SEND, send):
            yield

    def handler(self, handler: Handler) -> Handler:
        """Return a handler whose invocations fail while Lambda is out."""

        def invoke(event: Any, context: Context) -> Any:
            if self._service() == Service.LAMBDA:
                raise ServiceException("Lambda is out")
            return handler(event, context)

        return invoke

    def _service(self) -> str:
        now = time.monotonic()
        if now >= self._known_until:
            # Read only at intervals: there are thousands of requests a second.
            self._known_until = now + _KNOWN_SECONDS
            self._known = self._state.read_text(encoding="utf-8")
        return self._known


def of_environment() -> contextlib.AbstractContextManager[None]:
    """Return the interception of this process's clients, if a soak's environment asks for it."""
    state = os.environ.get(STATE_FILE)
    return Switch(Path(state)).installed() if state else contextlib.nullcontext()
