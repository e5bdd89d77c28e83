"""One local stack for all tests, accounts in it, and receivers."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from e2e.receivers import NODE, ExpressReceiver, StandardReceiver
from support.receiver import Receiver
from support.stack import Account, Stack, checkout

if TYPE_CHECKING:
    from collections.abc import Iterator

RETRY_SCHEDULE = "1,1,1"
RECOVERY_SCHEDULE = "1"


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("node") and not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("Node.js is not on the PATH")


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    directory = checkout(tmp_path_factory.mktemp("checkout"))
    schedules = {"RETRY_SCHEDULE": RETRY_SCHEDULE, "RECOVERY_SCHEDULE": RECOVERY_SCHEDULE}
    with Stack(directory, **schedules) as stack:
        yield stack


@pytest.fixture
def account(stack: Stack) -> Account:
    """An account that no other test uses."""
    return stack.account(f"acc_{uuid4().hex}")


@pytest.fixture
def other_account(stack: Stack) -> Account:
    return stack.account(f"acc_{uuid4().hex}")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture(scope="session")
def node_packages() -> None:
    """Install the locked packages, unless they are."""
    lock = NODE / "package-lock.json"
    installed = NODE / "node_modules" / ".package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
        subprocess.run(["npm", "ci", "--ignore-scripts"], cwd=NODE, check=True, timeout=100)


@pytest.fixture(scope="session")
def express4(node_packages: None) -> Iterator[ExpressReceiver]:
    with ExpressReceiver("express4") as receiver:
        yield receiver


@pytest.fixture(scope="session")
def express5(node_packages: None) -> Iterator[ExpressReceiver]:
    with ExpressReceiver("express5") as receiver:
        yield receiver


@pytest.fixture(scope="session")
def standard(node_packages: None) -> Iterator[StandardReceiver]:
    with StandardReceiver() as receiver:
        yield receiver
