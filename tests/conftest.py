"""What holds for every test."""

from __future__ import annotations

import signal


def pytest_configure() -> None:
    # A shell without job control starts background programs with Ctrl-C ignored, and what the tests
    # start would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
