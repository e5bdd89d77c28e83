"""What holds for every test."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from xdist.scheduler import LoadFileScheduling  # type: ignore[import-untyped]

from support import seen
from webhooks.adapters import aws

_OF_A_STACK = {"dashboard", "e2e"}


def pytest_configure(config: pytest.Config) -> None:
    # A shell without job control starts background programs with Ctrl-C ignored, and what the tests
    # start would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # How long an example takes says how busy the machine is, and nothing of the code.
    settings.register_profile("untimed", deadline=None)
    settings.load_profile("untimed")
    seen.watch_requests()
    config.pluginmanager.register(seen.Seen())


class OneStackAtATime(LoadFileScheduling):  # type: ignore[misc]
    """Gives a file's tests to one process, and those that share a stack all to the same one."""

    def _split_scope(self, nodeid: str) -> str:
        path = Path(nodeid.partition("::")[0])
        return "stack" if path.parent.name in _OF_A_STACK else str(path)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> OneStackAtATime:
    return OneStackAtATime(config, log)


@pytest.fixture(autouse=True, scope="session")
def checked_parameters() -> None:
    """Hold what the adapters send to AWS against its models, which the functions do not do."""
    aws.CHECKS_PARAMETERS = True
