"""The dispatcher's partners in measurements: a fast imitation of AWS, and receivers."""

from __future__ import annotations

import contextlib
import itertools
import json
import queue
import socket
import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from support import samples
from support.certificates import authority
from support.hostile import drips, silent
from support.receiver import Answer, Raw, Receiver
from webhooks.adapters.dynamodb import webhook_items

if TYPE_CHECKING:
    from collections.abc import Sequence
    from multiprocessing.connection import Connection

    from support.receiver import Request, Script

SLOW_SECONDS = 0.1
"""The assumed response time of a receiver in another place than this machine."""


def _slowly(_: Request) -> Answer:
    time.sleep(SLOW_SECONDS)
    return Answer(headers={"Connection": "close"})


KINDS: dict[str, Script] = {
    "fresh": Answer(headers={"Connection": "close"}),
    # Explicit, because ab speaks HTTP/1.0 and otherwise waits for the connection's end.
    "kept": Answer(headers={"Connection": "keep-alive"}),
    "slow": _slowly,
    "hanging": Raw(silent()),
    "dripping": Raw(drips(b"HTTP/1.1 200 OK\r\nX-Drip: ", itertools.repeat(b"."))),
}


def _at_once(connection: socket.socket, _: threading.Event) -> None:
    """Send each part at once: delayed sending would add 40 ms to a handshake's response."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def serve_receivers(connection: Connection) -> None:
    """Serve a receiver of each kind over TLS; send their urls and the authority to trust.

    The question `arrivals` returns the time of each request, by kind and path, and clears them.
    """
    with ExitStack() as stack:
        receivers = {
            kind: stack.enter_context(Receiver(answer, tls=True, on_connect=_at_once))
            for kind, answer in KINDS.items()
        }
        urls = {kind: receiver.url for kind, receiver in receivers.items()}
        connection.send({"urls": urls, "authority": authority().pem})
        while connection.recv() != "stop":
            arrivals = {}
            for kind, receiver in receivers.items():
                taken, receiver.requests[:] = list(receiver.requests), []
                arrivals[kind] = [(request.path, request.received_at) for request in taken]
            connection.send(arrivals)


class _Aws:
    """The dispatcher's few operations of AWS, and a queue of messages.

    moto takes several milliseconds for a request, which would hide the dispatcher's own time.
    """

    def __init__(self, urls: Sequence[str]) -> None:
        self._items = [
            webhook_items.webhook_item(
                samples.webhook(number, url=url, events=("*",)), samples.SECRET
            )
            for number, url in enumerate(urls, 1)
        ]
        self._messages: queue.SimpleQueue[str] = queue.SimpleQueue()
        answers: dict[str, dict[str, Any]] = {
            "Query": {"Items": self._items, "Count": len(self._items)},
            "BatchGetItem": {"Responses": {}, "UnprocessedKeys": {}},
            "BatchWriteItem": {"UnprocessedItems": {}},
            "PutItem": {},
            "UpdateItem": {"Attributes": {**self._items[0], "failures": {"N": "1"}}},
            "StartExecution": {"executionArn": "arn", "startDate": 0},
        }
        self._answers = {name: json.dumps(answer).encode() for name, answer in answers.items()}

    def answer(self, operation: str, body: bytes) -> bytes:
        """Return the response to a request."""
        if operation == "SendMessageBatch":
            return self._send(json.loads(body)["Entries"])
        if operation == "ReceiveMessage":
            return self._receive()
        if operation == "Query" and (b'":first"' in body or b"acc_warm" in body):
            return self._some(json.loads(body)["ExpressionAttributeValues"])
        return self._answers[operation]

    def _send(self, entries: list[dict[str, str]]) -> bytes:
        for entry in entries:
            self._messages.put(entry["MessageBody"])
        taken = [{"Id": one["Id"], "MessageId": "m", "MD5OfMessageBody": ""} for one in entries]
        return json.dumps({"Successful": taken}).encode()

    def _receive(self) -> bytes:
        """Return up to ten messages, as soon as there is one; none after a second."""
        bodies = []
        with contextlib.suppress(queue.Empty):
            bodies.append(self._messages.get(timeout=1.0))
            while len(bodies) < 10:
                bodies.append(self._messages.get_nowait())
        return json.dumps({"Messages": [{"Body": body} for body in bodies]}).encode()

    def _some(self, values: dict[str, dict[str, str]]) -> bytes:
        """Return a shard's webhooks; the account for warming up has only one."""
        found = self._items[:1]
        if ":first" in values:
            first, last = values[":first"]["S"], values[":last"]["S"]
            found = [one for one in self._items if first <= one["webhook_id"]["S"] <= last]
        return json.dumps({"Items": found, "Count": len(found)}).encode()


def serve_aws(connection: Connection, urls: Sequence[str]) -> None:
    """Serve AWS with a webhook for each url; send the endpoint."""
    aws = _Aws(urls)
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        threading.Thread(target=_accept, args=(listener, aws), daemon=True).start()
        connection.send(f"http://127.0.0.1:{listener.getsockname()[1]}")
        connection.recv()


def _accept(listener: socket.socket, aws: _Aws) -> None:
    while True:
        connection, _ = listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=_converse, args=(connection, aws), daemon=True).start()


def _converse(connection: socket.socket, aws: _Aws) -> None:
    with connection, connection.makefile("rb") as stream:
        while stream.readline():
            length, operation = 0, ""
            while (line := stream.readline()) not in {b"\r\n", b""}:
                name, _, value = line.partition(b":")
                if name.lower() == b"content-length":
                    length = int(value)
                elif name.lower() == b"x-amz-target":
                    operation = value.decode().strip().rpartition(".")[2]
            body = aws.answer(operation, stream.read(length))
            head = (
                "HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.0\r\n"
                f"Content-Length: {len(body)}\r\n\r\n"
            )
            connection.sendall(head.encode() + body)
