"""Several dispatchers on one queue, as Lambda runs them, and the time to send a wide event.

Lambda begins with five batches of a queue in parallel, each in a function of its own.
"""

from __future__ import annotations

import json
import time
from contextlib import ExitStack, suppress
from http.client import HTTPConnection
from typing import TYPE_CHECKING

from benchmarks import shares
from benchmarks.bill import MEMORY_MB
from benchmarks.clients import serve_clients
from benchmarks.dispatching import Function
from benchmarks.events import event_text
from benchmarks.processes import serving
from benchmarks.servers import serve_aws
from webhooks.services.dispatch import fan_out

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from pathlib import Path

    from benchmarks.dispatching import DispatchBench

DISPATCHERS = 5
WEBHOOKS = 1000
FLOOR = "bare urllib3"
WARM_ACCOUNT = "acc_warm"
"""An account with one webhook, for a function's work before the measurement."""

_NEVER = 10**9
_SECONDS = 60


def poll(
    connection: Connection, endpoint: str, authority: str, divides: bool, group: Path | None
) -> None:
    """Handle the queue's batches, warm, until `stop`; send the CPU of each batch."""
    if group is not None:
        shares.join(group)
    if not divides:
        vars(fan_out)["MOST_AT_ONCE"] = _NEVER
    function = Function(endpoint, authority)
    function.handle([event_text(1, WARM_ACCOUNT)])
    connection.send("ready")
    host = endpoint.removeprefix("http://")
    while not connection.poll():
        bodies = _received(host)
        if bodies:
            connection.send((len(bodies), function.handle(bodies).cpu_ms))


def _received(host: str) -> list[str]:
    """Receive a batch from the queue, as the mapping does for a function."""
    polling = HTTPConnection(host)
    polling.request("POST", "/", b"{}", {"X-Amz-Target": "AmazonSQS.ReceiveMessage"})
    messages: list[dict[str, str]] = json.loads(polling.getresponse().read())["Messages"]
    polling.close()
    return [message["Body"] for message in messages]


def _publish(endpoint: str, text: str) -> None:
    sending = HTTPConnection(endpoint.removeprefix("http://"))
    entries = json.dumps({"Entries": [{"Id": "0", "MessageBody": text}]})
    sending.request("POST", "/", entries, {"X-Amz-Target": "AmazonSQS.SendMessageBatch"})
    sending.getresponse().read()
    sending.close()


def measure(bench: DispatchBench) -> dict[str, dict[str, float]]:
    """Return the figures for a thousand webhooks: divided, in one function, both with CPU limits.

    Without the right to set the kernel's quotas, the last two are left out. `FLOOR` is the cost of
    the same number of processes that only post.
    """
    measured = {
        FLOOR: bare_posts(bench, WEBHOOKS),
        "divided": wide_event(bench, WEBHOOKS),
        "in one function": wide_event(bench, WEBHOOKS, divides=False),
    }
    with suppress(PermissionError):
        measured |= {
            f"divided, {MEMORY_MB} MB": wide_event(bench, WEBHOOKS, limited=True),
            f"in one function, {MEMORY_MB} MB": wide_event(
                bench, WEBHOOKS, divides=False, limited=True
            ),
        }
    return measured


def bare_posts(bench: DispatchBench, posts: int) -> dict[str, float]:
    """Return the time until the last of a fleet's POSTs arrives, each on its own connection."""
    with ExitStack() as stack:
        clients = serve_clients, bench.authority, bench.urls["fresh"]
        fleet = [stack.enter_context(serving(*clients)) for _ in range(DISPATCHERS)]
        bench.arrivals()
        began_at = time.time()
        for one in fleet:
            one.tell(["urllib3", posts // DISPATCHERS])
        arrived = _arrivals(bench, posts, began_at)
    return {"last_ms": (max(arrived) - began_at) * 1000, "missing": posts - len(arrived)}


def _arrivals(bench: DispatchBench, expected: int, since: float) -> list[float]:
    """Return the arrival times of the expected requests, or of those within a minute."""
    arrived: list[float] = []
    while len(arrived) < expected and time.time() < since + _SECONDS:
        time.sleep(0.25)
        arrived += [at for _, at in bench.arrivals()["fresh"]]
    return arrived


def wide_event(
    bench: DispatchBench, webhooks: int, *, divides: bool = True, limited: bool = False
) -> dict[str, float]:
    """Return the time from an event's queueing to the last of its receivers.

    Each receiver is reached on a connection of its own. Without division, one dispatcher sends to
    all of them. With `limited`, which needs root, each dispatcher has its memory's share of a CPU.
    """
    urls = [bench.urls["fresh"]] * webhooks
    with ExitStack() as stack:
        aws = stack.enter_context(serving(serve_aws, urls))
        arguments = aws.first, bench.authority, divides
        groups = [
            stack.enter_context(shares.group(MEMORY_MB, str(number))) if limited else None
            for number in range(DISPATCHERS)
        ]
        fleet = [stack.enter_context(serving(poll, *arguments, group)) for group in groups]
        assert [one.first for one in fleet] == ["ready"] * DISPATCHERS
        bench.arrivals()
        published_at = time.time()
        _publish(aws.first, event_text(time.time_ns()))
        arrived = _arrivals(bench, webhooks, published_at)
        time.sleep(0.5)
        extra = len(bench.arrivals()["fresh"])
        batches = [one.told() for one in fleet]
    return {
        "last_ms": (max(arrived) - published_at) * 1000,
        "missing": webhooks - len(arrived),
        "twice": extra,
        "invocations": sum(len(told) for told in batches),
        "dispatchers_at_work": sum(bool(told) for told in batches),
        "cpu_ms": sum(cpu for told in batches for _, cpu in told),
    }
