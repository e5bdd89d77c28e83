"""The sender's address guard, by the published vectors: its look-ups and its connections.

The resolver and `connect` are stubbed: public numbers lead to a receiver on loopback, and a
connection to anything else fails the test.
"""

from __future__ import annotations

import errno
import json
import socket
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from support.certificates import authority, client_context, server_context
from support.hostile import says
from support.receiver import Answer, Raw, Receiver
from webhooks.adapters.http import dialer
from webhooks.adapters.http.connection import new_ssl_context
from webhooks.adapters.http.sender import GuardedSender
from webhooks.domain.delivery import FailureReason, Outcome
from webhooks.domain.errors import UnavailableError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

VECTORS = json.loads((Path(__file__).parents[2] / "data" / "ssrf.json").read_text())["vectors"]
URL = "https://hook.example.com/h"
ADDRESS = "93.184.216.34"


def vectors(kind: str) -> list[Any]:
    return [pytest.param(v, id=v["id"]) for v in VECTORS if v["kind"] == kind]


class Network:
    """A resolver that gives `answers` one after the other; every number leads to one receiver."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, *answers: Any, tls: bool | ssl.SSLContext = True
    ) -> None:
        self.answers = list(answers)
        self.look_ups: list[str] = []
        self.connects: list[str] = []
        self.refused: set[str] = set()
        self.receiver = Receiver(Answer(headers={"Connection": "close"}), tls=tls)
        real_connect = socket.socket.connect

        def connect(connection: socket.socket, address: Any) -> None:
            self.connects.append(address[0])
            if address[0] in self.refused:
                raise ConnectionRefusedError(errno.ECONNREFUSED, "refused")
            real_connect(connection, ("127.0.0.1", self.receiver.port))

        monkeypatch.setattr(socket, "getaddrinfo", self._getaddrinfo)
        monkeypatch.setattr(socket.socket, "connect", connect)

    def _getaddrinfo(self, host: bytes, port: int, *_: Any) -> list[Any]:
        self.look_ups.append(host.decode())
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, dict):
            raise socket.gaierror(getattr(socket, answer["error"]), "as the vector says")
        if isinstance(answer, Exception):
            raise answer
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (address, port, 0, 0))
            if ":" in address
            else (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
            for address in answer
        ]


@contextmanager
def sender() -> Iterator[GuardedSender]:
    guarded = GuardedSender(ssl_context=client_context())
    yield guarded
    guarded.close()


def post(network: Network, url: str = URL) -> Outcome:
    with network.receiver, sender() as guarded:
        return guarded.post(url, b"{}", {})


@pytest.mark.parametrize("vector", vectors("dns"))
def test_a_resolvers_answer_is_judged_as_published(
    vector: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    network = Network(monkeypatch, vector["input"]["answers"])
    outcome = post(network, vector["input"]["url"])
    assert outcome.succeeded == (vector["expected"] == "accept"), vector["why"]
    assert len(network.look_ups) == 1
    assert set(network.connects) <= set(vector.get("connect_to", []))
    if not outcome.succeeded:
        unresolved = vector["id"] in {"dns-022", "dns-024", "dns-025"}
        assert outcome.error == (FailureReason.DNS if unresolved else FailureReason.BLOCKED_ADDRESS)
        assert outcome.status_code is None
        assert outcome.response_body == ""
        assert network.connects == []


@pytest.mark.parametrize("vector", vectors("dns_sequence"))
def test_a_name_that_changes_its_answer_gains_nothing(
    vector: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    network = Network(monkeypatch, *vector["input"]["answers_by_lookup"])
    retries = 1 if vector.get("lookup_2_is") == "a later retry" else 0
    with network.receiver, sender() as guarded:
        for _ in range(retries):
            assert guarded.post(URL, b"{}", {}).succeeded
        outcome = guarded.post(URL, b"{}", {})
    assert outcome.succeeded == (vector["expected"] == "accept"), vector["why"]
    assert len(network.look_ups) == 1 + retries
    assert network.connects == vector["expected_connects"]


@pytest.mark.parametrize("vector", vectors("env"))
def test_the_environment_changes_nothing(
    vector: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evil.pem").write_text("not a certificate")
    (tmp_path / "netrc").write_text("machine hook.example.com login eve password secret")
    for name, value in vector["input"]["env"].items():
        monkeypatch.setenv(name, value)
    network = Network(monkeypatch, [ADDRESS])
    outcome = post(network, vector["input"]["url"])
    assert outcome.succeeded, vector["why"]
    assert network.connects == [ADDRESS]
    (request,) = network.receiver.requests
    assert request.headers["host"] == "hook.example.com"
    assert "authorization" not in request.headers
    assert not (tmp_path / "keys").exists()


@pytest.mark.parametrize("name", ["SSLKEYLOGFILE", "SSL_CERT_FILE"])
def test_the_senders_own_tls_context_heeds_no_environment(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(name, str(tmp_path / "file"))
    network = Network(monkeypatch, [ADDRESS])
    guarded = GuardedSender()
    with network.receiver:
        outcome = guarded.post(URL, b"{}", {})
    guarded.close()
    assert outcome.error == FailureReason.TLS
    assert not (tmp_path / "file").exists()


@pytest.mark.parametrize(
    ("only_common_name", "error"), [(True, FailureReason.TLS), (False, None)], ids=["CN", "SAN"]
)
def test_a_common_name_proves_nothing(
    only_common_name: bool, error: FailureReason | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = server_context(("hook.example.com",), only_common_name=only_common_name)
    network = Network(monkeypatch, [ADDRESS], tls=named)
    context = new_ssl_context()
    context.load_verify_locations(cadata=authority().pem)
    guarded = GuardedSender(ssl_context=context)
    with network.receiver:
        assert guarded.post(URL, b"{}", {}).error is error
    guarded.close()


@pytest.mark.parametrize("vector", vectors("redirect"))
def test_a_redirect_is_judged_by_its_status_and_never_followed(
    vector: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = vector["input"]
    headers = dict(given.get("headers", {}))
    if given.get("location") is not None:
        headers["Location"] = given["location"]
    answer = Answer(given["status"], {**headers, "Connection": "close"})
    network = Network(monkeypatch, [ADDRESS])
    network.receiver.answer_with(Raw(says(answer.encode())))
    outcome = post(network)
    assert outcome.succeeded == (vector["expected"] == "accept"), vector["why"]
    assert outcome.status_code == given["status"]
    assert outcome.error in {None, FailureReason.HTTP_STATUS}
    assert network.connects == [ADDRESS]
    assert len(network.receiver.requests) == 1
    assert "authorization" not in network.receiver.requests[0].headers


@pytest.mark.parametrize("url", ["http://example.com/", "https://127.0.0.1/", "https://[::1]/x"])
def test_a_url_is_checked_again_at_every_post(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    network = Network(monkeypatch, [ADDRESS])
    assert post(network, url) == Outcome(error=FailureReason.BLOCKED_ADDRESS)
    assert network.look_ups == []
    assert network.connects == []


def test_a_second_address_is_tried_where_the_first_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    network = Network(monkeypatch, [ADDRESS, ADDRESS, "8.8.8.8", "1.1.1.1"])
    network.refused = {ADDRESS}
    assert post(network).succeeded
    assert network.connects == [ADDRESS, "8.8.8.8"]


def test_no_more_than_two_addresses_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    network = Network(monkeypatch, [ADDRESS, "8.8.8.8", "1.1.1.1"])
    network.refused = {ADDRESS, "8.8.8.8", "1.1.1.1"}
    assert post(network).error == FailureReason.CONNECTION
    assert network.connects == [ADDRESS, "8.8.8.8"]


def test_an_empty_answer_is_a_dns_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    assert post(Network(monkeypatch, [])).error == FailureReason.DNS


def test_a_silent_resolver_costs_no_more_than_its_cap(monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()
    network = Network(monkeypatch, [ADDRESS])
    monkeypatch.setattr(dialer, "LOOK_UP_SECONDS", 0.1)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: released.wait(30) and [])
    outcome = post(network)
    released.set()
    assert outcome.error == FailureReason.DNS
    assert 100 <= outcome.duration_ms < 5000


@pytest.mark.parametrize(
    "failure",
    [
        socket.gaierror(socket.EAI_MEMORY, "memory"),
        socket.gaierror(socket.EAI_SYSTEM, "system"),
        OSError(errno.EMFILE, "too many open files"),
    ],
)
def test_our_own_resolvers_trouble_is_not_the_receivers_failure(
    failure: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = Network(monkeypatch, failure)
    with pytest.raises(UnavailableError) as caught:
        post(network)
    assert "example" not in str(caught.value)
    assert network.connects == []


def test_running_out_of_sockets_is_not_the_receivers_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network = Network(monkeypatch, [ADDRESS])

    def connect(*_: Any) -> None:
        raise OSError(errno.EMFILE, "too many open files")

    monkeypatch.setattr(socket.socket, "connect", connect)
    with pytest.raises(UnavailableError):
        post(network)


def test_running_out_of_look_ups_is_not_the_receivers_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network = Network(monkeypatch, [ADDRESS])
    monkeypatch.setattr(dialer, "MAX_LOOK_UPS", 0)
    with pytest.raises(UnavailableError):
        post(network)
    assert network.look_ups == []
