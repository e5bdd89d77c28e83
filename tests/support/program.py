"""A program that runs next to the tests, and its output."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeVar

from support.slowness import seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

Found = TypeVar("Found")


class Program:
    """A subprocess whose standard output is read line by line for as long as its `with` block.

    A `timeout` is in seconds on an idle machine.
    """

    def __init__(
        self, *command: str, cwd: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self.lines: list[str] = []
        self._changed = threading.Condition()
        self._ended = False
        # A file and not a pipe: a program would fill an unread pipe and hang.
        self._errors, name = tempfile.mkstemp()
        Path(name).unlink()
        self.process = subprocess.Popen(
            command,
            cwd=cwd,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            encoding="utf-8",
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait_for(
        self, look: Callable[[Sequence[str]], Found | None], what: str, timeout: float = 60.0
    ) -> Found:
        """Return the first result of `look` on the lines; AssertionError if the program ends."""
        deadline = time.monotonic() + seconds(timeout)
        with self._changed:
            while True:
                found = look(self.lines)
                if found:
                    return found
                remaining = deadline - time.monotonic()
                if self._ended or remaining <= 0 or not self._changed.wait(remaining):
                    msg = f"{what}: not in what was printed:\n{self.output}\n{self.errors}"
                    raise AssertionError(msg)

    @property
    def output(self) -> str:
        with self._changed:
            return "\n".join(self.lines)

    @property
    def errors(self) -> str:
        """The standard error so far."""
        return os.pread(self._errors, 1 << 20, 0).decode(errors="replace")

    def write_line(self, line: str) -> None:
        assert self.process.stdin
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def wait(self, timeout: float = 60.0) -> int:
        """Return the exit code, once the process has ended and all its output was read."""
        code = self.process.wait(seconds(timeout))
        self._reader.join(seconds(timeout))
        return code

    def interrupt(self) -> int:
        """Send Ctrl-C's signal; returns the exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.wait()

    def close(self) -> None:
        """End the process, if it has not ended."""
        assert self.process.stdin
        self.process.kill()
        self.wait()
        self.process.stdin.close()
        os.close(self._errors)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read(self) -> None:
        assert self.process.stdout
        with self.process.stdout as lines:
            for line in lines:
                with self._changed:
                    self.lines.append(line.rstrip("\n"))
                    self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()
