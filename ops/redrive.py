"""Retries the messages of a dead-letter queue, on this machine's stack or a deployed one.

::

    python -m ops.redrive deliveries [--account acme] [--webhook ID] [--discard]
    python -m ops.redrive events [--reason unknown_event | --all | --move]

`deliveries`: exhausted deliveries, and those that a fault of ours interrupted, are attempted again
at once, with a new schedule. `--discard` deletes their messages instead, for receivers that are
gone; the deliveries stay in the log.

`events`: messages that failed for days through a fault of ours go back to the events queue, with
the time of their first arrival. Messages that were rejected, or killed their dispatchers (reason
`killed`), go back only by their reason, because they fail again unless the code has changed. With
`--move`, SQS moves all messages itself; that is refused if any message does not carry its first
arrival.

A message is deleted only after its work is done, so an interruption loses nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from cli.progress import Progress
from cli.screen import Screen
from ops.dead_letters import THREADS, DeadLetters, OutcomeCounts, group_of, texts_of
from ops.moving import NotMovedError, move
from ops.outputs import NoStackError, of_deployed, of_local
from webhooks.adapters.sqs import MAX_BATCH_BYTES, SQSEventQueue
from webhooks.domain.delivery import DeliveryKey
from webhooks.domain.errors import UnavailableError
from webhooks.domain.resending import Outgoing, carried
from webhooks.domain.timestamps import to_ms
from webhooks.settings import Settings
from webhooks.wiring.redrive import RedriveServices

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from webhooks.services.redriver import Redriver

_VISIBILITY_SECONDS = 120
_WAIT_SECONDS = 1
_ANSWERS_WITH_NOTHING_NEW = 20
_LEFT = "left"
_OURS = frozenset({"gave_up"})
"""Reasons of valid messages: our own services failed at every try."""


@dataclass(frozen=True, slots=True)
class Stack:
    """The parts of a stack that a redrive needs."""

    deliveries_table: str
    retry_state_machine_arn: str
    dead_letter_queue_url: str
    events_dead_letter_queue_url: str
    events_queue_url: str
    endpoint_url: str | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """The selection of messages in the queue."""

    account_id: str | None = None
    webhook_id: str | None = None
    reason: str | None = None
    rejected_too: bool = False
    discard: bool = False

    def has(self, key: DeliveryKey) -> bool:
        """Return whether a delivery is selected."""
        return self.account_id in {None, key.account_id} and self.webhook_id in {
            None,
            key.webhook_id,
        }

    def has_reason(self, reason: str | None) -> bool:
        """Return whether an event with this reason in the queue is selected."""
        return reason is None or reason in _OURS or self.rejected_too or reason == self.reason


def stack_of(outputs: Mapping[str, str]) -> Stack:
    """Read a stack's outputs, local or deployed. Raises NoStackError if one is missing."""
    try:
        return Stack(
            deliveries_table=outputs.get("DeliveriesTableName") or outputs["DeliveriesTable"],
            retry_state_machine_arn=outputs["RetryStateMachineArn"],
            dead_letter_queue_url=outputs["DeadLetterQueueUrl"],
            events_dead_letter_queue_url=outputs["EventsDeadLetterQueueUrl"],
            events_queue_url=outputs["EventsQueueUrl"],
            endpoint_url=outputs.get("AwsEndpointUrl"),
        )
    except KeyError as error:
        msg = f"the stack has no output {error}: is it one of this project?"
        raise NoStackError(msg) from error


def redrive_deliveries(
    sqs: Any,
    stack: Stack,
    redriver: Redriver,
    wanted: Wanted,
    tell: Callable[[str], None],
    *,
    threads: int = THREADS,
) -> Counter[str]:
    """Redrive the deliveries that the dead-letter queue names; return the counts by outcome."""

    counts = OutcomeCounts(tell)

    def work(batch: Sequence[Any]) -> Sequence[Any]:
        done = []
        outcomes = []
        for message in batch:
            key = _delivery_key(message["Body"])
            if key is None or not wanted.has(key):
                outcomes.append(_LEFT if key else "unknown")
                continue
            outcome = (
                None if wanted.discard else redriver.redrive(key, _generation(message["Body"]))
            )
            outcomes.append(outcome.value if outcome else "discarded")
            if outcome is None or outcome.done:
                done.append(message)
        counts.add(outcomes)
        return done

    DeadLetters(sqs, stack.dead_letter_queue_url, threads).each_batch(work)
    return counts.end()


def redrive_events(
    sqs: Any,
    stack: Stack,
    wanted: Wanted,
    tell: Callable[[str], None],
    *,
    threads: int = THREADS,
) -> Counter[str]:
    """Put messages back on the events queue; return the counts, with those left.

    Each message carries its first arrival and therefore becomes the same event as before.
    """

    counts = OutcomeCounts(tell)
    queue = SQSEventQueue(sqs, stack.events_queue_url)

    def work(batch: Sequence[Any]) -> Sequence[Any]:
        reasons = [texts_of(message).get("reason") for message in batch]
        going = [
            message
            for message, reason in zip(batch, reasons, strict=True)
            if wanted.has_reason(reason)
        ]
        left = [f"{_LEFT}: {reason}" for reason in reasons if not wanted.has_reason(reason)]
        outgoing = [_outgoing(message) for message in going]
        not_taken = set(queue.put(outgoing) if outgoing else ())
        taken = [one for place, one in enumerate(going) if place not in not_taken]
        counts.add([*left, *["sent again"] * len(taken), *["not sent"] * len(not_taken)])
        if going and not taken and any(one.size_bytes <= MAX_BATCH_BYTES for one in outgoing):
            msg = "the events queue accepts no messages"
            raise UnavailableError(msg)
        return taken

    DeadLetters(sqs, stack.events_dead_letter_queue_url, threads).each_batch(work)
    return counts.end()


def _outgoing(message: Any) -> Outgoing:
    """Return an event's message for another send, with all its tries left."""

    sent_at_ms = int(message["Attributes"]["SentTimestamp"])
    arrived_at_ms = carried(texts_of(message), sent_at_ms=sent_at_ms).arrived_at_ms
    return Outgoing(message["Body"], group_of(message), arrived_at_ms=arrived_at_ms)


def messages(sqs: Any, queue_url: str) -> Iterator[Any]:
    """Yield every message of a queue once; those not deleted are there again at the end.

    Messages that arrive after the start are left: a redriven message may fail again at once, and
    the redrive would never end.
    """
    began_ms = to_ms(time.time())
    seen: dict[str, str] = {}
    nothing_new = 0
    try:
        # A long redrive receives messages again that it left at its beginning: that is not the end.
        while nothing_new < _ANSWERS_WITH_NOTHING_NEW:
            answer = sqs.receive_message(
                QueueUrl=queue_url,
                MaxNumberOfMessages=10,
                VisibilityTimeout=_VISIBILITY_SECONDS,
                WaitTimeSeconds=_WAIT_SECONDS,
                MessageAttributeNames=["All"],
                MessageSystemAttributeNames=["All"],
            )
            messages = answer.get("Messages", [])
            if not messages:
                return
            fresh = [one for one in messages if one["MessageId"] not in seen]
            seen |= {one["MessageId"]: one["ReceiptHandle"] for one in messages}
            nothing_new = 0 if fresh else nothing_new + 1
            for message in fresh:
                if int(message["Attributes"]["SentTimestamp"]) <= began_ms:
                    yield message
    finally:
        for handle in seen.values():
            try:
                sqs.change_message_visibility(
                    QueueUrl=queue_url, ReceiptHandle=handle, VisibilityTimeout=0
                )
            except ClientError:
                # Deleted, like most messages.
                continue


def _delivery_key(body: str) -> DeliveryKey | None:
    try:
        message = json.loads(body)
        return DeliveryKey(message["account_id"], message["webhook_id"], message["delivery_id"])
    except (ValueError, KeyError, TypeError):
        return None


def _generation(body: str) -> int | None:
    """Return the generation in a message; None if it has none."""
    generation = json.loads(body).get("generation")
    return generation if isinstance(generation, int) else None


def main(arguments: Sequence[str] | None = None) -> int:
    """Redrive a queue and print the counts; return the process's exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.discard and not (options.account or options.webhook):
        parser.error("--discard needs --account or --webhook")
    if options.discard and options.queue != "deliveries":
        parser.error("--discard works with deliveries only")
    if options.move and options.queue != "events":
        parser.error("--move works with events only")
    screen = Screen(sys.stdout, os.environ, as_json=options.json)

    try:
        outputs = of_deployed(options.stack) if options.stack else of_local()
        stack = stack_of(outputs)
        if stack.endpoint_url:
            # A stack on this machine accepts any credentials and must not get real ones.
            os.environ |= {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
            os.environ["AWS_DEFAULT_REGION"] = outputs["Region"]
            os.environ.pop("AWS_PROFILE", None)
        config = Config(
            max_pool_connections=2 * THREADS, retries={"mode": "standard", "max_attempts": 5}
        )
        sqs = boto3.client("sqs", endpoint_url=stack.endpoint_url, config=config)
        wanted = Wanted(
            options.account, options.webhook, options.reason, options.all, options.discard
        )
        progress = Progress(sys.stderr)
        tell = progress.tell
        counts: Counter[str]
        if options.move:
            source, destination = stack.events_dead_letter_queue_url, stack.events_queue_url
            counts = Counter({"moved": move(sqs, source, destination, tell)})
        elif options.queue == "deliveries":
            settings = Settings(
                deliveries_table=stack.deliveries_table,
                retry_state_machine_arn=stack.retry_state_machine_arn,
                aws_endpoint_url=stack.endpoint_url,
            )
            redriver = RedriveServices(settings).redriver
            counts = redrive_deliveries(sqs, stack, redriver, wanted, tell)
        else:
            counts = redrive_events(sqs, stack, wanted, tell)
    except NotMovedError as error:
        print(f"Nothing was moved: {error}", file=sys.stderr)
        return 1
    except (NoStackError, UnavailableError, BotoCoreError, ClientError) as error:
        print(
            f"The redrive stopped; the remaining messages are still in the queue: {error}",
            file=sys.stderr,
        )
        return 1
    progress.end()
    if options.json:
        screen.json(dict(counts))
    else:
        screen.table(["Messages", "Count"], sorted(counts.items()))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m ops.redrive",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("queue", choices=["deliveries", "events"])
    parser.add_argument("--stack", help="a deployed stack; without it, the one on this machine")
    parser.add_argument("--account", help="only deliveries of this account")
    parser.add_argument("--webhook", help="only deliveries of this webhook")
    parser.add_argument("--reason", help="also redrive events that were rejected for this reason")
    parser.add_argument("--all", action="store_true", help="also redrive every rejected event")
    parser.add_argument(
        "--move",
        action="store_true",
        help="let SQS move all events; refused if any would become another event",
    )
    parser.add_argument(
        "--discard",
        action="store_true",
        help="delete the messages of an account's or a webhook's deliveries without an attempt",
    )
    parser.add_argument("--json", action="store_true", help="print the counts as JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main())
