"""Hooks and fixtures of every test."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import is_hypothesis_test, settings

from benchmarks import shares
from support import models, seen
from support.slowness import seconds
from webhooks.adapters import aws

if TYPE_CHECKING:
    from xdist.scheduler import LoadFileScheduling  # type: ignore[import-untyped]

_OF_A_STACK = {"dashboard", "e2e"}

_PROPERTY_TIMEOUT_SECONDS = 600
"""Hypothesis shrinks a failing example for up to 300 seconds, and then reports the failed rule."""


def pytest_configure(config: pytest.Config) -> None:
    if "CPU_GROUPS" in os.environ and hasattr(config, "workerinput"):
        # For tests/slow_cpu.py: this process's children join its group too.
        shares.join(Path(os.environ["CPU_GROUPS"] + config.workerinput["workerid"]))
    # A shell without job control starts background programs with Ctrl-C ignored, and the tests'
    # child processes would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # The duration of an example depends on the machine's load, not on the code. Of several failures
    # one is reported, whose rule is then the first line.
    settings.register_profile("untimed", deadline=None, report_multiple_bugs=False)
    settings.load_profile("untimed")
    config.pluginmanager.register(seen.Seen())
    models.read_once()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let the limits of whole tests grow with the machine's slowness, like the limits within them.

    A property has the time to shrink, unless it sets a timeout of its own.
    """
    if config.getoption("timeout", None) is not None:
        return
    usual, factor = float(config.getini("timeout")), seconds(1)
    for item in items:
        marker = item.get_closest_marker("timeout")
        is_property = is_hypothesis_test(getattr(item, "obj", None))
        limit = _PROPERTY_TIMEOUT_SECONDS if is_property else usual
        limit = float(marker.args[0]) if marker else limit
        item.add_marker(pytest.mark.timeout(limit * factor), append=False)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadFileScheduling:
    """Give a file's tests to one process, and all tests of the shared stack to the same process."""
    from xdist.scheduler import LoadFileScheduling

    class OneStackAtATime(LoadFileScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            path = Path(nodeid.partition("::")[0])
            return "stack" if path.parent.name in _OF_A_STACK else str(path)

    return OneStackAtATime(config, log)


@pytest.fixture(autouse=True, scope="session")
def checked_parameters() -> None:
    """Check the adapters' requests against AWS's models; the deployed functions skip that check."""
    aws.CHECKS_PARAMETERS = True
