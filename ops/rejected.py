"""Lists rejected event messages, saves them for correction, and sends them again.

::

    python -m ops.rejected
    python -m ops.rejected --save DIRECTORY [--reason invalid_field]
    python -m ops.rejected --send DIRECTORY

Without a directory it lists the messages with their reasons and faults. `--save` writes each body
into a file named after the message, and leaves the message in the queue. `--send` takes the
corrected files: a body that is valid now is put on the events queue, and then its message is
deleted. A body that is still invalid is reported and left. If a file is empty, its message is
deleted and nothing is sent.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from cli.screen import Screen
from local.aws import aws_client
from ops.dead_letters import group_of, texts_of
from ops.outputs import NoStackError, of_deployed, of_local
from ops.redrive import Stack, messages, stack_of
from webhooks.adapters.sqs import SQSEventQueue
from webhooks.domain.errors import InvalidEventError, UnavailableError
from webhooks.domain.ingest import read_message
from webhooks.domain.resending import Outgoing, carried
from webhooks.domain.ses import SesAccounts
from webhooks.domain.timestamps import to_ms

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


class Rejected(NamedTuple):
    """A message that can never be processed, and the reason."""

    id: str
    reason: str
    detail: str
    body: str
    handle: str
    group: str | None
    arrived_at_ms: int


def rejected(sqs: Any, stack: Stack, reason: str | None = None) -> Iterator[Rejected]:
    """Yield the rejected messages, all or for one reason."""

    for message in messages(sqs, stack.events_dead_letter_queue_url):
        texts = texts_of(message)
        if "reason" in texts and reason in {None, texts["reason"]}:
            yield Rejected(
                message["MessageId"],
                texts["reason"],
                texts.get("detail", ""),
                message["Body"],
                message["ReceiptHandle"],
                group_of(message),
                carried(
                    texts, sent_at_ms=int(message["Attributes"]["SentTimestamp"])
                ).arrived_at_ms,
            )


def save(
    sqs: Any, stack: Stack, directory: Path, reason: str | None, tell: Callable[[str], None]
) -> Counter[str]:
    """Write the rejected messages' bodies into a directory; existing files stay.

    The bodies are personal data, so only the files' owner may read them.
    """
    counts: Counter[str] = Counter()
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for one in rejected(sqs, stack, reason):
        try:
            file = os.open(_file(directory, one.id), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            counts["there already"] += 1
            continue
        with os.fdopen(file, "w", encoding="utf-8") as writing:
            writing.write(one.body)
        counts["saved"] += 1
        tell(f"{_file(directory, one.id)}  {one.detail}")
    return counts


def send(sqs: Any, stack: Stack, directory: Path, tell: Callable[[str], None]) -> Counter[str]:
    """Send the contents of a directory's files in place of the messages that name them.

    Each keeps its message's first arrival. Raises UnavailableError if the queue accepts none.
    """

    counts: Counter[str] = Counter()
    for one in rejected(sqs, stack):
        file = _file(directory, one.id)
        if not file.exists():
            counts["left"] += 1
            continue
        text = file.read_text(encoding="utf-8")
        if not text.strip():
            sqs.delete_message(
                QueueUrl=stack.events_dead_letter_queue_url, ReceiptHandle=one.handle
            )
            counts["given up"] += 1
            continue
        trouble = _trouble(text)
        if trouble is not None:
            counts["still rejected"] += 1
            tell(f"{file}  {trouble}")
            continue
        again = Outgoing(text, one.group, arrived_at_ms=one.arrived_at_ms)
        if SQSEventQueue(sqs, stack.events_queue_url).put([again]):
            msg = "the events queue did not take a message"
            raise UnavailableError(msg)
        sqs.delete_message(QueueUrl=stack.events_dead_letter_queue_url, ReceiptHandle=one.handle)
        counts["sent again"] += 1
        tell(f"{file}  sent again")
    return counts


def _trouble(text: str) -> str | None:
    """Return why a message would be rejected again; None if it is valid."""

    try:
        content = read_message(text, sent_at_ms=to_ms(time.time()), ses_accounts=SesAccounts())
    except InvalidEventError as error:
        return str(error)
    return str(content.refusals[0].error) if content.refusals else None


def _file(directory: Path, message_id: str) -> Path:
    return directory / f"{message_id}.json"


def main(arguments: Sequence[str] | None = None) -> int:
    """List, save or send; return the process's exit code."""
    options = _parser().parse_args(arguments)

    screen = Screen(sys.stdout, os.environ, as_json=options.json)

    def tell(line: str) -> None:
        print(line, file=sys.stderr)

    try:
        stack = stack_of(of_deployed(options.stack) if options.stack else of_local())
        endpoint_url = stack.endpoint_url
        sqs = aws_client("sqs", endpoint_url) if endpoint_url else boto3.client("sqs")
        if options.send is not None:
            counts = send(sqs, stack, options.send, tell)
        elif options.save is not None:
            counts = save(sqs, stack, options.save, options.reason, tell)
        else:
            _list(sqs, stack, options.reason, screen)
            return 0
    except (NoStackError, UnavailableError, BotoCoreError, ClientError, OSError) as error:
        print(f"Stopped; the remaining messages are still in the queue: {error}", file=sys.stderr)
        return 1
    if options.json:
        screen.json(dict(counts))
    else:
        screen.table(["Messages", "Count"], sorted(counts.items()))
    return 1 if counts["still rejected"] else 0


def _list(sqs: Any, stack: Stack, reason: str | None, screen: Screen) -> None:
    rows = [(one.id, one.reason, one.detail) for one in rejected(sqs, stack, reason)]
    if screen.as_json:
        screen.json([dict(zip(("id", "reason", "detail"), row, strict=True)) for row in rows])
    else:
        screen.table(["MESSAGE", "REASON", "DETAIL"], rows)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m ops.rejected",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    doing = parser.add_mutually_exclusive_group()
    doing.add_argument("--save", type=Path, help="write the messages into this directory")
    doing.add_argument("--send", type=Path, help="send this directory's files again")
    parser.add_argument("--reason", help="only messages that were rejected for this reason")
    parser.add_argument(
        "--json", action="store_true", help="print the messages or the counts as JSON"
    )
    parser.add_argument("--stack", help="a deployed stack; without it, the one on this machine")
    return parser


if __name__ == "__main__":
    sys.exit(main())
