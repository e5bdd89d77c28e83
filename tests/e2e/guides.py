"""The programs in docs/receivers: found, set up the reader's way, and run."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import socket
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from e2e.libraries import LIBRARY, bring, link_node_packages
from support.program import Program
from support.slowness import seconds
from support.stack import ROOT, call, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

PATH = "/webhooks/sendcomms"


@dataclass(frozen=True)
class Language:
    """The way to run a page's programs: the file, the command and the build."""

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
        # Displayed warnings go out before the status, and with them a 200.
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
    """One program of a page, and the version of Express that it gets if it asks for one."""

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
        """Whether it leaves the verification to the Standard Webhooks library."""
        return LIBRARY.search(self.code) is not None

    @property
    def missing(self) -> str | None:
        """Return the program's requirements that this machine lacks."""
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
        """Send it a request that a stranger could send; returns the answer's status."""
        return call(self.url, "POST", PATH, headers=headers, body=body).status

    def is_listening(self) -> bool:
        assert self.program.process.poll() is None, self.printed
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


def framework_programs() -> tuple[str, dict[str, str]]:
    """Return the first module of the frameworks' page, and each framework's program."""
    page = ROOT / "docs" / "receivers" / "node-frameworks.md"
    module, *sections = re.split(r"^## ", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    [genuine] = re.findall(r"^```js\n(.*?)^```$", module, re.M | re.S)
    programs = {}
    for section in sections:
        [code] = re.findall(r"^```(?:js|ts)\n(.*?)^```$", section, re.M | re.S)
        programs[section.partition("\n")[0]] = code
    return genuine, programs


@contextmanager
def serving(command: Sequence[str], directory: Path, secret: str) -> Iterator[Running]:
    """Run a program with a secret and a port of its own until the block ends."""
    port = free_port()
    words = [word.format(port=port) for word in command]
    environment = {**os.environ, "WEBHOOK_SECRET": secret, "PORT": str(port)}
    with Program(*words, cwd=directory, environment=environment) as program:
        running = Running(program, port)
        eventually(running.is_listening, f"{command[0]} in {directory.name} listens", timeout=60)
        yield running


def set_up(guide: Guide, directory: Path, code: str) -> str | None:
    """Put a program, which may be changed `code` of the guide, where it can run.

    Return the requirements that this machine lacks, if any. The packages of Node.js are installed
    before.
    """
    if guide.missing:
        return guide.missing
    language = LANGUAGES[guide.language]
    (directory / language.file).write_text(code, encoding="utf-8")
    if guide.language == "js" and not (directory / "node_modules").exists():
        link_node_packages(directory / "node_modules", guide.express)
    if guide.with_library and (missing := bring(guide.language, directory)):
        return missing
    if language.build:
        subprocess.run(language.build, cwd=directory, check=True, timeout=seconds(100))
    return None


@contextmanager
def listening(guide: Guide, directory: Path, secret: str) -> Iterator[Running]:
    """Run a program that is set up, with a secret, until the block ends."""
    with serving(LANGUAGES[guide.language].command, directory, secret) as running:
        yield running


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
