"""Fixtures that several of these files need."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import requests

    from support.http_api import ApiOnFakes
    from unit.cli.api_wire import Wire

# The fixtures import the API for themselves: most files here need none of it.


@pytest.fixture
def on_fakes() -> ApiOnFakes:
    from support import samples
    from support.http_api import ApiOnFakes
    from unit.cli.api_wire import WEBHOOK
    from webhooks.domain.webhook import Secrets

    on_fakes = ApiOnFakes(addresses={"hooks.example.com": ["93.184.216.34"]})
    on_fakes.webhooks.add(WEBHOOK, Secrets(samples.SECRET))
    return on_fakes


@pytest.fixture
def wire(on_fakes: ApiOnFakes, monkeypatch: pytest.MonkeyPatch) -> Wire:
    import requests

    from cli import client
    from unit.cli.api_wire import API_URL, Wire

    wire = Wire(on_fakes, requests.Session.request)

    def request(session: requests.Session, method: str, url: str, **options: Any) -> Any:
        return wire.request(session, method, url, **options)

    monkeypatch.setattr(requests.Session, "request", request)
    monkeypatch.setenv(client.URL_VARIABLE, API_URL)
    monkeypatch.setenv(client.KEY_VARIABLE, on_fakes.acme.key)
    return wire
