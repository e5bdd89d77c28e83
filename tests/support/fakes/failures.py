"""Planned failures of our own side."""

from __future__ import annotations

from webhooks.domain.errors import UnavailableError


class Failures:
    """Lets a test make a method's next calls, or a chosen one, fail with `UnavailableError`."""

    def __init__(self) -> None:
        self._planned: dict[str, list[bool]] = {}

    def plan(self, method: str, *calls: bool) -> None:
        """Plan for each next call of `method` whether it fails; later calls work."""
        self._planned[method] = list(calls)

    def check(self, method: str) -> None:
        """Fail if the plan says so."""
        if self.due(method):
            msg = f"{method}: planned failure"
            raise UnavailableError(msg)

    def due(self, method: str) -> bool:
        """True if the plan says that this call of `method` fails."""
        planned = self._planned.get(method)
        return planned.pop(0) if planned else False
