"""The metered scenarios, and the golden file of their units.

`python -m benchmarks.scenarios --write` writes the file. The real handlers run against moto
and a real receiver, in a process of their own: other output would be counted as log lines.
"""

from __future__ import annotations

import argparse
import io
import json
import logging
import sys
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import boto3
import pytest

import dispatcher.handler
import worker.handler
from benchmarks import machines
from benchmarks.events import event_text
from benchmarks.units import Meter, Table, Units
from local.template import load, of_type
from support import models, samples
from support.backend import Backend, backend, lambda_context, sqs_event
from support.receiver import Answer, Receiver
from webhooks.adapters import aws
from webhooks.adapters.dynamodb import webhook_items
from webhooks.domain.jobs import Action
from webhooks.domain.retry import SHORT_DELAY_SECONDS
from webhooks.wiring.dispatcher import DispatcherServices
from webhooks.wiring.worker import WorkerServices

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

GOLDEN = Path(__file__).parents[1] / "tests" / "data" / "units.json"

DELIVERIES = 100
"""Deliveries of each scenario, so that one failing delivery is 1 %."""

DEFERRED = "a hundred deferred deliveries, 10 messages a batch"
DRAINED = "a hundred deliveries drained"
EXHAUSTED = "nine later attempts, exhausted"
WIDE = "an event to a thousand webhooks, in shards"
WIDE_WEBHOOKS = 1000
UNGROUPED = "a hundred messages of a flood without a group, put back with one"

ACCOUNT = "acc_1"
"""The events' account, and the group that their producer sets."""

OK, FAILING = Answer(200), Answer(500)


class Scenario(NamedTuple):
    """A hundred deliveries: webhooks per event, messages per batch, percentage that fails."""

    webhooks: int
    messages: int
    failing_percent: int

    def __str__(self) -> str:
        """Return the scenario's name in the golden file."""
        return (
            f"{self.webhooks} webhooks an event, {self.messages} messages a batch, "
            f"{self.failing_percent} % failing"
        )


SCENARIOS = [
    Scenario(webhooks, messages, failing)
    for webhooks in (1, 10)
    for messages in (1, 10)
    for failing in (0, 1, 100)
]


class LogMeter(io.StringIO):
    """Replaces standard output, and counts a function's log lines."""

    def take(self) -> tuple[int, int]:
        """Return the lines and the bytes since the last call."""
        text = self.getvalue()
        self.seek(0)
        self.truncate()
        return text.count("\n"), len(text.encode())


class ScenarioBench:
    """The functions on moto, built once per process; requests and log lines are metered."""

    def __init__(self, made: Backend, meter: Meter, logs: LogMeter) -> None:
        self.backend = made
        self.meter = meter
        self._logs = logs
        self._dispatcher = made.services(DispatcherServices)
        self._worker = made.services(WorkerServices)
        self._numbers = count()

    def register(self, receiver: Receiver, webhooks: int) -> None:
        """Register webhooks for all event types."""
        for number in range(1, webhooks + 1):
            webhook = samples.webhook(number, url=receiver.url, events=("*",))
            self.backend.clients["dynamodb"].put_item(
                TableName="WebhooksTable", Item=webhook_items.webhook_item(webhook, samples.SECRET)
            )

    def dispatch(self, messages: int, group: str | None = ACCOUNT) -> None:
        """Dispatch a batch of new events."""
        self.handle([event_text(next(self._numbers)) for _ in range(messages)], group)

    def handle(self, bodies: Sequence[str], group: str | None = ACCOUNT) -> None:
        """Dispatch a batch of messages of one group."""
        batch = sqs_event(*bodies, group=group)
        answer = dispatcher.handler.handle(batch, lambda_context(), self._dispatcher)
        assert answer == {"batchItemFailures": []}
        self.meter.units.invocations += 1
        # Lambda's poller: one request to receive the batch, one to delete it.
        self.meter.units.sqs_requests += 2

    def retry(self, state: dict[str, Any]) -> dict[str, Any]:
        """Run the worker on a state; return the next state."""
        answer = worker.handler.handle(state, lambda_context(), self._worker)
        self.meter.units.invocations += 1
        return answer

    def short_attempt(self, state: dict[str, Any]) -> None:
        """Make the attempt of an Express execution, whose transitions are not billed."""
        self.retry({"action": Action.SHORT_ATTEMPT, "state": state})
        self.meter.units.short_executions += 1

    def later_attempts(self, state: dict[str, Any]) -> None:
        """Make a delivery's later attempts until its execution ends."""
        decisions: list[str] = []
        while decisions[-1:] in ([], ["wait"]):
            state = self.retry({"action": Action.ATTEMPT, "state": state})
            decisions.append(str(state["decision"]))
        entered = machines.states_entered(machines.definition("retry"), decisions)
        self.meter.units.transitions += len(entered)
        if "NoteDeadLetter" in entered:
            self.retry({"action": Action.NOTE_DEAD_LETTER, "state": state})
        # Step Functions itself sends the message about an exhausted delivery.
        self.meter.units.sqs_requests += entered.count("DeadLetter")

    def take(self) -> Units:
        """Return the units used since the last call."""
        units = self.meter.take()
        units.log_lines, units.log_bytes = self._logs.take()
        return units


@cache
def tables() -> dict[str, Table]:
    """Return the template's tables."""
    return {
        name: Table.from_properties(table["Properties"])
        for name, table in of_type(load(), "AWS::DynamoDB::Table").items()
    }


@contextmanager
def bench(logs: LogMeter, **settings: Any) -> Iterator[ScenarioBench]:
    """Run the functions on an empty moto; `logs` must be standard output already.

    `settings` replace the defaults.
    """
    with pytest.MonkeyPatch.context() as patches, backend(patches) as made:
        unheard = boto3.client("dynamodb")
        meter = Meter(unheard, tables())
        # moto is slow with a full table, and a request after a time-out would be counted twice.
        patches.setattr(aws, "READ_TIMEOUT_SECONDS", 60)
        build = aws.client
        patches.setattr(aws, "client", lambda *args, **kw: meter.listen(build(*args, **kw)))
        made.settings = replace(made.settings, short_delay_seconds=SHORT_DELAY_SECONDS, **settings)
        yield ScenarioBench(made, meter, logs)


def first_attempts(scenario: Scenario, logs: LogMeter) -> Units:
    """Meter a scenario; if one delivery of a hundred fails, its retry succeeds."""
    answers = {0: [OK], 1: [FAILING, OK], 100: [FAILING]}[scenario.failing_percent]
    with bench(logs) as metered, Receiver(*answers) as receiver:
        metered.register(receiver, scenario.webhooks)
        metered.take()
        for _ in range(DELIVERIES // (scenario.webhooks * scenario.messages)):
            metered.dispatch(scenario.messages)
        if scenario.failing_percent == 1:
            [state] = metered.backend.short_executions()
            metered.short_attempt(state)
        return metered.take()


def wide(logs: LogMeter) -> Units:
    """Meter an event that is queued again in shards, ten of them per batch."""
    # The one receiver stands for a thousand receivers on as many hosts, each with its own limit.
    with bench(logs, max_requests_per_host=0) as metered, Receiver(OK) as receiver:
        metered.register(receiver, WIDE_WEBHOOKS)
        metered.take()
        metered.dispatch(1)
        shards = metered.backend.queued()
        for start in range(0, len(shards), 10):
            metered.handle(shards[start : start + 10])
        assert len(receiver.requests) == WIDE_WEBHOOKS
        return metered.take()


def ungrouped(logs: LogMeter) -> Units:
    """Meter a flood without a group until its messages are delivered like any others."""
    with bench(logs) as metered, Receiver(OK) as receiver:
        metered.register(receiver, 1)
        while not metered.backend.queued():
            metered.dispatch(10, group=None)
        metered.take()
        delivered = len(receiver.requests)
        for _ in range(DELIVERIES // 10):
            metered.dispatch(10, group=None)
        assert len(receiver.requests) == delivered
        return metered.take()


def exhausted(logs: LogMeter) -> Units:
    """Meter all nine later attempts of one delivery, and its final message."""
    with bench(logs) as metered, Receiver(FAILING) as receiver:
        metered.register(receiver, 1)
        metered.dispatch(1)
        [state] = metered.backend.short_executions()
        metered.take()
        metered.short_attempt(state)
        [state] = metered.backend.executions()
        metered.later_attempts(state)
        return metered.take()


def recovery(logs: LogMeter) -> dict[str, Units]:
    """Meter a webhook that is down: a hundred deferred deliveries, a failing probe, the drain."""
    with bench(logs) as metered, Receiver(FAILING) as receiver:
        metered.register(receiver, 1)
        metered.dispatch(10)
        metered.take()
        for _ in range(DELIVERIES // 10):
            metered.dispatch(10)
        deferred = metered.take()
        state = {"version": 1, "action": "recover", **_recovery_key(metered), "seconds": 30}
        metered.take()
        state = metered.retry(state)
        metered.meter.units.transitions += 3
        probed = metered.take()
        receiver.answer_with(OK)
        # The successful probe sends one of them; each later step sends 50, a second's share.
        while len(receiver.requests) < 10 + 1 + DELIVERIES:
            state = metered.retry(state)
            metered.meter.units.transitions += 3
        drained = metered.take()
    return {DEFERRED: deferred, "a probe that fails": probed, DRAINED: drained}


def sweep(logs: LogMeter) -> Units:
    """Meter a sweep that finds nothing overdue."""
    with bench(logs) as metered:
        metered.take()
        metered.retry({"version": 1, "action": "sweep"})
        return metered.take()


def measure(names: Sequence[str] = ()) -> dict[str, dict[str, Any]]:
    """Return the units of every scenario, or of the named ones."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # moto's line for each request
    logs = LogMeter()
    original, sys.stdout = sys.stdout, logs
    measured: dict[str, Units] = {}
    try:
        for scenario in SCENARIOS:
            if not names or str(scenario) in names:
                measured[str(scenario)] = first_attempts(scenario, logs)
        if not names:
            measured[EXHAUSTED] = exhausted(logs)
            measured |= recovery(logs)
            measured["a sweep that finds nothing"] = sweep(logs)
            measured[WIDE] = wide(logs)
            measured[UNGROUPED] = ungrouped(logs)
    finally:
        sys.stdout = original
    return {name: units.as_document() for name, units in measured.items()}


def _recovery_key(metered: ScenarioBench) -> dict[str, str]:
    webhook = samples.webhook(1)
    item = metered.backend.clients["dynamodb"].get_item(
        TableName="WebhooksTable",
        Key={"account_id": {"S": webhook.account_id}, "webhook_id": {"S": webhook.id}},
    )["Item"]
    names = ("account_id", "webhook_id", "recovery_id")
    return {name: item[name]["S"] for name in names}


def main() -> None:
    """Print the units, or write them to the golden file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"update {GOLDEN.name}")
    models.read_once()
    text = json.dumps(measure(), indent=2) + "\n"
    if parser.parse_args().write:
        GOLDEN.write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)


if __name__ == "__main__":
    main()
