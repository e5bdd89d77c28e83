"""Dispatchers in their own processes, like on Lambda, that can be killed at any moment.

The pool is a handler to the local stack: an invocation goes to a free process, or to a new one, and
fails with the process that is killed under it. Run as a module it is such a process.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from local.handlers import make_handler
from soak.outages import of_environment

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from random import Random

    from local.functions import Context

ROOT = Path(__file__).parents[2]
PATHS = ("functions", "layers/core", "tests", ".")


SHORT_DELAY_SECONDS = 6.0
"""With it the first retries have short delays, and the later ones long delays."""

make_soak_handler = partial(make_handler, short_delay_seconds=SHORT_DELAY_SECONDS)

_FIRST_GUESS_SECONDS = 2.0
_SMOOTH = 8
"""The usual time moves by this fraction, 1/8, towards each invocation's time."""


class InvocationError(Exception):
    """An invocation failed: its process was killed, or its handler raised."""


class Dispatchers:
    """The pool of processes, which `close` ends.

    Of all invocations `doomed` are killed at a moment of their own, as by `kill -9`: a share from
    0 to 1, so that a busy machine does not kill more than it gets done.
    """

    def __init__(
        self,
        name: str,
        environment: Mapping[str, str],
        log: IO[str],
        doomed: float,
        random: Random,
    ) -> None:
        """Run the handler of that dotted name; the processes' output goes to `log`."""
        self.killed = 0
        self.doomed = doomed
        self._random = random
        self._usual_seconds = _FIRST_GUESS_SECONDS
        self._order = json.dumps({"name": name, "environment": dict(environment)})
        self._log = log
        self._lock = threading.Lock()
        self._free: list[subprocess.Popen[str]] = []
        self._busy: list[subprocess.Popen[str]] = []
        self._closed = False

    def __call__(self, event: Any, context: Context) -> Any:
        """Handle one invocation. Raises InvocationError."""
        process = self._take()
        seconds = context.get_remaining_time_in_millis() / 1000
        try:
            with self._perhaps_killed(process):
                answer = _ask(process, {"event": event, "seconds": seconds})
        except BaseException:
            self._end(process)
            raise
        with self._lock:
            self._busy.remove(process)
            self._free.append(process)
        if answer["failed"]:
            raise InvocationError(json.dumps(answer["payload"]))
        return answer["payload"]

    def close(self) -> None:
        """End all processes; invocations under way fail."""
        with self._lock:
            self._closed = True
            processes = list(self._free)
            for process in self._busy:
                process.kill()
        for process in processes:
            _bury(process)

    @contextlib.contextmanager
    def _perhaps_killed(self, process: subprocess.Popen[str]) -> Iterator[None]:
        """Kill the process within the block, or later than its end, or not at all."""
        with self._lock:
            doomed = self._random.random() < self.doomed
            moment = self._random.uniform(0.0, self._usual_seconds)
        timer = threading.Timer(moment, process.kill)
        started = time.monotonic()
        if doomed:
            timer.start()
        try:
            yield
        except InvocationError:
            self.killed += doomed
            raise
        finally:
            timer.cancel()
            if doomed:
                # A timer that has gone off by now must not kill the next invocation.
                timer.join()
        with self._lock:
            self._usual_seconds += (time.monotonic() - started - self._usual_seconds) / _SMOOTH

    def _take(self) -> subprocess.Popen[str]:
        with self._lock:
            if self._closed:
                msg = "the dispatchers were closed"
                raise InvocationError(msg)
            process = self._free.pop() if self._free else self._start()
            self._busy.append(process)
            return process

    def _start(self) -> subprocess.Popen[str]:
        paths = os.pathsep.join(str(ROOT / path) for path in PATHS)
        process = subprocess.Popen(
            [sys.executable, "-m", "soak.dispatchers"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=os.environ | {"PYTHONPATH": paths},
            text=True,
        )
        assert process.stdin
        process.stdin.write(f"{self._order}\n")
        return process

    def _end(self, process: subprocess.Popen[str]) -> None:
        with self._lock:
            self._busy.remove(process)
        _bury(process)


def _bury(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        assert pipe
        # Input that the killed process had not read can no longer be written.
        with contextlib.suppress(BrokenPipeError):
            pipe.close()


def _ask(process: subprocess.Popen[str], order: Mapping[str, Any]) -> Any:
    assert process.stdin
    assert process.stdout
    try:
        process.stdin.write(f"{json.dumps(order)}\n")
        process.stdin.flush()
        line = process.stdout.readline()
    except (BrokenPipeError, ValueError) as error:
        msg = "the process is gone"
        raise InvocationError(msg) from error
    if not line.endswith("\n"):
        msg = "the process was killed"
        raise InvocationError(msg)
    return json.loads(line)


def main() -> None:
    """Handle invocations, a line each, until the input ends."""
    from local.functions import LocalFunction

    with of_environment(), os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8") as answers:
        # The handler's log lines on standard output must not be read as an answer.
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        order = json.loads(sys.stdin.readline())
        handler = make_soak_handler(order["name"], order["environment"])
        for line in sys.stdin:
            asked = json.loads(line)
            function = LocalFunction("dispatcher", handler, timeout_seconds=int(asked["seconds"]))
            result = function.invoke(asked["event"])
            answers.write(json.dumps(result._asdict()) + "\n")
            answers.flush()


if __name__ == "__main__":
    main()
