"""The receivers of a soak: one server on loopback, a path for each webhook, a kind for each path.

Every request's signatures are verified, and a webhook's receipts of each event are kept: their
number, the id and the bytes.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import json
import threading
import time
from collections import Counter
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, NamedTuple, Self

from standardwebhooks import Webhook, WebhookVerificationError

from soak.plan import Kind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from soak.plan import Hook

HANG_UP = 0
"""The status of an absent answer: the connection is closed."""

_BACKLOG = 1024
_SLOW_SECONDS = (0.1, 1.2)
_SILENT_SECONDS = 10.0
"""Longer than the sender waits."""

_SILENT_SHARE = 0.03
_FLAKY_SHARE = 0.25
_FLAKY_STATUSES = (500, 503, 404, HANG_UP)
_REQUESTS_A_SECOND = 3
"""The requests that a rate limiting receiver accepts."""

_FLAPPING_SHARE = 7 / 8
"""The part that a flapping receiver refuses."""


class Answer(NamedTuple):
    """An answer, and the time before it."""

    status: int = 200
    after_seconds: float = 0.0
    retry_after: int | None = None


class ReceiptKey(NamedTuple):
    """A webhook's number, and a transaction that was delivered to it."""

    hook: int
    transaction_id: str


@dataclass(slots=True)
class Receipt:
    """A webhook's deliveries of one event that it answered with 200."""

    event_id: str
    digest: bytes
    times: int = 0


class Receivers:
    """All receivers, in their own thread, for as long as the `with` block.

    `published` is the part of all events that were published so far, from 0 to 1, set by the
    publisher: it decides which recovering receivers are down.
    """

    def __init__(self, hooks: Sequence[Hook], seed: int) -> None:
        self.receipts: dict[ReceiptKey, Receipt] = {}
        self.problems: list[str] = []
        self.statuses: Counter[int] = Counter()
        self.published = 0.0
        self.port = 0
        self._hooks = hooks
        self._secrets: dict[int, str] = {}
        self._random = Random(seed)  # noqa: S311  chance, not secrets
        self._windows: Counter[tuple[int, int]] = Counter()
        self._loop = asyncio.new_event_loop()
        self._stopping = asyncio.Event()
        self._listening = threading.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),))

    def url(self, hook: Hook) -> str:
        return f"http://127.0.0.1:{self.port}/{hook.number}"

    def expect(self, hook: Hook, secret: str) -> None:
        """Verify a webhook's requests with the secret from its registration's answer."""
        self._secrets[hook.number] = secret

    def __enter__(self) -> Self:
        self._thread.start()
        self._listening.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()
        self._loop.close()

    async def _serve(self) -> None:
        conversations: set[asyncio.Task[None]] = set()

        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = self._loop.create_task(self._converse(reader, writer))
            conversations.add(task)
            task.add_done_callback(conversations.discard)

        server = await asyncio.start_server(connected, "127.0.0.1", 0, backlog=_BACKLOG)
        self.port = server.sockets[0].getsockname()[1]
        self._listening.set()
        await self._stopping.wait()
        server.close()
        for task in conversations:
            task.cancel()
        await asyncio.gather(*conversations, return_exceptions=True)
        # The aborted connections are closed at the loop's next turn.
        await asyncio.sleep(0)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            # A sender that is killed hangs up anywhere.
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                while await self._exchange(reader, writer):
                    pass
        finally:
            writer.transport.abort()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; False if that ends the connection."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.rstrip().split("\r\n")
        pairs = (line.split(":", 1) for line in lines)
        headers = {name.lower(): value.strip() for name, value in pairs}
        body = await reader.readexactly(int(headers["content-length"]))
        hook = self._hooks[int(first.split(" ")[1].removeprefix("/"))]
        answer = self._answer(hook) if self._verified(hook, headers, body) else Answer(401)
        if answer.after_seconds:
            await asyncio.sleep(answer.after_seconds)
        self.statuses[answer.status] += 1
        if answer.status == HANG_UP or writer.transport.is_closing() or reader.at_eof():
            return False
        if answer.status == 200:
            self._take(hook, headers["webhook-id"], body)
        extra = "" if answer.retry_after is None else f"Retry-After: {answer.retry_after}\r\n"
        writer.write(f"HTTP/1.1 {answer.status} Said\r\n{extra}Content-Length: 0\r\n\r\n".encode())
        await writer.drain()
        return True

    def _verified(self, hook: Hook, headers: Mapping[str, str], body: bytes) -> bool:
        secret = self._secrets[hook.number]
        signature = f"sha256={hmac.digest(secret.encode(), body, hashlib.sha256).hex()}"
        try:
            Webhook(secret).verify(body, dict(headers))
            verified = hmac.compare_digest(signature, headers["x-sendcomms-signature"])
        except (WebhookVerificationError, KeyError):
            verified = False
        if not verified:
            self.problems.append(f"a request to webhook {hook.number} is not signed as it should")
        return verified

    def _take(self, hook: Hook, event_id: str, body: bytes) -> None:
        key = ReceiptKey(hook.number, json.loads(body)["transaction_id"])
        digest = hashlib.sha256(body).digest()
        receipt = self.receipts.setdefault(key, Receipt(event_id, digest))
        if (receipt.event_id, receipt.digest) != (event_id, digest):
            self.problems.append(f"{key.transaction_id} is not the same each time: {hook.number}")
        receipt.times += 1

    def _answer(self, hook: Hook) -> Answer:
        if hook.kind is Kind.DEAD:
            return _DEATHS[hook.number % len(_DEATHS)]
        chance = self._random.random()
        answer = Answer()
        match hook.kind:
            case Kind.SLOW if chance < _SILENT_SHARE:
                answer = Answer(HANG_UP, _SILENT_SECONDS)
            case Kind.SLOW:
                answer = Answer(after_seconds=self._random.uniform(*_SLOW_SECONDS))
            case Kind.FLAKY if chance < _FLAKY_SHARE:
                answer = Answer(self._random.choice(_FLAKY_STATUSES))
            case Kind.FLAPPING if chance < _FLAPPING_SHARE:
                answer = Answer(500)
            case Kind.RECOVERING if hook.down_from <= self.published < hook.down_until:
                answer = Answer(503)
            case Kind.RATE_LIMITING if self._over_its_rate(hook):
                answer = Answer(429, retry_after=1)
            case Kind.GONE:
                answer = Answer(410)
        return answer

    def _over_its_rate(self, hook: Hook) -> bool:
        window = (hook.number, int(time.monotonic()))
        self._windows[window] += 1
        return self._windows[window] > _REQUESTS_A_SECOND


_DEATHS = (Answer(500), Answer(HANG_UP), Answer(HANG_UP, _SILENT_SECONDS))
"""The behaviours of dead receivers: an error each time, a connection that breaks, or silence."""
