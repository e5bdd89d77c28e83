"""Each program in docs/receivers, run as its reader does, on real deliveries and on forgeries."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from e2e.libraries import LIBRARY, bring, link_node_packages
from support.program import Program
from support.samples import SECRET
from support.stack import ROOT, call, eventually
from webhooks.domain.signing import standard_signature

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.receiver import Receiver, Request
    from support.stack import Account

PATH = "/webhooks/sendcomms"
ELEVEN_MINUTES = 11 * 60
STRANGE = {"to": "zoë@example.com", "subject": "Zürich, 東京 </script>", "count": 1.0}
"""Data on which a receiver fails that verifies anything but the bytes as they came."""


@dataclass(frozen=True)
class Language:
    """How a page's programs are run: as which file, with what, after which build."""

    file: str
    programs: tuple[str, ...]
    command: tuple[str, ...]
    build: tuple[str, ...] = ()


LANGUAGES = {
    "js": Language("receiver.js", ("node", "npm"), ("node", "receiver.js")),
    "python": Language("receiver.py", (), (sys.executable, "receiver.py")),
    "go": Language(
        # `go run` does the same, but leaves its program behind when it is killed.
        "receiver.go",
        ("go",),
        ("./receiver",),
        build=("go", "build", "-o", "receiver", "receiver.go"),
    ),
    "php": Language(
        "receiver.php",
        ("php",),
        # Warnings that are shown go out before the status, and with them a 200.
        ("php", "-d", "display_errors=1", "-S", "127.0.0.1:{port}", "receiver.php"),
    ),
    "ruby": Language(
        "config.ru",
        ("ruby", "rackup"),
        ("rackup", "--host", "127.0.0.1", "--port", "{port}"),
    ),
    "java": Language(
        "Receiver.java",
        ("java", "javac"),
        ("java", "--class-path", "libraries/*", "Receiver.java"),
    ),
}
PAGES = ("node", "python", "go", "php", "ruby", "java")


@dataclass(frozen=True)
class Guide:
    """One program of a page, and the version of Express that it gets where it asks for one."""

    page: str
    heading: str
    language: str
    code: str
    express: str = ""

    @property
    def name(self) -> str:
        return ", ".join(filter(None, [self.page, self.heading, self.express]))

    @property
    def with_library(self) -> bool:
        """Whether it leaves the verifying to the Standard Webhooks library."""
        return LIBRARY.search(self.code) is not None

    @property
    def missing(self) -> str | None:
        """Say what this machine does not have and the program needs."""
        for program in LANGUAGES[self.language].programs:
            if not shutil.which(program):
                return f"{program} is not on the PATH"
        if self.language == "python":
            for module in re.findall(r"^(?:from|import) (\w+)", self.code, re.MULTILINE):
                if importlib.util.find_spec(module) is None:
                    return f"the package {module} is not installed"
        return None


def guides() -> Iterator[Guide]:
    """Find every program of every page, by the headings above them."""
    for page in PAGES:
        text = (ROOT / "docs" / "receivers" / f"{page}.md").read_text(encoding="utf-8")
        for section in re.split(r"^## ", text, flags=re.MULTILINE):
            heading = section.partition("\n")[0].lstrip("# ")
            for language, code in re.findall(r"^```(\w+)\n(.*?)^```$", section, re.M | re.S):
                if language != "text":
                    versions = ("express4", "express5") if "require('express')" in code else ("",)
                    for express in versions:
                        yield Guide(page, heading, language, code, express)


GUIDES = list(guides())


@dataclass(frozen=True)
class Running:
    """A guide's program, listening."""

    program: Program
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def printed(self) -> str:
        return f"{self.program.output}\n{self.program.errors}"

    def status(self, headers: dict[str, str], body: bytes) -> int:
        """Send it a request as a stranger could; returns what it answered."""
        return call(self.url, "POST", PATH, headers=headers, body=body).status

    def is_listening(self) -> bool:
        assert self.program.process.poll() is None, self.printed
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


@pytest.fixture
def running(guide: Guide, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Running]:
    if guide.missing:
        pytest.skip(guide.missing)
    language = LANGUAGES[guide.language]
    (tmp_path / language.file).write_text(guide.code, encoding="utf-8")
    if guide.language == "js":
        request.getfixturevalue("node_packages")
        link_node_packages(tmp_path / "node_modules", guide.express)
    if guide.with_library and (missing := bring(guide.language, tmp_path)):
        pytest.skip(missing)
    if language.build:
        subprocess.run(language.build, cwd=tmp_path, check=True, timeout=100)
    port = free_port()
    command = [word.format(port=port) for word in language.command]
    environment = {**os.environ, "WEBHOOK_SECRET": SECRET, "PORT": str(port)}
    with Program(*command, cwd=tmp_path, environment=environment) as program:
        running = Running(program, port)
        eventually(running.is_listening, f"{guide.name} listens", timeout=60)
        yield running


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def sent_headers(delivery: Request) -> dict[str, str]:
    """The headers of a delivery, but for those that belong to its connection."""
    of_connection = {"host", "content-length", "connection", "accept-encoding"}
    return {name: text for name, text in delivery.headers.items() if name not in of_connection}


def dated(delivery: Request, seconds: int) -> dict[str, str]:
    """Sign a delivery as genuinely as it was, at another time."""
    event_id = delivery.headers["webhook-id"]
    timestamp = int(delivery.headers["webhook-timestamp"]) + seconds
    return {
        "webhook-timestamp": str(timestamp),
        "webhook-signature": standard_signature(SECRET, event_id, timestamp, delivery.body),
    }


def test_every_page_has_a_program_in_its_own_language() -> None:
    of_page = {page: {guide.language for guide in GUIDES if guide.page == page} for page in PAGES}

    assert of_page == {page: {"js" if page == "node" else page} for page in PAGES}
    assert {path.stem for path in (ROOT / "docs" / "receivers").glob("*.md")} == set(PAGES)


@pytest.mark.parametrize("page", PAGES)
def test_every_page_shows_the_contracts_header_and_the_library(page: str) -> None:
    shown = {guide.with_library for guide in GUIDES if guide.page == page}

    assert shown == {True, False}


@pytest.mark.parametrize("guide", [pytest.param(guide, id=guide.name) for guide in GUIDES])
def test_a_guides_program_takes_a_genuine_delivery_and_refuses_any_other(
    guide: Guide, running: Running, account: Account, receiver: Receiver
) -> None:
    webhook = account.register(f"{running.url}{PATH}", secret=SECRET)
    # A second webhook with the same secret shows what is on the wire, for forgeries of it.
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
    # After all of it, it still knows a genuine one.
    assert running.status(headers, delivery.body) == 200
