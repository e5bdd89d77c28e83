"""What holds for every test."""

from __future__ import annotations

import signal

import hypothesis


def pytest_configure() -> None:
    # A shell without job control starts background programs with Ctrl-C ignored, and what the tests
    # start would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # What is tried is right or wrong, however busy the machine is.
    hypothesis.settings.register_profile("unhurried", deadline=None)
    hypothesis.settings.load_profile("unhurried")
