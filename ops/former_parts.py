"""Rewrites parts of messages for the former release, which rejected them after a rollback.

The former release reads a part only if it is alone in its message and is for a range of webhook
ids. It reads neither an array of parts nor a part that names its webhooks. Such a part becomes one
part for each of its webhooks, whose range is that webhook alone.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ops.dead_letters import THREADS, DeadLetters, OutcomeCounts, group_of
from webhooks.adapters.sqs import SQSEventQueue
from webhooks.domain.resending import Outgoing

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Sequence


def former_bodies(body: str) -> list[str] | None:
    """Return a message's parts in the former release's form; None for any other message."""
    try:
        document = json.loads(body)
    except ValueError:
        return None
    parts = document if isinstance(document, list) else [document]
    if not parts or not all(isinstance(part, dict) and "shard" in part for part in parts):
        return None
    rewritten = [one for part in parts for one in _for_ranges(part)]
    return [json.dumps(one, separators=(",", ":")) for one in rewritten]


def _for_ranges(part: dict[str, Any]) -> list[dict[str, Any]]:
    named = part.get("webhooks")
    if not isinstance(named, list):
        return [part]
    rest = {name: value for name, value in part.items() if name != "webhooks"}
    return [{**rest, "shard": [webhook_id, webhook_id]} for webhook_id in named]


def redrive_parts(
    sqs: Any,
    events_dead_letter_queue_url: str,
    events_queue_url: str,
    tell: Callable[[str], None],
    *,
    threads: int = THREADS,
) -> Counter[str]:
    """Put rejected parts back on the events queue, rewritten; return the counts of both kinds.

    A message is deleted once all its new messages are on the queue. If one of them could not be
    queued, the message stays whole: repeated parts are not delivered twice.
    """

    counts = OutcomeCounts(tell)
    queue = SQSEventQueue(sqs, events_queue_url)

    def work(batch: Sequence[Any]) -> Sequence[Any]:
        done = []
        outcomes = []
        for message in batch:
            bodies = former_bodies(message["Body"])
            if bodies is None:
                outcomes.append("left")
            elif queue.put([Outgoing(body, group_of(message)) for body in bodies]):
                outcomes.append("not sent")
            else:
                outcomes.append("rewritten and sent again")
                done.append(message)
        counts.add(outcomes)
        return done

    DeadLetters(sqs, events_dead_letter_queue_url, threads).each_batch(work)
    return counts.end()
