"""The look-up at registration: bounded, quiet, of both families."""

from __future__ import annotations

import socket
import threading
from typing import Any

import pytest

from webhooks.adapters.http import resolver


def answer(*addresses: str) -> Any:
    def getaddrinfo(host: bytes, port: None, **_: Any) -> list[tuple[Any, ...]]:
        assert host == b"hooks.acme.com"
        assert port is None
        return [(None, None, 6, "", (address, 0)) for address in addresses]

    return getaddrinfo


def test_all_addresses_of_a_name_are_returned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", answer("93.184.216.34", "2606:2800:21f::1"))
    assert resolver.resolve("hooks.acme.com") == ["93.184.216.34", "2606:2800:21f::1"]


@pytest.mark.parametrize("error", [socket.gaierror(socket.EAI_NONAME), OSError(24)])
def test_a_name_that_cannot_be_looked_up_has_no_addresses(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise error

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    assert list(resolver.resolve("hooks.acme.com")) == []


def test_a_name_outside_of_ascii_has_no_addresses() -> None:
    assert list(resolver.resolve("höoks.acme.com")) == []


def test_a_silent_name_server_does_not_hold_the_caller_up(monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()

    def wait(*_: Any, **__: Any) -> list[Any]:
        released.wait(30)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", wait)
    monkeypatch.setattr(resolver, "LOOK_UP_SECONDS", 0.01)
    assert list(resolver.resolve("hooks.acme.com")) == []
    assert not released.is_set()
    released.set()
