"""What holds for every test."""

from __future__ import annotations

import signal

import pytest
from hypothesis import settings

from webhooks.adapters import aws

_OF_A_STACK = {"conformance", "dashboard", "e2e", "soak"}


def pytest_configure() -> None:
    # A shell without job control starts background programs with Ctrl-C ignored, and what the tests
    # start would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # How long an example takes says how busy the machine is, and nothing of the code.
    settings.register_profile("untimed", deadline=None)
    settings.load_profile("untimed")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give a file's tests to one process, and those that run a whole stack all to the same one.

    Two stacks at once leave each of them too little of a small machine.
    """
    for item in items:
        group = "stack" if item.path.parent.name in _OF_A_STACK else str(item.path)
        item.add_marker(pytest.mark.xdist_group(group))


@pytest.fixture(autouse=True, scope="session")
def checked_parameters() -> None:
    """Hold what the adapters send to AWS against its models, which the functions do not do."""
    aws.CHECKS_PARAMETERS = True
