"""A stand-in for a command's output stream."""

from __future__ import annotations


class Terminal:
    """A stream that says whether it is a terminal, and keeps its text."""

    def __init__(self, *, tty: bool) -> None:
        self.text = ""
        self._tty = tty

    def isatty(self) -> bool:
        return self._tty

    def write(self, text: str) -> None:
        self.text += text

    def flush(self) -> None:
        """The stream has no buffer."""
