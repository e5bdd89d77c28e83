"""Receivers of the tests that run in Node.js, in `node/`, each a process of its own."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from support.program import Program

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

NODE = Path(__file__).parent / "node"
CONTRACT_SECRET = "whsec_your_secret_here"
"""The secret in the contract's code."""


@dataclass(frozen=True)
class Received:
    """A request to a receiver, and its answer. Header names are in lower case.

    `verified` has each library's result, True or its error, if libraries verified it.
    """

    path: str
    status: int
    headers: Mapping[str, str]
    body: bytes
    verified: Mapping[str, Any] | None

    @classmethod
    def of(cls, report: Mapping[str, Any]) -> Received:
        return cls(
            path=report["path"],
            status=report["status"],
            headers=report["headers"],
            body=base64.b64decode(report["body"]),
            verified=report.get("verified"),
        )

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class NodeReceiver(Program):
    """A receiver that reports its requests in lines of JSON."""

    def __init__(self, script: str, *arguments: str) -> None:
        super().__init__("node", script, *arguments, cwd=NODE)

    @property
    def url(self) -> str:
        """The address on which it listens, once it does."""
        return f"http://127.0.0.1:{self._wait_for_report('port')['port']}"

    def wait_for_requests(
        self, count: int, matches: Callable[[Received], bool] = lambda _: True
    ) -> list[Received]:
        """Return the requests that match, once there are `count` or more."""

        def look(lines: Sequence[str]) -> list[Received] | None:
            found = [one for one in _received(lines) if matches(one)]
            return found if len(found) >= count else None

        return self.wait_for(look, f"{count} requests")

    @property
    def received(self) -> list[Received]:
        """The requests so far."""
        return _received(self.output.splitlines())

    def _wait_for_report(self, name: str, value: Any = None) -> dict[str, Any]:
        def look(lines: Sequence[str]) -> dict[str, Any] | None:
            reports = [json.loads(line) for line in lines]
            return next(
                (one for one in reports if name in one and value in {None, one[name]}), None
            )

        return self.wait_for(look, f"a report of {name}")


class ExpressReceiver(NodeReceiver):
    """The contract's code in a version of Express, `express4` or `express5`."""

    def __init__(self, version: str) -> None:
        super().__init__("express_receiver.js", version)

    @property
    def webhook_url(self) -> str:
        return f"{self.url}/webhooks/sendcomms"


class StandardReceiver(NodeReceiver):
    """The libraries of Standard Webhooks and of Svix, with a secret for each path."""

    def __init__(self) -> None:
        super().__init__("standard_receiver.js")

    def learn(self, path: str, secret: str, *, as_bytes: bool = False) -> None:
        """Give it the secret of a path, `as_bytes` if the libraries cannot read the text."""
        format_option = {"format": "raw"} if as_bytes else {}
        self.write_line(json.dumps({"path": path, "secret": secret, **format_option}))
        self._wait_for_report("knows", path)


def _received(lines: Sequence[str]) -> list[Received]:
    reports = [json.loads(line) for line in lines]
    return [Received.of(report) for report in reports if "status" in report]
