"""`make run`, with each AWS call of a function written to `.local/calls.jsonl`.

A line is the function's name, the operation and its parameters. The stack's own calls, made for no
function, are not among them.
"""

from __future__ import annotations

import json
import os
import sys
from threading import Lock
from typing import Any

from local import run

CALLS = "calls.jsonl"


def observe() -> None:
    """Record the calls of every client that a function gets from now on."""
    from webhooks.wiring.common import CommonServices

    run.DIRECTORY.mkdir(exist_ok=True)
    file = (run.DIRECTORY / CALLS).open("w", encoding="utf-8", buffering=1)
    lock = Lock()
    original = CommonServices._client

    def client(self: CommonServices, service: str) -> Any:
        made = original(self, service)

        def write(params: Any, model: Any, **_: Any) -> None:
            # Bytes are payloads, which no policy uses.
            line = json.dumps([self.function, model.name, params], default=lambda _: "")
            with lock:
                file.write(f"{line}\n")

        made.meta.events.register("provide-client-params", write)
        return made

    CommonServices._client = client  # type: ignore[method-assign]


if __name__ == "__main__":
    observe()
    exit_code = run.main()
    sys.stdout.flush()
    sys.stderr.flush()
    # As the module itself does: in no thread of the functions.
    os._exit(exit_code)
