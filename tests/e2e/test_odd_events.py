"""The contract's receiver and the guides' in Express and Fastify, on odd events of every kind.

`make frameworks` tries the receivers in other frameworks.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from e2e.guides import GUIDES, PATH, framework_programs, listening, serving, set_up
from e2e.libraries import link_node_packages
from e2e.receivers import CONTRACT_SECRET
from support.odd_events import odd_events, ordinary_event
from support.samples import SECRET, delivery
from support.stack import call
from webhooks.domain.signing import delivery_headers

if TYPE_CHECKING:
    from pathlib import Path

    from e2e.guides import Guide, Running
    from e2e.receivers import ExpressReceiver

NODE = [guide for guide in GUIDES if guide.page == "node"]
pytestmark = pytest.mark.node


def refused(url: str, secret: str) -> list[str]:
    """Return the names of the odd events that a receiver refuses."""
    return [name for name, body in odd_events().items() if post(url, secret, body) != 200]


def post(url: str, secret: str, body: bytes, sent: bytes | None = None) -> int:
    """Send a body, or a substitute, as a delivery; returns the answer's status."""
    headers = delivery_headers(
        delivery(body=body),
        attempt_number=1,
        unix_seconds=int(time.time()),
        secrets=[secret],
        sendcomms_secret=secret,
    )
    return call(url, "POST", PATH, headers=headers, body=body if sent is None else sent).status


def assert_takes_every_event(running: Running) -> None:
    assert post(running.url, SECRET, ordinary_event()) == 200
    assert refused(running.url, SECRET) == []
    for body in (ordinary_event(), odd_events()["the key __proto__"]):
        assert post(running.url, SECRET, body, sent=body.replace(b"to", b"of", 1)) == 401
        assert post(running.url, "another secret", body) == 401


@pytest.mark.parametrize("version", ["express4", "express5"])
def test_the_contracts_receiver_takes_every_event(
    version: str, request: pytest.FixtureRequest
) -> None:
    receiver: ExpressReceiver = request.getfixturevalue(version)
    assert refused(receiver.url, CONTRACT_SECRET) == []


@pytest.mark.parametrize("guide", [pytest.param(guide, id=guide.name) for guide in NODE])
def test_the_guides_receiver_takes_every_event(
    guide: Guide, tmp_path: Path, node_packages: None
) -> None:
    assert set_up(guide, tmp_path, guide.code) is None
    with listening(guide, tmp_path, SECRET) as running:
        assert_takes_every_event(running)


def test_fastifys_receiver_takes_every_event(tmp_path: Path, node_packages: None) -> None:
    genuine, programs = framework_programs()
    (tmp_path / "genuine.mjs").write_text(genuine)
    (tmp_path / "receiver.mjs").write_text(programs["Fastify"])
    link_node_packages(tmp_path / "node_modules", "express5")
    with serving(["node", "receiver.mjs"], tmp_path, SECRET) as running:
        assert_takes_every_event(running)
