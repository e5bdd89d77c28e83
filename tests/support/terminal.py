"""A stand-in for what a command writes to."""

from __future__ import annotations


class Terminal:
    """A stream that says whether it is a terminal, and keeps what is written."""

    def __init__(self, *, tty: bool) -> None:
        self.text = ""
        self._tty = tty

    def isatty(self) -> bool:
        return self._tty

    def write(self, text: str) -> None:
        self.text += text

    def flush(self) -> None:
        """Nothing is held back."""
