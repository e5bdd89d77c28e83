"""The cost of claiming an event before its first attempt: `python -m benchmarks.claims`.

Two kinds of events differ only in their ids. The id of the first kind contains its time, so no
claim is needed, as for every record of SES. The second kind has a producer's id and is claimed. The
difference is the cost of a claim for every event. Collisions are two copies of an event, of which
the second arrives while the first is being attempted.
"""

from __future__ import annotations

import contextlib
import json
import logging
import statistics
import sys
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

import dispatcher.handler
from benchmarks.events import event_text
from benchmarks.scenarios import OK, LogMeter, bench
from support.backend import lambda_context, sqs_event
from support.receiver import Answer, Receiver, Request
from webhooks.wiring.dispatcher import DispatcherServices

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.scenarios import ScenarioBench
    from benchmarks.units import Units

EVENTS = 100
COLLISIONS = 20
BATCHES = (1, 10)
_CLAIMS = "dynamodb.PutItem"


class Cost(NamedTuple):
    """One event's cost: units and calls of AWS, POSTs, milliseconds of its batch's handling."""

    write_units: float
    read_units: float
    dynamodb_calls: float
    claims: float
    sqs_requests: float
    posts: float
    milliseconds: float


def main() -> int:
    """Measure and print one line for each kind of event and each batch size; return 0."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    screen, logs = sys.stdout, LogMeter()
    sys.stdout = logs
    try:
        rows = {
            f"{name}, {case}": cost
            for claimed, name in ((False, "not claimed"), (True, "claimed"))
            for case, cost in _costs(logs, claimed=claimed).items()
        }
    finally:
        sys.stdout = screen
    print(f"| | {' | '.join(name.replace('_', ' ') for name in Cost._fields)} |")
    print("|---" * (len(Cost._fields) + 1) + "|")
    for name, cost in rows.items():
        print(f"| {name} | {' | '.join(f'{value:.2f}' for value in cost)} |")
    return 0


def _costs(logs: LogMeter, *, claimed: bool) -> dict[str, Cost]:
    costs = {f"{size} messages a batch": plain(logs, size, claimed=claimed) for size in BATCHES}
    return costs | {"two copies at once": collisions(logs, claimed=claimed)}


def plain(logs: LogMeter, size: int, *, claimed: bool) -> Cost:
    """Measure events without copies, in batches of this size."""
    with bench(logs) as metered, Receiver(OK) as receiver:
        metered.register(receiver, 1)
        metered.handle([_event(-1, claimed=claimed)])
        metered.take()
        before = len(receiver.requests)
        times = []
        for start in range(0, EVENTS, size):
            events = [_event(start + each, claimed=claimed) for each in range(size)]
            began = time.perf_counter()
            metered.handle(events)
            times.append((time.perf_counter() - began) * 1000)
        return _cost(metered.take(), EVENTS, len(receiver.requests) - before, times)


def collisions(logs: LogMeter, *, claimed: bool) -> Cost:
    """Measure pairs of copies, and the messages that go back to the queue."""
    with bench(logs) as metered:
        others = metered.backend.services(DispatcherServices)
        pairs = [_event(number, claimed=claimed) for number in range(COLLISIONS)]
        times: list[float] = []
        coming: list[threading.Thread] = []

        def answer(request: Request) -> Answer:
            if request.headers["webhook-id"] not in seen:
                seen.add(request.headers["webhook-id"])
                coming[-1].start()
                coming[-1].join(0.4)
            return OK

        seen: set[str] = set()
        with Receiver(answer) as receiver:
            metered.register(receiver, 1)
            metered.take()
            for text in pairs:
                copy = sqs_event(text)
                copy["Records"][0]["messageId"] = "copy"
                coming.append(
                    threading.Thread(
                        target=dispatcher.handler.handle, args=(copy, lambda_context(), others)
                    )
                )
                began = time.perf_counter()
                metered.handle([text])
                coming[-1].join()
                times.append((time.perf_counter() - began) * 1000)
                # The queue would deliver it later, after its delay.
                _handle_queued(metered)
            return _cost(metered.take(), COLLISIONS, len(receiver.requests), times)


def _handle_queued(metered: ScenarioBench) -> None:
    """Handle the postponed messages, without the queue's delay."""
    bodies = metered.backend.queued()
    if bodies:
        metered.handle(bodies)


def _event(number: int, *, claimed: bool) -> str:
    document = json.loads(event_text(number))
    return json.dumps(document | {"id": f"evt_{number}"} if claimed else document)


def _cost(units: Units, events: int, posts: int, times: Sequence[float]) -> Cost:
    calls = sum(n for name, n in units.requests.items() if name.startswith("dynamodb."))
    return Cost(
        units.write_units / events,
        units.read_units / events,
        calls / events,
        units.requests[_CLAIMS] / events,
        units.sqs_requests / events,
        posts / events,
        statistics.median(times),
    )


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
