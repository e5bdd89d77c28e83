"""Waits of a quiet account next to another's flood of mail, on a model of SQS's fair queue.

The real dispatchers run on fakes, each with memory of its own, on a simulated clock.
`make bench-fairness` writes the figures. It takes a minute.
"""

from __future__ import annotations

import copy
import heapq
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.bill import MEMORY_MB, MILLION, golden
from benchmarks.prices import dollars, lambda_dollars
from benchmarks.scenarios import DELIVERIES, UNGROUPED
from benchmarks.simulate import BATCH, DISPATCHERS, OWN_SECONDS
from support import samples
from support.fair_queue import FairQueue
from support.service_fixture import ServiceFixture
from support.ses_records import text_of
from webhooks.domain.delivery import Outcome
from webhooks.domain.resending import carried
from webhooks.services.dispatch import fair_queueing
from webhooks.services.dispatch.messages import QueueMessage

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from support.fair_queue import Received
    from webhooks.domain.resending import Outgoing

RESULTS = Path(__file__).with_suffix(".json")

FLOOD = 10_000
FLOOD_AT = 30
"""The second in which the flood arrives."""

LOUD, QUIET = "acc_loud", "acc_quiet"

PUT_BACK_SECONDS = 0.02
"""The time of an invocation that puts its whole batch back: one call of AWS, and its work."""

_NEVER = 1 << 62


class Case(NamedTuple):
    """The number of dispatchers, the receivers' response time, and whether floods get a group."""

    dispatchers: int
    receiver_seconds: float
    grouped: bool = True


class Waited(NamedTuple):
    """Seconds from a record's arrival to its POST: the quiet account's, and the flood's last."""

    median: float
    longest: float
    flood: float


CASES = [
    Case(dispatchers, receiver_seconds, grouped)
    for dispatchers in (2, 4, DISPATCHERS)
    for receiver_seconds in (0.1, 4.0)
    for grouped in (False, True)
]


@dataclass
class Simulation:
    """A queue, its dispatchers, and two accounts with one webhook each."""

    case: Case
    flood: int = FLOOD
    queue: FairQueue[QueueMessage] = field(default_factory=FairQueue)
    waited: dict[str, list[float]] = field(default_factory=lambda: {LOUD: [], QUIET: []})

    def __post_init__(self) -> None:
        """Register the webhooks, and start the dispatchers' processes."""
        services = ServiceFixture()
        services.sender.answer = lambda *_: Outcome(status_code=200, duration_ms=100)
        for number, account_id in enumerate(self.waited, 1):
            services.add(number, account_id=account_id, url=f"https://{account_id[4:]}.example/")
        self._processes = [replace(services) for _ in range(self.case.dispatchers)]
        self._world = services
        self._numbers = 0
        self._arrived: dict[str, int] = {}
        self._record = json.loads(text_of("delivery"))

    def run(self) -> Waited:
        """Run the simulation until the flood is delivered."""
        most = fair_queueing.MOST_UNGROUPED if self.case.grouped else _NEVER
        usual, fair_queueing.MOST_UNGROUPED = fair_queueing.MOST_UNGROUPED, most
        try:
            self._run()
        finally:
            fair_queueing.MOST_UNGROUPED = usual
        quiet = self.waited[QUIET]
        return Waited(median(quiet), max(quiet), max(self.waited[LOUD]))

    def _run(self) -> None:
        arrivals = 0
        busy: list[tuple[float, int, Sequence[Received[QueueMessage]]]] = []
        idle = list(range(self.case.dispatchers))
        while len(self.waited[LOUD]) < self.flood:
            if busy and busy[0][0] <= arrivals:
                now, number, batch = heapq.heappop(busy)
                for message in batch:
                    self.queue.delete(message, now)
                idle.append(number)
            else:
                now = float(arrivals)
                self._arrive(arrivals)
                arrivals += 1
            while idle and (batch := self.queue.receive(BATCH, now)):
                number = idle.pop()
                heapq.heappush(busy, (now + self._handle(number, batch, now), number, batch))

    def _arrive(self, second: int) -> None:
        self._send(QUIET, second)
        if second == FLOOD_AT:
            for _ in range(self.flood):
                self._send(LOUD, second)

    def _send(self, account_id: str, second: int) -> None:
        """Send a record of SES, which has no group."""
        self._numbers += 1
        record = copy.deepcopy(self._record)
        record["mail"]["messageId"] = f"ses-{self._numbers}"
        record["mail"]["tags"] = {"account_id": [account_id]}
        self._arrived[record["mail"]["messageId"]] = second
        self.queue.send(QueueMessage(f"m{self._numbers}", json.dumps(record), self._ms(second)))

    def _handle(self, number: int, batch: Sequence[Received[QueueMessage]], now: float) -> float:
        """Handle a batch in one dispatcher; return the seconds that it took."""
        services, posts = self._processes[number], self._world.sender.posts
        services.now_ms = self._ms(now)
        assert services.batches.handle([one.content for one in batch], lambda: 60.0) == []
        sent, self._world.queue.sent[:] = list(self._world.queue.sent), []
        for one in sent:
            self.queue.send(self._again(one, now), one.group)
        if not posts:
            return PUT_BACK_SECONDS
        for url, body, _ in posts:
            arrived = self._arrived[json.loads(body)["data"]["email_id"]]
            self.waited[LOUD if "loud" in url else QUIET].append(now + OWN_SECONDS - arrived)
        posts.clear()
        return OWN_SECONDS + self.case.receiver_seconds

    def _again(self, sent: Outgoing, now: float) -> QueueMessage:
        """Return a message sent by a dispatcher, in the form in which the mapping delivers it."""
        assert not sent.delay_seconds
        self._numbers += 1
        values = carried(sent.attributes, sent_at_ms=self._ms(now))
        return QueueMessage(f"m{self._numbers}", sent.body, values.arrived_at_ms, sent.group)

    def _ms(self, second: float) -> int:
        return samples.NOW_MS + int(second * 1000)


def measure() -> list[tuple[Case, Waited]]:
    """Return each case's result."""
    return [(case, Simulation(case).run()) for case in CASES]


def table(results: Sequence[Mapping[str, Mapping[str, float]]]) -> str:
    """Return the figures as Markdown, and the price of putting a million messages back."""
    rows = [
        "| Dispatchers | Receivers take | Quiet account's longest wait, flood without a group "
        "| Flood put back | Flood's last record, without a group | Put back |",
        "|---|---|---|---|---|---|",
    ]
    for without, grouped in zip(results[::2], results[1::2], strict=True):
        case = grouped["case"]
        both = without["waited"], grouped["waited"]
        waits = [one[name] for name in ("longest", "flood") for one in both]
        cells = [f"{case['dispatchers']:.0f}", f"{case['receiver_seconds']:g} s"]
        cells += [f"{wait:,.{0 if wait >= 10 else 1}f} s" for wait in waits]
        rows.append(f"| {' | '.join(cells)} |")
    price = (
        f"A million messages that are put back cost ${dollars_of_a_million():.2f} more, in batches "
        "of ten."
    )
    return "\n".join([*rows, "", price])


def dollars_of_a_million() -> float:
    """Return the dollars for putting a million messages back: sent, received and deleted again.

    Each request is counted as one with a group, which is the most that SQS can charge.
    """
    units = golden()[UNGROUPED]
    scale = MILLION / DELIVERIES
    requests = units["sqs_requests"] * scale
    invocations = units["invocations"] * scale
    return (
        dollars("SQS request", requests)
        + dollars("SQS request with a group", requests)
        + dollars("invocation", invocations)
        + lambda_dollars(MEMORY_MB, invocations * PUT_BACK_SECONDS * 1000)
        + dollars("log byte", units["log_bytes"] * scale)
    )


def main() -> None:
    """Write the figures, and print them as in the docs."""
    found = [{"case": case._asdict(), "waited": waited._asdict()} for case, waited in measure()]
    RESULTS.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print(table(found))


if __name__ == "__main__":
    main()
