"""The items of replays, erasures and checks: one codec for each kind, for the one store of jobs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic
from uuid import UUID

from webhooks.adapters.dynamodb.delivery_items import read_reason, stored_reason
from webhooks.adapters.dynamodb.item_keys import number
from webhooks.domain.delivery import Outcome, Status
from webhooks.domain.jobs.check import Check, CheckKey, CheckRequest, CheckStatus
from webhooks.domain.jobs.erasure import Erasure, ErasureKey, ErasureStatus, Unsearched
from webhooks.domain.jobs.replay import Replay, ReplayKey, ReplayStatus
from webhooks.domain.jobs.run import Run
from webhooks.domain.selection import Selection
from webhooks.ports import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from webhooks.adapters.dynamodb.item_keys import Item
    from webhooks.ports import JobKey


DUE_JOBS = "job"
"""The partition of running jobs in the sparse index of items with a due time."""


@dataclass(frozen=True, slots=True)
class JobCodec(Generic[Record]):
    """The format in which one kind of job is stored.

    `kind` is the suffix of its records' partitions. `key` makes a job's key from its ids.
    `attributes` returns a record's own attributes, without its key and the attributes of every job;
    `read` makes a job from the ids of its key and its item. With `one_at_a_time` a webhook has at
    most one running job of the kind.
    """

    kind: str
    key: Callable[[Sequence[str]], JobKey]
    attributes: Callable[[Record], Item]
    read: Callable[[Sequence[str], Mapping[str, Any]], Record]
    one_at_a_time: bool = False


def _replay_attributes(replay: Replay) -> Item:
    since_ms, until_ms, statuses = replay.selection
    return {
        "since": number(since_ms),
        "until": number(until_ms),
        "statuses": {"L": [{"S": status.value} for status in statuses]},
        "sent": number(replay.sent),
        "succeeded": number(replay.succeeded),
        "steps": number(replay.steps),
        **({"pace": {"N": str(replay.pace)}} if replay.pace else {}),
        **_texts(position=replay.position),
    }


def _read_replay(ids: Sequence[str], item: Mapping[str, Any]) -> Replay:
    account_id, webhook_id, replay_id = ids
    return Replay(
        account_id=account_id,
        webhook_id=webhook_id,
        id=replay_id,
        selection=Selection(
            since_ms=int(item["since"]["N"]),
            until_ms=int(item["until"]["N"]),
            statuses=tuple(Status(status["S"]) for status in item["statuses"]["L"]),
        ),
        status=ReplayStatus(item["status"]["S"]),
        position=_text(item, "position"),
        sent=int(item["sent"]["N"]),
        succeeded=int(item["succeeded"]["N"]),
        steps=int(item["steps"]["N"]),
        pace=float(item["pace"]["N"]) if "pace" in item else None,
        **_of_every_job(item),
    )


def _erasure_attributes(erasure: Erasure) -> Item:
    secrets = {"salt": erasure.salt, "digest": erasure.digest}
    return {
        "passes": number(erasure.passes),
        "examined": number(erasure.examined),
        "erased_count": number(erasure.erased),
        "steps": number(erasure.steps),
        **_flags(unreadable=erasure.unreadable, include_unsearched=erasure.include_unsearched),
        # Not `position`, which the previous version uses, and which it reads oldest first.
        **_texts(walked_webhook_id=erasure.webhook_id, past=erasure.position),
        **_numbers(began_at=erasure.began_at_ms, floor=erasure.floor_ms),
        **_unsearched_attributes(erasure),
        **{name: {"B": value} for name, value in secrets.items() if value},
    }


def _unsearched_attributes(erasure: Erasure) -> Item:
    """Return an erasure's unsearched deliveries, each as the 32 bytes of its ids."""
    if not erasure.unsearched_count:
        return {}
    pairs = [b"".join(UUID(each).bytes for each in pair) for pair in erasure.unsearched]
    return {
        "unsearched": {"L": [{"B": pair} for pair in pairs]},
        "unsearched_count": number(erasure.unsearched_count),
    }


def _read_erasure(ids: Sequence[str], item: Mapping[str, Any]) -> Erasure:
    account_id, erasure_id = ids
    return Erasure(
        account_id=account_id,
        id=erasure_id,
        salt=item.get("salt", {}).get("B", b""),
        digest=item.get("digest", {}).get("B", b""),
        status=ErasureStatus(item["status"]["S"]),
        passes=int(item["passes"]["N"]),
        webhook_id=_text(item, "walked_webhook_id"),
        position=_text(item, "past"),
        examined=int(item["examined"]["N"]),
        erased=int(item["erased_count"]["N"]),
        steps=int(item["steps"]["N"]),
        unreadable=item.get("unreadable", {}).get("BOOL", False),
        include_unsearched=item.get("include_unsearched", {}).get("BOOL", False),
        unsearched=tuple(
            Unsearched(*(str(UUID(bytes=value["B"][start : start + 16])) for start in (0, 16)))
            for value in item.get("unsearched", {}).get("L", [])
        ),
        unsearched_count=int(item.get("unsearched_count", {}).get("N", 0)),
        began_at_ms=_number(item, "began_at"),
        floor_ms=_number(item, "floor"),
        **_of_every_job(item),
    )


def _check_attributes(check: Check) -> Item:
    return {"outcomes": {"L": [_value(request, each) for request, each in check.outcomes.items()]}}


def _read_check(ids: Sequence[str], item: Mapping[str, Any]) -> Check:
    account_id, webhook_id, check_id = ids
    return Check(
        account_id=account_id,
        webhook_id=webhook_id,
        id=check_id,
        status=CheckStatus(item["status"]["S"]),
        outcomes=dict(_read_outcome(value["S"]) for value in item["outcomes"]["L"]),
        **_of_every_job(item),
    )


def _value(request: CheckRequest, outcome: Outcome) -> dict[str, Any]:
    """Return a request's outcome as a short JSON list, without anything else of the response."""
    fields = [request.value, outcome.status_code, stored_reason(outcome.error), outcome.duration_ms]
    return {"S": json.dumps(fields)}


def _read_outcome(text: str) -> tuple[CheckRequest, Outcome]:
    request, status_code, error, duration_ms = json.loads(text)
    outcome = Outcome(
        error=read_reason(error),
        status_code=status_code,
        duration_ms=duration_ms,
    )
    return CheckRequest(request), outcome


def _of_every_job(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes that the store writes for every job, by the records' field names."""
    return {
        "created_at_ms": int(item["created_at"]["N"]),
        "updated_at_ms": int(item["updated_at"]["N"]),
        "reason": _text(item, "reason"),
        "run": Run(
            number=int(item.get("run", {}).get("N", 0)),
            restarts=int(item.get("restarts", {}).get("N", 0)),
            due_at_ms=int(item.get("next_attempt_at", {}).get("N", 0)),
        ),
    }


def run_attributes(run: Run, *, running: bool) -> Item:
    """Return the attributes of a job's run. A running job is in the index of due items."""
    counts = {"run": run.number, "restarts": run.restarts}
    attributes = {name: number(count) for name, count in counts.items() if count}
    if running and run.due_at_ms:
        attributes |= {"due": {"S": DUE_JOBS}, "next_attempt_at": number(run.due_at_ms)}
    return attributes


def _flags(**flags: bool) -> Item:
    return {name: {"BOOL": True} for name, flag in flags.items() if flag}


def _numbers(**numbers: int | None) -> Item:
    return {name: number(value) for name, value in numbers.items() if value is not None}


def _number(item: Mapping[str, Any], name: str) -> int | None:
    return int(item[name]["N"]) if name in item else None


def _texts(**texts: str | None) -> Item:
    return {name: {"S": text} for name, text in texts.items() if text is not None}


def _text(item: Mapping[str, Any], name: str) -> str | None:
    text: str | None = item.get(name, {}).get("S")
    return text


REPLAYS = JobCodec("replay", ReplayKey._make, _replay_attributes, _read_replay, one_at_a_time=True)
ERASURES = JobCodec("erasure", ErasureKey._make, _erasure_attributes, _read_erasure)
CHECKS = JobCodec("check", CheckKey._make, _check_attributes, _read_check)
