"""Faults of AWS, injected where botocore hands a request to the network.

Everything above that is real: the SDK's own tries, the adapters and everything that they serve.

::

    faults.on("Query", refused("ThrottlingException"), about="acc_1")          # from now on
    faults.on("PutItem", answer_lost(), about="acc_1", times=1)                # the next one
    faults.on("Query", refused("InternalServerError"), skip=1, times=3)        # page 2
"""

from __future__ import annotations

import io
import json
import os
import signal
import threading
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from unittest import mock

from botocore.awsrequest import AWSResponse
from botocore.endpoint import Endpoint
from botocore.exceptions import ReadTimeoutError
from botocore.retries.standard import ExponentialBackoff

if TYPE_CHECKING:
    from collections.abc import Iterator

Send = Callable[[Any], Any]
Act = Callable[[Send, Any], Any]
"""The fault of a request, given the function that sends it; returns the answer or raises."""

SDK_TRIES = 3
"""How often the adapters' clients try a request: with as many faults a call fails."""

EVERY = "*"
"""Stands for every operation."""

LEAK = "the request held: "
"""The start of AWS's message about a refused request here; the request itself follows."""


_SEND = "_send"
"""The method of botocore's `Endpoint` in front of the network."""


@dataclass(slots=True)
class _Rule:
    operation: str
    act: Act
    about: str
    skip: int
    times: int | None

    def takes(self, operation: str, body: str) -> bool:
        """True if the rule covers this request, which is counted."""
        other = self.operation not in {operation, EVERY}
        if other or self.about not in body or self.times == 0:
            return False
        if self.skip:
            self.skip -= 1
            return False
        if self.times is not None:
            self.times -= 1
        return True


class Faults:
    """The rules by which requests go wrong; safe in threads, as the clients are."""

    def __init__(self) -> None:
        self._rules: list[_Rule] = []
        self._lock = threading.Lock()
        self._looking = threading.local()
        self.sent: list[tuple[str, dict[str, Any]]] = []
        """The operation and the parameters of each request, the SDK's own tries included."""

    def on(
        self,
        operation: str,
        act: Act,
        *,
        about: str = "",
        skip: int = 0,
        times: int | None = None,
    ) -> None:
        """Apply `act` to `times` requests whose body names `about`, after the first `skip`."""
        with self._lock:
            self._rules.append(_Rule(operation, act, about, skip, times))

    def clear(self) -> None:
        """End all faults, and forget the requests so far."""
        self.heal()
        with self._lock:
            self.sent.clear()

    def heal(self) -> None:
        """End all faults."""
        with self._lock:
            self._rules.clear()

    def count(self, operation: str, about: str = "") -> int:
        """The number of an operation's requests that named `about`."""
        with self._lock:
            return sum(name == operation and about in str(body) for name, body in self.sent)

    @contextmanager
    def out_of_the_way(self) -> Iterator[None]:
        """Let this thread's requests through in the meantime: a test's own look at the tables."""
        self._looking.on = True
        try:
            yield
        finally:
            self._looking.on = False

    @contextmanager
    def installed(self) -> Iterator[Faults]:
        """Intercept the requests of every client in this process, and hurry their retries."""
        original: Any = getattr(Endpoint, _SEND)

        def send(endpoint: Any, request: Any) -> Any:
            return self._meet(request, lambda changed: original(endpoint, changed))

        with (
            mock.patch.object(Endpoint, _SEND, send),
            mock.patch.object(ExponentialBackoff, "delay_amount", lambda *_: 0.0),
        ):
            yield self

    def _meet(self, request: Any, send: Send) -> Any:
        if getattr(self._looking, "on", False):
            return send(request)
        target = request.headers.get("X-Amz-Target", b"")
        name = target.decode() if isinstance(target, bytes) else str(target)
        operation = name.rpartition(".")[2]
        body = _text(request)
        with self._lock:
            if operation:
                self.sent.append((operation, json.loads(body)))
            rule = next((rule for rule in self._rules if rule.takes(operation, body)), None)
        return rule.act(send, request) if rule else send(request)


def refused(code: str, status: int = 400) -> Act:
    """Answer with an error of AWS whose message quotes the request, as a real message may."""

    def act(_: Send, request: Any) -> Any:
        return _answer(request, status, {"__type": code, "message": LEAK + _text(request)})

    return act


def timed_out() -> Act:
    """Send nothing, and never answer."""

    def act(_: Send, request: Any) -> Any:
        raise ReadTimeoutError(endpoint_url=request.url)

    return act


def answer_lost() -> Act:
    """Carry the request out, and lose its answer."""

    def act(send: Send, request: Any) -> Any:
        send(request)
        raise ReadTimeoutError(endpoint_url=request.url)

    return act


def unprocessed(about: str = "") -> Act:
    """Leave the parts of a batch that name `about` unprocessed, as DynamoDB does when throttled.

    SQS's batches fail in part the same way.
    """

    def act(send: Send, request: Any) -> Any:
        wanted = json.loads(_text(request))
        if "Entries" in wanted:
            return _partly_sent(send, request, wanted, about)
        [(table, parts)] = wanted["RequestItems"].items()
        writing = isinstance(parts, list)
        every = parts if writing else parts["Keys"]
        left = [part for part in every if about in json.dumps(part)]
        done = [part for part in every if part not in left]
        answer: dict[str, Any] = {} if writing else {"Responses": {}}
        if done:
            kept = done if writing else {**parts, "Keys": done}
            answer = _sent(send, request, {**wanted, "RequestItems": {table: kept}})
        rest = {table: left if writing else {**parts, "Keys": left}} if left else {}
        answer["UnprocessedItems" if writing else "UnprocessedKeys"] = rest
        return _answer(request, 200, answer)

    return act


def entries_refused() -> Act:
    """Answer that all entries were refused, as EventBridge does with 200."""

    def act(_: Send, request: Any) -> Any:
        entries = json.loads(_text(request))["Entries"]
        failed = {"ErrorCode": "ThrottlingException", "ErrorMessage": LEAK + _text(request)}
        answer = {"FailedEntryCount": len(entries), "Entries": [failed for _ in entries]}
        return _answer(request, 200, answer)

    return act


def changed(**parameters: Any) -> Act:
    """Send the request with other parameters, for example `Limit=1` for pages of one item."""

    def act(send: Send, request: Any) -> Any:
        wanted = json.loads(_text(request)) | parameters
        return _answer(request, 200, _sent(send, request, wanted))

    return act


def killed_before() -> Act:
    """End this process as `kill -9` does, before the request is sent."""

    def act(send: Send, request: Any) -> Any:
        die()
        return send(request)

    return act


def killed_after() -> Act:
    """End this process as `kill -9` does, when the request has been answered."""

    def act(send: Send, request: Any) -> Any:
        answer = send(request)
        die()
        return answer

    return act


class KilledError(BaseException):
    """The end of the process, as far as a test inside can simulate it: no handler sees it."""


def ended_before() -> Act:
    """End the call as `killed_before` does, but leave the test's process alone."""

    def act(_: Send, request: Any) -> Any:
        raise KilledError

    return act


def ended_after() -> Act:
    """End the call as `killed_after` does, but leave the test's process alone."""

    def act(send: Send, request: Any) -> Any:
        send(request)
        raise KilledError

    return act


def die() -> None:
    """End this process at once: no `finally`, no flush."""
    os.kill(os.getpid(), signal.SIGKILL)


def _partly_sent(send: Send, request: Any, wanted: dict[str, Any], about: str) -> Any:
    left = [entry for entry in wanted["Entries"] if about in json.dumps(entry)]
    done = [entry for entry in wanted["Entries"] if entry not in left]
    answer = _sent(send, request, {**wanted, "Entries": done}) if done else {}
    answer["Failed"] = [
        {"Id": entry["Id"], "Code": "InternalError", "SenderFault": False} for entry in left
    ]
    return _answer(request, 200, {"Successful": []} | answer)


def _sent(send: Send, request: Any, parameters: dict[str, Any]) -> dict[str, Any]:
    """Send the request with these parameters instead of its own; returns its answer."""
    before = request.body, request.headers["Content-Length"]
    request.body = json.dumps(parameters).encode()
    request.headers["Content-Length"] = str(len(request.body))
    try:
        answer: dict[str, Any] = json.loads(send(request).content)
    finally:
        request.body, request.headers["Content-Length"] = before
    return answer


def _text(request: Any) -> str:
    body = request.body or b""
    return body.decode() if isinstance(body, bytes) else str(body)


class _Content(io.BytesIO):
    """An answer's body in botocore's form."""

    def stream(self) -> Iterator[bytes]:
        yield self.read()


def _answer(request: Any, status: int, content: dict[str, Any]) -> Any:
    headers: Any = {"Content-Type": "application/x-amz-json-1.0", "x-amzn-RequestId": "r"}
    return AWSResponse(request.url, status, headers, _Content(json.dumps(content).encode()))
