"""The engines of AWS, and the other parts, that the fault matrix's tests use as they run."""

from __future__ import annotations

import re
import threading
from collections import defaultdict

ELSE = "else"
LOOPBACK = "loopback"
PROCESS = "process"
FAKES = "fakes"

_ROW = re.compile(r"test_row_([0-9]{2,3})_")


class _Sightings:
    """The row whose test runs, and the sightings of each so far."""

    def __init__(self) -> None:
        self.row: str | None = None
        self.by_row: defaultdict[str, set[tuple[str, str]]] = defaultdict(set)
        self._lock = threading.Lock()

    def add(self, kind: str, name: str) -> None:
        with self._lock:
            if self.row is not None:
                self.by_row[self.row].add((kind, name))


_sightings = _Sightings()


def begin(test: str) -> None:
    """From now on count sightings for the row in a test's name, if it has one."""
    _sightings.row = row_of(test)


def end() -> None:
    """Stop counting: the clean-up of a test's fixtures is no part of its row."""
    _sightings.row = None


def note(what: str) -> None:
    """Note that the test that runs has `LOOPBACK`, `PROCESS` or `FAKES`."""
    _sightings.add(ELSE, what)


def row_of(test: str) -> str | None:
    """Return the number of the row in a test's name."""
    match = _ROW.match(test)
    return None if match is None else str(int(match[1]))


def add(kind: str, name: str) -> None:
    """Note that an engine, `name`, has answered for one of AWS's services."""
    _sightings.add(kind, name)


def so_far() -> defaultdict[str, set[tuple[str, str]]]:
    """Return each row's sightings, as pairs of a service, or `ELSE`, and an engine or part."""
    return _sightings.by_row
