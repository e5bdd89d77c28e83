"""How far something long has come, for whoever waits for it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from cli.screen import cell

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO

_LINE_SECONDS = 10.0


class Progress:
    """Tells how far something is, on one line of a terminal, or in a line now and then elsewhere.

    Nothing of it goes to standard output, which is for what came of it.
    """

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        """Write to a stream, which is standard error as a rule."""
        self._stream = stream
        self._clock = clock
        self._on_terminal = stream.isatty()
        self._told_at: float | None = None

    def tell(self, text: str) -> None:
        """Say how far it is; elsewhere than on a terminal not more often than each ten seconds."""
        if self._on_terminal:
            # Back to the line's beginning, and what was longer before is wiped away.
            self._stream.write(f"\r\033[K{cell(text)}")
        elif self._told_at is None or self._clock() - self._told_at >= _LINE_SECONDS:
            self._told_at = self._clock()
            self._stream.write(f"{cell(text)}\n")
        self._stream.flush()

    def end(self) -> None:
        """Leave the line to what comes next."""
        if self._on_terminal:
            self._stream.write("\r\033[K")
            self._stream.flush()
