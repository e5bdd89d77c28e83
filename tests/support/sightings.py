"""What the fault matrix's tests see while they run: AWS's engines, and what else there is."""

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
    """The row whose test runs, and what each has seen so far."""

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
    """From now on count what is seen for the row that a test's name has, if it has one."""
    _sightings.row = row_of(test)


def end() -> None:
    """Count no more: what a test's fixtures clear away is none of its row's."""
    _sightings.row = None


def note(what: str) -> None:
    """Note that the test that runs has `LOOPBACK`, `PROCESS` or `FAKES`."""
    _sightings.add(ELSE, what)


def row_of(test: str) -> str | None:
    """Return the number of the row that a test's name has."""
    match = _ROW.match(test)
    return None if match is None else str(int(match[1]))


def add(kind: str, name: str) -> None:
    """Note that an engine, `name`, has answered for one of AWS's services."""
    _sightings.add(kind, name)


def so_far() -> defaultdict[str, set[tuple[str, str]]]:
    """Return what each row has seen, as pairs of a service, or `ELSE`, and what it was."""
    return _sightings.by_row
