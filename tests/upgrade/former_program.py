"""The functions of the release before this one, behind HTTP: a program of its own.

Its packages have the names of this release's. Therefore it runs in its own process, with that
release's `functions` and `layers/core` as PYTHONPATH and a function's environment variables, and
imports nothing of this project. It prints its port, and then answers until its input ends:

    POST /api, /dispatcher, /retrier    an event: the function's result, or the error that it raised
    POST /issue_key {"account_id"}      an API key, as that release's command makes it
    POST /redrive {ids}                 the counts of a redrive by that release's command
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

REMAINING_MS = 45_000


def _context() -> Any:
    ends = time.monotonic() * 1000 + REMAINING_MS
    return SimpleNamespace(
        aws_request_id=str(uuid.uuid4()),
        function_name="former",
        get_remaining_time_in_millis=lambda: int(ends - time.monotonic() * 1000),
        invoked_function_arn="arn:aws:lambda:us-east-1:123456789012:function:former",
        memory_limit_in_mb=256,
    )


def _set(module: str, **constants: float) -> None:
    for name, value in constants.items():
        assert hasattr(import_module(f"webhooks.{module}"), name)
        setattr(import_module(f"webhooks.{module}"), name, value)


class Former:
    """That release's functions. It allows receivers on this machine, like the local stack."""

    def __init__(self) -> None:
        targets = import_module("webhooks.domain.targets")
        wiring = import_module("webhooks.wiring")
        settings = import_module("webhooks.settings").Settings.from_environment(os.environ)

        def parse_url(url: str) -> Any:
            parts = urlsplit(url)
            return targets.Target(parts.scheme, parts.hostname, parts.port, parts.path or "/")

        rules = wiring.TargetRules(parse_url, lambda _: True)
        self._services = {
            name: wiring.Services(name, settings, rules=rules)
            for name in ("api", "dispatcher", "retrier")
        }
        self._api = import_module("api.app").Api(self._services["api"])
        _set("services.sharder", MOST_AT_ONCE=4, SHARD_WEBHOOKS=2)
        _set("domain.shard", SHARD_WEBHOOKS=2)
        _set("services.eraser", SETTLE_SECONDS=1.0)
        # Overdue as soon as it is due, together with everything due within the hour.
        _set("services.sweeper", GRACE_SECONDS=-3_600.0)

    def call(self, path: str, event: Any) -> Any:
        """Call the function of a path."""
        if path == "/api":
            return self._api(event, _context())
        if path == "/issue_key":
            return self._services["api"].keyring.issue(event["account_id"], "tests").text
        if path == "/redrive":
            key = import_module("webhooks.domain.delivery").DeliveryKey(**event)
            return self._services["retrier"].redriver.redrive(key)
        name = path.removeprefix("/")
        return import_module(f"{name}.handler").handle(event, _context(), self._services[name])


def main() -> None:
    """Serve until the input ends."""
    former = Former()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            event = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            try:
                result = {"payload": former.call(self.path, event)}
            except Exception as error:  # the edge of the process, the place of Lambda's runtime
                result = {"error": type(error).__name__, "message": str(error)}
            body = json.dumps(result).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"port {server.server_address[1]}", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
