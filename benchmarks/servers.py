"""What the dispatcher talks to while it is measured: AWS that answers at once, and receivers."""

from __future__ import annotations

import itertools
import json
import socket
import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from support import samples
from support.certificates import authority
from support.hostile import drips, silent
from support.receiver import Answer, Raw, Receiver
from webhooks.adapters import items

if TYPE_CHECKING:
    from collections.abc import Sequence
    from multiprocessing.connection import Connection

    from support.receiver import Request, Script

SLOW_SECONDS = 0.1
"""What a receiver takes that is not on this machine: assumed."""


def _slowly(_: Request) -> Answer:
    time.sleep(SLOW_SECONDS)
    return Answer(headers={"Connection": "close"})


KINDS: dict[str, Script] = {
    "fresh": Answer(headers={"Connection": "close"}),
    "kept": Answer(),
    "slow": _slowly,
    "hanging": Raw(silent()),
    "dripping": Raw(drips(b"HTTP/1.1 200 OK\r\nX-Drip: ", itertools.repeat(b"."))),
}


def _at_once(connection: socket.socket, _: threading.Event) -> None:
    """Send each part as it comes; waiting for more would add 40 ms to a handshake's answer."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def serve_receivers(connection: Connection) -> None:
    """Serve a receiver of each kind over TLS; says their urls and the authority to trust.

    Asked for `arrivals`, it says when each request came, by kind and path, and forgets them.
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


def serve_aws(connection: Connection, urls: Sequence[str]) -> None:
    """Serve the few operations of the dispatcher, with a webhook for each url; says the endpoint.

    moto takes several milliseconds for a request, which would hide what the dispatcher takes.
    """
    webhooks = [
        items.webhook_item(samples.webhook(number, url=url, events=("*",)), samples.SECRET)
        for number, url in enumerate(urls, 1)
    ]
    health = {**webhooks[0], "failures": {"N": "1"}}
    answers: dict[str, dict[str, Any]] = {
        "Query": {"Items": webhooks, "Count": len(webhooks)},
        "BatchGetItem": {"Responses": {}, "UnprocessedKeys": {}},
        "BatchWriteItem": {"UnprocessedItems": {}},
        "PutItem": {},
        "UpdateItem": {"Attributes": health},
        "StartExecution": {"executionArn": "arn", "startDate": 0},
    }
    encoded = {operation: json.dumps(answer).encode() for operation, answer in answers.items()}
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        threading.Thread(target=_accept, args=(listener, encoded), daemon=True).start()
        connection.send(f"http://127.0.0.1:{listener.getsockname()[1]}")
        connection.recv()


def _accept(listener: socket.socket, answers: dict[str, bytes]) -> None:
    while True:
        connection, _ = listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=_converse, args=(connection, answers), daemon=True).start()


def _converse(connection: socket.socket, answers: dict[str, bytes]) -> None:
    with connection, connection.makefile("rb") as stream:
        while stream.readline():
            length, operation = 0, ""
            while (line := stream.readline()) not in {b"\r\n", b""}:
                name, _, value = line.partition(b":")
                if name.lower() == b"content-length":
                    length = int(value)
                elif name.lower() == b"x-amz-target":
                    operation = value.decode().strip().rpartition(".")[2]
            stream.read(length)
            body = answers[operation]
            head = (
                "HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.0\r\n"
                f"Content-Length: {len(body)}\r\n\r\n"
            )
            connection.sendall(head.encode() + body)
