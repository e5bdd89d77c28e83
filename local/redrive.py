"""Gives what lies in a dead-letter queue another chance, on this machine's stack or a deployed one.

::

    python -m local.redrive deliveries [--account acme] [--webhook ID]
    python -m local.redrive events [--reason unknown_event | --all]

`deliveries`: those whose schedule is used up, or that a fault of ours interrupted, are attempted
again at once, with a schedule that begins anew. `events`: messages that failed five times through a
fault of ours go back to the events queue; those that could not be read only by their reason, since
they come straight back unless the code has learnt to read them. A message is deleted only when what
it asked for is done, so that stopping in the middle loses nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from local.cli.progress import Progress
from local.cli.screen import Screen
from local.outputs import NoStackError, of_deployed, of_local

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from webhooks.services.redriver import Redriver

_CORE = Path(__file__).parent.parent / "layers" / "core"
_VISIBILITY_SECONDS = 120
_WAIT_SECONDS = 1
_ANSWERS_WITH_NOTHING_NEW = 20
_LEFT = "left"


@dataclass(frozen=True, slots=True)
class Stack:
    """What a redrive needs to know of a stack."""

    deliveries_table: str
    retry_state_machine_arn: str
    dead_letter_queue_url: str
    events_dead_letter_queue_url: str
    events_queue_url: str
    endpoint_url: str | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which messages, out of all in the queue."""

    account_id: str | None = None
    webhook_id: str | None = None
    reason: str | None = None
    rejected_too: bool = False


def stack_of(outputs: Mapping[str, str]) -> Stack:
    """Read a stack's outputs, of either kind. Raises NoStackError where one is missing."""
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
    sqs: Any, stack: Stack, redriver: Redriver, wanted: Wanted, tell: Callable[[str], None]
) -> Counter[str]:
    """Redrive the deliveries that the dead-letter queue names; returns how many came to what."""
    from webhooks.domain.delivery import DeliveryKey

    counts: Counter[str] = Counter()
    queue_url = stack.dead_letter_queue_url
    for message in messages(sqs, queue_url):
        key = _delivery_key(message["Body"], DeliveryKey)
        if key is None or not (
            wanted.account_id in {None, key.account_id}
            and wanted.webhook_id in {None, key.webhook_id}
        ):
            counts[_LEFT if key else "unknown"] += 1
            continue
        outcome = redriver.redrive(key, _generation(message["Body"]))
        counts[outcome.value] += 1
        tell(f"{key.delivery_id}  {outcome.value}")
        if outcome.done:
            sqs.delete_message(QueueUrl=queue_url, ReceiptHandle=message["ReceiptHandle"])
    return counts


def redrive_events(
    sqs: Any, stack: Stack, wanted: Wanted, tell: Callable[[str], None]
) -> Counter[str]:
    """Put messages back on the events queue; returns how many, and what was left."""
    counts: Counter[str] = Counter()
    queue_url = stack.events_dead_letter_queue_url
    for message in messages(sqs, queue_url):
        reason = message.get("MessageAttributes", {}).get("reason", {}).get("StringValue")
        if reason is not None and not (wanted.rejected_too or reason == wanted.reason):
            counts[f"{_LEFT}: {reason}"] += 1
            continue
        group = message.get("Attributes", {}).get("MessageGroupId")
        sqs.send_message(
            QueueUrl=stack.events_queue_url,
            MessageBody=message["Body"],
            **({"MessageGroupId": group} if group else {}),
        )
        sqs.delete_message(QueueUrl=queue_url, ReceiptHandle=message["ReceiptHandle"])
        counts["sent again"] += 1
        tell(f"{message['MessageId']}  sent again")
    return counts


def messages(sqs: Any, queue_url: str) -> Iterator[Any]:
    """Yield every message of a queue once; what was not deleted is there again at the end.

    Those that came since the redrive began are left: what it does may fail again at once, and then
    it would never come to an end.
    """
    began_ms = int(time.time() * 1000)
    seen: dict[str, str] = {}
    nothing_new = 0
    try:
        # A long redrive receives again what it left at its beginning: that is not the queue's end.
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
                # Deleted, as most are.
                continue


def _delivery_key(body: str, make: Callable[[str, str, str], Any]) -> Any:
    try:
        message = json.loads(body)
        return make(message["account_id"], message["webhook_id"], message["delivery_id"])
    except (ValueError, KeyError, TypeError):
        return None


def _generation(body: str) -> int | None:
    """Return the generation that a message names, None for one that names none."""
    generation = json.loads(body).get("generation")
    return generation if isinstance(generation, int) else None


def main(arguments: Sequence[str] | None = None) -> int:
    """Redrive a queue and print what came of it; returns the process's exit code."""
    options = _parser().parse_args(arguments)
    screen = Screen(sys.stdout, os.environ, as_json=options.json)
    if str(_CORE) not in sys.path:
        sys.path.append(str(_CORE))
    import boto3

    from webhooks.domain.errors import UnavailableError
    from webhooks.settings import Settings
    from webhooks.wiring import Services

    try:
        outputs = of_deployed(options.stack) if options.stack else of_local()
        stack = stack_of(outputs)
        if stack.endpoint_url:
            # A stack on this machine takes any credentials, and must not be handed real ones.
            os.environ |= {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
            os.environ["AWS_DEFAULT_REGION"] = outputs["Region"]
            os.environ.pop("AWS_PROFILE", None)
        sqs = boto3.client("sqs", endpoint_url=stack.endpoint_url)
        wanted = Wanted(options.account, options.webhook, options.reason, options.all)
        progress = Progress(sys.stderr)
        tell = progress.tell if options.json else screen.line
        if options.queue == "deliveries":
            settings = Settings(
                deliveries_table=stack.deliveries_table,
                retry_state_machine_arn=stack.retry_state_machine_arn,
                aws_endpoint_url=stack.endpoint_url,
            )
            redriver = Services("redrive", settings).redriver
            counts = redrive_deliveries(sqs, stack, redriver, wanted, tell)
        else:
            counts = redrive_events(sqs, stack, wanted, tell)
    except (NoStackError, UnavailableError, BotoCoreError, ClientError) as error:
        print(
            f"The redrive stopped; what it did not do is still in the queue. {error}",
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
        prog="python -m local.redrive",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("queue", choices=["deliveries", "events"])
    parser.add_argument("--stack", help="a deployed stack; without it, the one on this machine")
    parser.add_argument("--account", help="only deliveries of this account")
    parser.add_argument("--webhook", help="only deliveries of this webhook")
    parser.add_argument("--reason", help="also events that were rejected for this reason")
    parser.add_argument("--all", action="store_true", help="also every event that was rejected")
    parser.add_argument("--json", action="store_true", help="print the counts as JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main())
