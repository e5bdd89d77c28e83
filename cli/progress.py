"""The progress of a long operation, for the person who waits for it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from cli.screen import cell

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO

_LINE_SECONDS = 10.0


class Progress:
    """Shows progress on one line of a terminal, or in a line now and then elsewhere.

    `stream` is standard error as a rule; standard output is for results only.
    """

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._on_terminal = stream.isatty()
        self._told_at: float | None = None

    def tell(self, text: str) -> None:
        """Show progress; outside a terminal at most once every ten seconds."""
        if self._on_terminal:
            # Back to the line's beginning, and erase a longer text.
            self._stream.write(f"\r\033[K{cell(text)}")
        elif self._told_at is None or self._clock() - self._told_at >= _LINE_SECONDS:
            self._told_at = self._clock()
            self._stream.write(f"{cell(text)}\n")
        self._stream.flush()

    def end(self) -> None:
        """Clear the line for the next output."""
        if self._on_terminal:
            self._stream.write("\r\033[K")
            self._stream.flush()
