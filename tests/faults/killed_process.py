"""A function in its own process that dies, like by `kill -9`, at a step that a test names.

`run_victim` starts it and waits for its end; run as a module it is the process itself, which reads
its task as JSON from its standard input.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from support import sightings
from support.slowness import seconds

if TYPE_CHECKING:
    from collections.abc import Mapping

    from webhooks.domain.delivery import Outcome
    from webhooks.ports import Sender
    from webhooks.settings import Settings

_ROOT = Path(__file__).parents[2]
_PATHS = ("functions", "layers/core", "tests", ".")

BEFORE_THE_POST = "before POST"
BEFORE = "before"
AFTER = "after"
_ALWAYS = 10**9


def run_victim(
    settings: Settings,
    event: Mapping[str, Any],
    when: str,
    about: str = "",
    *,
    function: str = "dispatcher",
    asked: int = _ALWAYS,
    left_ms: int = 20_000,
) -> str:
    """Run a function in a process that dies at a step; returns the process's output.

    `when` is `BEFORE_THE_POST`, or `before` or `after` with one of AWS's operations, for example
    `before PutItem`, for the first request that names `about`. It has `left_ms` once it `asked` so
    often. AssertionError unless it was killed.
    """
    sightings.note(sightings.PROCESS)
    order = {
        "settings": {**asdict(settings), "cursor_key": settings.cursor_key.decode()},
        "event": event,
        "function": function,
        "when": when,
        "about": about,
        "asked": asked,
        "left_ms": left_ms,
    }
    ended = subprocess.run(
        [sys.executable, "-m", "faults.killed_process"],
        input=json.dumps(order),
        env=os.environ | {"PYTHONPATH": os.pathsep.join(str(_ROOT / path) for path in _PATHS)},
        capture_output=True,
        text=True,
        timeout=seconds(60),
        check=False,
    )
    written = ended.stdout + ended.stderr
    assert ended.returncode == -signal.SIGKILL, f"it was not killed: {written}"
    return written


class _Doomed:
    """A sender whose process dies before it sends."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Outcome:
        from support.faults import die

        die()
        return self._sender.post(url, body, headers)


def main() -> None:
    """Handle the event, and die at the step."""
    from faults.running_out import RunningOut
    from support.faults import Faults, killed_after, killed_before
    from support.receiver import local_sender, loopback_target
    from webhooks.services.dispatch import batches
    from webhooks.settings import Settings
    from webhooks.wiring.common import TargetRules

    # The others of a batch go back to the queue by chance.
    batches.SUSPECTS_FIRST = 0.0
    order = json.load(sys.stdin)
    rules = TargetRules(loopback_target, lambda _: True)
    settings = order["settings"]
    settings["cursor_key"] = settings["cursor_key"].encode()
    read = Settings(**settings)
    sender = local_sender()
    used: Any = _Doomed(sender) if order["when"] == BEFORE_THE_POST else sender
    context: Any = RunningOut(order["asked"], order["left_ms"])
    faults = Faults()
    when, _, operation = order["when"].partition(" ")
    faults.on(
        operation, killed_before() if when == BEFORE else killed_after(), about=order["about"]
    )
    if operation == "SendMessage":
        # A thread of its own dead-letters: the rest of the batch waits, so that the kill is first.
        faults.on("Query", lambda send, request: (threading.Event().wait(30), send(request))[1])
    with faults.installed():
        # Each process loads its own function alone: most of its time is that of its imports.
        if order["function"] == "api":
            from api.app import Api
            from webhooks.wiring.api import ApiServices

            Api(ApiServices(read, rules=rules))(order["event"], context)
        elif order["function"] == "dispatcher":
            import dispatcher.handler
            from webhooks.wiring.dispatcher import DispatcherServices

            first = DispatcherServices(read, rules=rules)
            first._sender = used
            dispatcher.handler.handle(order["event"], context, first)
        else:
            import worker.handler
            from webhooks.wiring.worker import WorkerServices

            later = WorkerServices(read, rules=rules)
            later._sender = used
            worker.handler.handle(order["event"], context, later)


if __name__ == "__main__":
    main()
