"""The limits of AWS that a stack meets, the events per day that each allows, and the bill.

They are the tables of `docs/scaling.md`, in the order in which the limits are reached.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from benchmarks import bill, machines, simulate
from benchmarks.scenarios import Scenario

if TYPE_CHECKING:
    from collections.abc import Mapping

DAY = 86_400
FAILING = 0.01
"""The share of first attempts that fail and whose retry succeeds."""

AGAIN = 0.1
"""The share of those whose retry also fails; they continue in a Standard execution."""

READ_UNITS = 1.1
"""Read units of a delivery, one webhook per event and ten messages per batch; golden file."""

THREE_REGIONS = "us-east-1, us-west-2, eu-west-1"
"""The regions in which Step Functions has higher quotas ("Step Functions service quotas" in its
guide).
"""

INVOCATION_SECONDS = simulate.OWN_SECONDS + bill.RECEIVER_MS / 1000
SLOW_SECONDS = simulate.OWN_SECONDS + 4.0

_QUOTAS_HEAD = f"""\
| Quota | {THREE_REGIONS} | Elsewhere | What it bounds | Events a second |
|---|---|---|---|---|"""

_LIMITS_HEAD = """\
| Limit | Events a second | Events a day | Source | When it is reached |
|---|---|---|---|---|"""

_BILL_HEAD = """\
| Deliveries a month | Queue | Units and work | Waiting for receivers \
| Kept 30 days, with recovery | Out to the internet | Together |
|---|---|---|---|---|---|---|"""


class Limit(NamedTuple):
    """A limit, the events per second that it allows, and the remedy when it is reached."""

    name: str
    events_per_second: float
    source: str
    remedy: str

    @property
    def row(self) -> str:
        """The limit as a row of the docs' table."""
        a_day = self.events_per_second * DAY / 1e6
        return (
            f"| {self.name} | {self.events_per_second:,.0f} | {a_day:,.0f} million "
            f"| {self.source} | {self.remedy} |"
        )


class Quota(NamedTuple):
    """A quota of an account in a region: its default in the three regions, and elsewhere."""

    name: str
    in_three: int
    elsewhere: int
    bounds: str
    events_per_one: float = 0.0
    """Events per second that each unit of the quota allows; 0 if it limits none."""

    @property
    def row(self) -> str:
        """The quota as a row of the docs' table."""
        numbers = [f"{number:,}" for number in (self.in_three, self.elsewhere)]
        events = "no bound"
        if self.events_per_one:
            most = [
                f"{number * self.events_per_one:,.0f}" for number in (self.in_three, self.elsewhere)
            ]
            events = " and ".join(dict.fromkeys(most))
        return f"| {self.name} | {' | '.join(numbers)} | {self.bounds} | {events} |"


TRANSITIONS = len(machines.states_entered(machines.definition("retry"), ["done"]))
"""Transitions of a delivery that succeeds at its third attempt, its second retry."""

STARTS = Quota(
    "StartExecution, Standard",
    300,
    150,
    "long retries that begin, 0.1 % failing twice",
    1 / (FAILING * AGAIN),
)
EXPRESS_STARTS = Quota(
    "StartExecution, Express", 6_000, 6_000, "short retries that begin, 1 % failing", 1 / FAILING
)
TRANSITION = Quota(
    "StateTransition, Standard",
    5_000,
    800,
    f"long retries of {TRANSITIONS} transitions each, 0.1 % failing twice",
    1 / (FAILING * AGAIN * TRANSITIONS),
)
STOPS = Quota("StopExecution", 200, 25, "`make destroy`, waiting deliveries a second")
LOOKS = Quota("DescribeExecution", 15, 10, "the sweep's looks at executions")


def limits() -> list[Limit]:
    """Return the limits in the order in which they are reached."""
    batches = simulate.DISPATCHERS * simulate.BATCH
    found = [
        Limit(
            "50 dispatchers, every batch with a receiver that takes 4 s",
            batches / SLOW_SECONDS,
            "`DispatcherConcurrency`",
            "raise it, to 1,000",
        ),
        Limit(
            "1,000 writes a second to one webhook's partition",
            1_000,
            "DynamoDB, partition throughput",
            "nothing to raise: more webhooks; past it writes are throttled and messages come back",
        ),
        Limit(
            "50 dispatchers, receivers that take 100 ms",
            batches / INVOCATION_SECONDS,
            "`DispatcherConcurrency`",
            "raise it, to 1,000",
        ),
        Limit(
            "4,000 writes a second of a new on-demand table",
            4_000,
            "DynamoDB, on-demand initial throughput",
            "grows by itself to twice the last peak; set warm throughput before a launch",
        ),
        Limit(
            "100 calls a second of 100 events to the API",
            10_000,
            "`ApiRate`",
            "raise it, or publish to the queue",
        ),
        Limit(
            f"{EXPRESS_STARTS.elsewhere:,} starts of short retries a second, 1 % failing",
            EXPRESS_STARTS.elsewhere * EXPRESS_STARTS.events_per_one,
            "Step Functions, StartExecution refill, Express",
            "quota increase; past it retries are the sweep's",
        ),
        Limit(
            "40,000 read units a second of a table",
            40_000 / READ_UNITS,
            "DynamoDB, default table quota",
            "quota increase",
        ),
        Limit(
            "1,000 functions at once, receivers that take 100 ms",
            1_000 * simulate.BATCH / INVOCATION_SECONDS,
            "Lambda, concurrent executions",
            "quota increase; stacks in other AWS accounts",
        ),
        Limit(
            f"{STARTS.elsewhere:,} starts of long retries a second, 0.1 % failing twice",
            STARTS.elsewhere * STARTS.events_per_one,
            "Step Functions, StartExecution refill, Standard",
            "quota increase; past it retries are the sweep's",
        ),
        Limit(
            f"{TRANSITION.elsewhere:,} transitions a second, 0.1 % failing twice",
            TRANSITION.elsewhere * TRANSITION.events_per_one,
            "Step Functions, StateTransition refill",
            "quota increase; past it executions wait",
        ),
    ]
    return sorted(found, key=lambda limit: limit.events_per_second)


def limits_table() -> str:
    """Return the limits as Markdown."""
    return "\n".join([_LIMITS_HEAD, *(limit.row for limit in limits())])


def quotas_table() -> str:
    """Return Step Functions' quotas by region as Markdown."""
    rows = (STARTS, TRANSITION, EXPRESS_STARTS, STOPS, LOOKS)
    return "\n".join([_QUOTAS_HEAD, *(quota.row for quota in rows)])


def bill_table(bills: Mapping[str, Mapping[str, float]]) -> str:
    """Return the bills of growing numbers of deliveries as Markdown."""
    quiet, busy = Scenario(1, 1, 1), Scenario(1, 10, 1)
    made = [_BILL_HEAD]
    for deliveries, named, queue, scenario in (
        (1e6, "1 million", "quiet, 1 message a batch", quiet),
        (1e8, "100 million", "busy, 10 messages a batch", busy),
        (1e10, "10 billion", "busy, 10 messages a batch", busy),
    ):
        parts = bill.monthly(bills, scenario, deliveries).values()
        cells = [named, queue, *(f"${part:,.{2 if part < 1000 else 0}f}" for part in parts)]
        made.append(f"| {' | '.join(cells)} |")
    return "\n".join(made)
