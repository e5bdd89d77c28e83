"""One stack for all tests, accounts in it, and receivers.

The stack is a local one of their own. With E2E_STACK (`make e2e`) it is a deployed one of that
name, or, with the name `local`, the stack of `make run`; then only tests with the marker
`any_stack` run. A deployed stack reaches E2E_RECEIVER, a public url. With E2E_RECEIVER_PORT it
leads to that port of this machine, where the tests' receivers listen; without, it answers 2xx by
itself. E2E_API_URL is where the API is reached, if no resolver knows the address in the outputs.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from e2e.leaks import assert_nothing_secret, executions, log
from e2e.receivers import NODE, ExpressReceiver, StandardReceiver
from ops.outputs import NoStackError, of_local
from support.policies import role_of, statements
from support.receiver import Receiver
from support.slowness import seconds
from support.stack import Account, AnyStack, ObservedStack, checkout, outputs_of

if TYPE_CHECKING:
    from collections.abc import Iterator

RETRY_SCHEDULE = "1,1,1"
RECOVERY_SCHEDULE = "1"
VISIBILITY_SECONDS = 20

NAMED = os.environ.get("E2E_STACK", "")
RECEIVER_URL = os.environ.get("E2E_RECEIVER", "")
RECEIVER_PORT = os.environ.get("E2E_RECEIVER_PORT", "")
API_URL = os.environ.get("E2E_API_URL", "")
LOCAL = "local"
LOOPBACK_URL = "https://127.0.0.1:8443/webhooks/email"
"""A url whose registration looks no name up, and which a local stack accepts."""

PUBLIC_URL = "https://example.com/webhooks/email"


def _named() -> AnyStack:
    return AnyStack(of_local if NAMED == LOCAL else lambda: outputs_of(NAMED, API_URL))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not NAMED:
        return
    try:
        _named().outputs  # noqa: B018 (read once, before each test fails for the same reason)
    except NoStackError as error:
        raise pytest.UsageError(str(error)) from error
    here = Path(__file__).parent
    left = [
        item
        for item in items
        if item.path.is_relative_to(here) and not item.get_closest_marker("any_stack")
    ]
    config.hook.pytest_deselected(items=left)
    items[:] = [item for item in items if item not in left]


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("node") and not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("Node.js is not on the PATH")


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AnyStack]:
    if NAMED:
        yield _named()
        return
    directory = checkout(tmp_path_factory.mktemp("checkout"))
    schedules = {"RETRY_SCHEDULE": RETRY_SCHEDULE, "RECOVERY_SCHEDULE": RECOVERY_SCHEDULE}
    with ObservedStack(directory, **schedules) as stack:
        # A message that failed on a busy machine returns while its test still waits for it.
        stack.events.comes_again_after(VISIBILITY_SECONDS)
        yield stack
        # The log of all tests together: a failure here need not be of the test that reports it.
        assert_nothing_secret({"the log": log(stack)})
        # They are absent if few tests were selected.
        told = executions(stack)
        assert_nothing_secret({"state machines": told} if told else {})
        refused = [
            (function, call)
            for function, call in stack.calls()
            if not any(one.allows(call) for one in statements(role_of(function)))
        ]
        assert refused == []


@pytest.fixture
def account(stack: AnyStack) -> Iterator[Account]:
    """An account that no other test uses."""
    yield from visiting(stack)


@pytest.fixture
def other_account(stack: AnyStack) -> Iterator[Account]:
    yield from visiting(stack)


def visiting(stack: AnyStack) -> Iterator[Account]:
    account = stack.account(f"acc_{uuid4().hex}")
    yield account
    if NAMED:
        account.leave()


@pytest.fixture
def url(stack: AnyStack) -> str:
    """A url that the stack accepts for a webhook, and that receives no deliveries."""
    return (RECEIVER_URL or PUBLIC_URL) if stack.deployed else LOOPBACK_URL


@pytest.fixture
def receiver(stack: AnyStack) -> Iterator[Receiver]:
    """A receiver that the stack reaches, and whose requests the test sees."""
    if stack.deployed and not (RECEIVER_URL and RECEIVER_PORT):
        pytest.skip("a deployed stack needs RECEIVER=https://... and its RECEIVER_PORT here")
    port, public_url = (int(RECEIVER_PORT), RECEIVER_URL) if stack.deployed else (0, "")
    with Receiver(port=port, public_url=public_url) as receiver:
        yield receiver


@pytest.fixture
def receiver_url(stack: AnyStack, request: pytest.FixtureRequest) -> str:
    """The url of a receiver that accepts everything, ours or an operator's."""
    if stack.deployed and RECEIVER_URL and not RECEIVER_PORT:
        return RECEIVER_URL
    receiver: Receiver = request.getfixturevalue("receiver")
    return receiver.url


@pytest.fixture(scope="session")
def node_packages() -> None:
    """Install the locked packages, unless they are."""
    lock = NODE / "package-lock.json"
    installed = NODE / "node_modules" / ".package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
        subprocess.run(
            ["npm", "ci", "--ignore-scripts"], cwd=NODE, check=True, timeout=seconds(100)
        )


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
