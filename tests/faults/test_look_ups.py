"""Rows 43 to 45: accepted certificates, answers of a name server, forbidden addresses."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest

from support.certificates import client_context, server_context
from support.receiver import Answer, local_sender
from webhooks.adapters.http.sender import GuardedSender
from webhooks.domain.delivery import FailureReason, Status
from webhooks.wiring.dispatcher import DispatcherServices
from webhooks.wiring.worker import WorkerServices

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator

    from faults.fault_harness import Tenant
    from support.receiver import Receiver

    MakeReceiver = Callable[..., Receiver]

HOST = "hook.example.com"
PUBLIC = "93.184.216.34"


class NameServer:
    """Answers for one name; all others, such as AWS's endpoint here, are looked up as usual."""

    def __init__(self) -> None:
        self.answer: Any = []
        self.asked = 0
        self.released = threading.Event()
        self._real = socket.getaddrinfo

    def __call__(self, host: Any, port: int, *arguments: Any, **options: Any) -> Any:
        if host not in {HOST, HOST.encode()}:
            return self._real(host, port, *arguments, **options)
        self.asked += 1
        if self.answer == "silence":
            self.released.wait(10)
            raise socket.gaierror(socket.EAI_AGAIN, "too late")
        if isinstance(self.answer, Exception):
            raise self.answer
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in self.answer
        ]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[NameServer]:
    server = NameServer()
    monkeypatch.setattr(socket, "getaddrinfo", server)
    yield server
    server.released.set()


def url_of(hook: Receiver) -> str:
    return hook.url.replace("127.0.0.1", HOST)


@pytest.mark.parametrize(
    ("name", "error"), [(HOST, None), ("127.0.0.1", FailureReason.TLS), (PUBLIC, FailureReason.TLS)]
)
def test_row_43_a_certificate_is_held_against_the_urls_name_and_not_its_address(
    tenant: Tenant,
    receiver: MakeReceiver,
    names: NameServer,
    name: str,
    error: FailureReason | None,
) -> None:
    asked_for: list[str | None] = []

    def note(_connection: ssl.SSLObject, asked: str | None, _context: ssl.SSLContext) -> None:
        asked_for.append(asked)

    context = server_context((name,))
    context.sni_callback = note
    hook = receiver(tls=context)
    names.answer = ["127.0.0.1"]
    tenant.webhook(url_of(hook))
    assert tenant.dispatch(tenant.message()) == []
    [attempt] = tenant.delivery().attempts
    assert (attempt.error, attempt.status_code) == (error, None if error else 200)
    assert asked_for == [HOST]
    assert len(hook.requests) == (0 if error else 1)


@pytest.mark.parametrize(
    "answer",
    [
        socket.gaierror(socket.EAI_NONAME, "NXDOMAIN"),
        socket.gaierror(socket.EAI_AGAIN, "SERVFAIL"),
        "silence",
        [],
    ],
    ids=["NXDOMAIN", "SERVFAIL", "silence", "empty answer"],
)
def test_row_44_a_name_that_is_not_found_is_a_failed_attempt(
    tenant: Tenant, receiver: MakeReceiver, names: NameServer, answer: Any
) -> None:
    hook = receiver(tls=True)
    names.answer = answer
    tenant.webhook(url_of(hook))
    assert tenant.dispatch(tenant.message()) == []
    [attempt] = tenant.delivery().attempts
    assert attempt.error is FailureReason.DNS
    # Two seconds for the look-up, and the extra time of a busy machine.
    assert (2000 if answer == "silence" else 0) <= attempt.duration_ms < 3500
    assert tenant.delivery().status is Status.RETRYING
    assert len(tenant.executions()) == 1
    assert hook.connections == 0


@pytest.mark.parametrize("refusing", [False, True])
def test_row_44_of_fifty_answers_no_more_than_two_are_tried(
    tenant: Tenant,
    receiver: MakeReceiver,
    names: NameServer,
    monkeypatch: pytest.MonkeyPatch,
    refusing: bool,
) -> None:
    hook = receiver(tls=True)
    names.answer = [f"127.0.0.{number}" for number in range(101, 151)]
    tried: list[str] = []
    connect = socket.socket.connect

    def led_to_the_receiver(connection: socket.socket, address: Any) -> None:
        if address[0] not in names.answer:
            return connect(connection, address)
        tried.append(address[0])
        if refusing:
            raise ConnectionRefusedError
        return connect(connection, ("127.0.0.1", hook.port))

    monkeypatch.setattr(socket.socket, "connect", led_to_the_receiver)
    tenant.webhook(url_of(hook))
    assert tenant.dispatch(tenant.message()) == []
    [attempt] = tenant.delivery().attempts
    assert attempt.error is (FailureReason.CONNECTION if refusing else None)
    assert len(tried) == (2 if refusing else 1)


@pytest.mark.parametrize(
    "failure",
    [socket.gaierror(socket.EAI_SYSTEM, "system"), socket.gaierror(socket.EAI_MEMORY, "memory")],
    ids=["system", "memory"],
)
def test_row_44_our_own_resolvers_trouble_is_not_charged_to_the_customer(
    tenant: Tenant, receiver: MakeReceiver, names: NameServer, failure: Exception
) -> None:
    hook = receiver(tls=True)
    names.answer = failure
    tenant.webhook(url_of(hook))
    assert tenant.dispatch(tenant.message()) == ["m0"]
    assert tenant.deliveries() == []
    assert tenant.health().health.failures == 0

    names.answer = ["127.0.0.1"]
    assert tenant.dispatch(tenant.message()) == []
    [attempt] = tenant.delivery().attempts
    assert (attempt.number, attempt.error) == (1, None)


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "10.0.0.7", "169.254.169.254", "100.64.0.1", "192.168.1.1"]
)
def test_row_45_a_name_that_now_leads_to_a_private_address_is_refused(
    tenant: Tenant,
    receiver: MakeReceiver,
    names: NameServer,
    monkeypatch: pytest.MonkeyPatch,
    address: str,
) -> None:
    hook = receiver(Answer(500, {"Connection": "close"}), tls=True)
    connects: list[str] = []
    connect = socket.socket.connect

    def led_to_the_receiver(connection: socket.socket, where: Any) -> None:
        if where[0] == "127.0.0.1" and where[1] != hook.port:
            return connect(connection, where)
        connects.append(where[0])
        return connect(connection, ("127.0.0.1", hook.port))

    monkeypatch.setattr(socket.socket, "connect", led_to_the_receiver)
    worker_services = tenant.harness.fresh(WorkerServices)
    # The rule of every deployed function.
    worker_services._sender = GuardedSender(ssl_context=client_context())
    dispatcher = tenant.harness.fresh(DispatcherServices)
    dispatcher._sender = local_sender()
    tenant.webhook(url_of(hook))
    names.answer = [PUBLIC]
    assert tenant.dispatch(tenant.message(), services=dispatcher) == []
    assert len(hook.requests) == 1

    before = len(connects)
    names.answer = [PUBLIC, address]
    assert tenant.retry(services=worker_services)["decision"] == "wait"
    second = tenant.delivery().attempts[1]
    assert second.error is FailureReason.BLOCKED_ADDRESS
    # The text is the same for every answer there, and holds nothing of the address.
    assert (second.status_code, second.response_body) == (None, "")
    assert len(connects) == before
    assert len(hook.requests) == 1
    assert address not in tenant.log.text
