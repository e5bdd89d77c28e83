"""Each program in docs/receivers, run the reader's way, on real deliveries and on forgeries."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from e2e.guides import GUIDES, PAGES, PATH, listening, set_up
from support.samples import SECRET
from support.stack import ROOT, eventually
from webhooks.domain.signing import standard_signature

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from e2e.guides import Guide, Running
    from support.receiver import Receiver, Request
    from support.stack import Account

ELEVEN_MINUTES = 11 * 60
STRANGE = {"to": "zoë@example.com", "subject": "Zürich, 東京 </script>", "count": 1.0}
"""Data on which a receiver fails if it verifies anything but the received bytes."""


@pytest.fixture
def running(guide: Guide, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Running]:
    if guide.language == "js" and not guide.missing:
        request.getfixturevalue("node_packages")
    if missing := set_up(guide, tmp_path, guide.code):
        pytest.skip(missing)
    with listening(guide, tmp_path, SECRET) as running:
        yield running


def sent_headers(delivery: Request) -> dict[str, str]:
    """The headers of a delivery without the headers of its connection."""
    of_connection = {"host", "content-length", "connection", "accept-encoding"}
    return {name: text for name, text in delivery.headers.items() if name not in of_connection}


def dated(delivery: Request, seconds: int) -> dict[str, str]:
    """Sign a delivery genuinely, at another time."""
    event_id = delivery.headers["webhook-id"]
    timestamp = int(delivery.headers["webhook-timestamp"]) + seconds
    return {
        "webhook-timestamp": str(timestamp),
        "webhook-signature": standard_signature(SECRET, event_id, timestamp, delivery.body),
    }


def test_every_page_has_a_program_in_its_own_language() -> None:
    of_page = {page: {guide.language for guide in GUIDES if guide.page == page} for page in PAGES}

    assert of_page == {page: {"js" if page == "node" else page} for page in PAGES}
    pages = {path.stem for path in (ROOT / "docs" / "receivers").glob("*.md")}
    assert pages == {*PAGES, "node-frameworks"}


@pytest.mark.parametrize("page", PAGES)
def test_every_page_shows_the_contracts_header_and_the_library(page: str) -> None:
    shown = {guide.with_library for guide in GUIDES if guide.page == page}

    assert shown == {True, False}


@pytest.mark.parametrize("guide", [pytest.param(guide, id=guide.name) for guide in GUIDES])
def test_a_guides_program_takes_a_genuine_delivery_and_refuses_any_other(
    guide: Guide, running: Running, account: Account, receiver: Receiver
) -> None:
    webhook = account.register(f"{running.url}{PATH}", secret=SECRET)
    # A second webhook with the same secret shows the bytes on the wire, for forgeries of them.
    account.register(receiver.url, secret=SECRET)
    account.publish(data=STRANGE)
    [delivery] = receiver.wait_for(1)
    listing = f"/api/v1/webhooks/{webhook['id']}/deliveries?status=succeeded"
    [delivered] = eventually(lambda: account.call("GET", listing).data, f"{guide.name} takes it")
    event_id = delivery.headers["webhook-id"]
    assert delivered["attempt_count"] == 1
    eventually(lambda: event_id in running.printed, "the program works on the event")

    headers = sent_headers(delivery)
    assert running.status(headers, delivery.body) == 200  # a copy is as genuine as the first
    tampered = delivery.body.replace("zoë".encode(), b"eve")
    assert tampered != delivery.body
    assert running.status(headers, tampered) == 401
    assert running.status(headers, delivery.body + b" ") == 401
    unsigned = {name: text for name, text in headers.items() if not name.endswith("-signature")}
    assert running.status(unsigned, delivery.body) == 401
    for forged in ("", "sha256=", "v1,", "sha256=" + "0" * 64, "v1," + "A" * 43 + "=", "é" * 71):
        signatures = {"x-sendcomms-signature": forged, "webhook-signature": forged}
        assert running.status(unsigned | signatures, delivery.body) == 401, forged
    if guide.with_library:
        assert running.status(headers | dated(delivery, -ELEVEN_MINUTES), delivery.body) == 401
        assert running.status(headers | dated(delivery, ELEVEN_MINUTES), delivery.body) == 401
    # After all of it, it still accepts a genuine delivery.
    assert running.status(headers, delivery.body) == 200
