"""What holds for every test."""

from __future__ import annotations

import signal

from hypothesis import settings

# A busy machine makes nothing wrong: no example is judged by how long it takes.
settings.register_profile("project", deadline=None)
settings.load_profile("project")


def pytest_configure() -> None:
    # A shell without job control starts background programs with Ctrl-C ignored, and what the tests
    # start would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
