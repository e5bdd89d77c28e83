"""The requests of `webhooks listen --forward`, held against a delivery's, on the wire."""

from __future__ import annotations

import re
import socket
import threading
from dataclasses import replace
from typing import Any, cast

from cli.listening import Arrived, Forwarder
from support import samples
from support.receiver import local_sender
from support.service_fixture import ServiceFixture
from webhooks.domain.webhook import Destination, Secrets

OWN_HEADERS = {"x-team": "billing", "X-Key": "a=b"}
TARGET = "/a%2fb//c?x=%7e&y"
DELIVERY = samples.delivery()
SHOWN = {
    "id": DELIVERY.id,
    "event_id": DELIVERY.event_id,
    "event": DELIVERY.event_type,
    "status": "succeeded",
    "body": DELIVERY.body.decode(),
}


class Wire:
    """A port that accepts two requests and keeps their very bytes."""

    def __init__(self) -> None:
        self.server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.server.getsockname()[1]}{TARGET}"
        self.requests: list[bytes] = []
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        for _ in range(2):
            connection, _ = self.server.accept()
            with connection:
                request = b""
                while not request.endswith(DELIVERY.body):
                    request += connection.recv(65_536)
                self.requests.append(request)
                connection.sendall(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")

    def both(self) -> list[bytes]:
        """Return both requests without the parts that depend on the time of signing."""
        self._thread.join(10)
        self.server.close()
        return [re.sub(rb"(webhook-timestamp: |v1,)\S+", rb"\1", one) for one in self.requests]


def test_a_forwarded_delivery_is_a_delivery_byte_for_byte() -> None:
    wire = Wire()
    forwarder = Forwarder(wire.url, samples.SECRET, OWN_HEADERS)
    assert forwarder.forward(Arrived(DELIVERY.webhook_id, SHOWN)).status == 204
    forwarder.close()

    sender = local_sender()
    services = ServiceFixture(sender=cast("Any", sender))
    webhook = replace(samples.webhook(), url=wire.url, headers=OWN_HEADERS)
    destination = Destination(webhook, Secrets(current=samples.SECRET))
    services.deliverer.attempt(destination, replace(DELIVERY, attempts=()))
    sender.close()

    forwarded, delivered = wire.both()
    assert forwarded == delivered
    assert forwarded.startswith(f"POST {TARGET} HTTP/1.1\r\n".encode())
    assert b"\r\nx-team: billing\r\nX-Key: a=b\r\n" in forwarded


def test_an_erased_delivery_is_not_forwarded() -> None:
    forwarder = Forwarder("http://127.0.0.1:1/", None)
    erased = {name: value for name, value in SHOWN.items() if name != "body"}
    forwarded = forwarder.forward(Arrived(DELIVERY.webhook_id, erased))
    assert (forwarded.status, forwarded.problem) == (None, "its payload was erased")
