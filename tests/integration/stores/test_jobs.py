"""The contract of the job store for every kind of job, held against the fake and DynamoDB."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from support import samples
from support.jobs import check, erasure, replay
from support.stores import on_dynamodb
from webhooks.domain.delivery import FailureReason, Outcome, Status
from webhooks.domain.errors import UnreadableRecordError
from webhooks.domain.jobs.check import CheckRequest, CheckStatus
from webhooks.domain.jobs.erasure import ErasureStatus
from webhooks.domain.jobs.replay import ReplayStatus
from webhooks.domain.jobs.run import Run
from webhooks.domain.selection import Selection
from webhooks.ports import JobOwner, Page

if TYPE_CHECKING:
    from support.stores import Clock, Stores

OF_WEBHOOK = JobOwner("acc_1", samples.WEBHOOK_ID)
OF_ACCOUNT = JobOwner("acc_1")
LATER_MS = samples.NOW_MS + 5


KINDS: dict[str, tuple[Any, JobOwner, Any]] = {
    "replays": (replay, OF_WEBHOOK, {"status": ReplayStatus.FAILED}),
    "erasures": (erasure, OF_ACCOUNT, {"status": ErasureStatus.FAILED}),
    "checks": (check, OF_WEBHOOK, {"status": CheckStatus.FAILED}),
}
of_every_kind = pytest.mark.parametrize("kind", KINDS)


def ended(kind: str, job: Any) -> Any:
    return replace(job, **KINDS[kind][2], reason="internal_error", updated_at_ms=LATER_MS)


@of_every_kind
def test_a_job_comes_back_as_it_was_put_in(stores: Stores, kind: str) -> None:
    make, _, _ = KINDS[kind]
    store = getattr(stores, kind)
    job = make()
    assert store.create(job)
    assert store.create(job), "a lost answer"
    assert store.get(job.key) == job
    assert store.get(job.key._replace(account_id="acc_2")) is None
    assert store.get(make(1).key) is None


@of_every_kind
def test_a_job_ends_once(stores: Stores, kind: str) -> None:
    store = getattr(stores, kind)
    job = KINDS[kind][0]()
    after = ended(kind, job)
    assert not store.save(job, after), "it was never begun"
    store.create(job)
    assert store.save(job, after)
    assert store.save(job, after), "a lost answer"
    assert not store.save(job, replace(after, reason="another"))
    assert store.get(job.key) == after


@of_every_kind
def test_an_owners_jobs_are_paged_newest_first_and_counted(stores: Stores, kind: str) -> None:
    make, owner, _ = KINDS[kind]
    store = getattr(stores, kind)
    jobs = [make(number) for number in range(4)]
    for job in (*jobs, make(9, account_id="acc_2")):
        store.create(job)
        store.save(job, ended(kind, job))
    first = store.page(owner, 3)
    assert [job.id for job in first.items] == [job.id for job in reversed(jobs[1:])]
    assert first.next == jobs[1].id
    rest = store.page(owner, 3, first.next)
    assert rest == Page([ended(kind, jobs[0])])
    assert store.count_since(owner, samples.NOW_MS + 2) == 2
    assert store.count_since(owner._replace(account_id="acc_3"), 0) == 0


@of_every_kind
def test_an_owners_running_jobs_are_found(stores: Stores, kind: str) -> None:
    make, owner, _ = KINDS[kind]
    store = getattr(stores, kind)
    for number in range(3):
        store.create(make(number))
        store.save(make(number), ended(kind, make(number)))
    store.create(make(3))
    store.create(make(4, account_id="acc_2"))
    assert list(store.running_since(owner, samples.NOW_MS)) == [make(3)]
    assert list(store.running_since(owner, samples.NOW_MS + 4)) == []


@pytest.mark.parametrize(("kind", "alone"), [("replays", True), ("erasures", False)])
def test_a_kind_has_one_running_job_at_a_time_or_many(
    stores: Stores, kind: str, alone: bool
) -> None:
    make = KINDS[kind][0]
    store = getattr(stores, kind)
    assert store.create(make(0))
    assert store.create(make(1)) is not alone


OWNER = f"acc_1#{samples.WEBHOOK_ID}"
ID = "019b4075-7c40-7000-8000-000000000000"
OF_EVERY_JOB = {
    "delivery_id": {"S": ID},
    "status": {"S": "running"},
    "created_at": {"N": "1766313000000"},
    "updated_at": {"N": "1766313000000"},
    "expires_at": {"N": "1768905000"},
}
ENDED = {"status": {"S": "failed"}, "updated_at": {"N": "1766313000005"}}
STORED: dict[str, tuple[str, Any, dict[str, Any]]] = {
    "a replay": (
        "replays",
        replay(position="p", sent=2, succeeded=1, steps=1),
        {
            "owner": {"S": f"{OWNER}#replay"},
            "since": {"N": "1766312999000"},
            "until": {"N": "1766313000000"},
            "statuses": {"L": [{"S": "retrying"}, {"S": "waiting"}, {"S": "exhausted"}]},
            "position": {"S": "p"},
            "sent": {"N": "2"},
            "succeeded": {"N": "1"},
            "steps": {"N": "1"},
        },
    ),
    "an erasure": (
        "erasures",
        erasure(
            passes=1,
            webhook_id=samples.WEBHOOK_ID,
            position="p",
            examined=3,
            erased=2,
            steps=4,
            unreadable=True,
        ),
        {
            "owner": {"S": "acc_1#erasure"},
            "salt": {"B": b"s" * 32},
            "digest": {"B": b"d" * 32},
            "passes": {"N": "1"},
            "walked_webhook_id": {"S": samples.WEBHOOK_ID},
            "past": {"S": "p"},
            "examined": {"N": "3"},
            "erased_count": {"N": "2"},
            "steps": {"N": "4"},
            "unreadable": {"BOOL": True},
        },
    ),
    "an erasure that ended": (
        "erasures",
        erasure(salt=b"", digest=b"", status=ErasureStatus.FAILED, updated_at_ms=LATER_MS),
        {
            "owner": {"S": "acc_1#erasure"},
            "passes": {"N": "0"},
            "examined": {"N": "0"},
            "erased_count": {"N": "0"},
            "steps": {"N": "0"},
            **ENDED,
        },
    ),
    "a check": (
        "checks",
        check(
            status=CheckStatus.FAILED,
            reason="internal_error",
            updated_at_ms=LATER_MS,
            outcomes={
                CheckRequest.VALID: Outcome(status_code=204, duration_ms=12),
                CheckRequest.STALE_TIMESTAMP: Outcome(FailureReason.TIMEOUT, duration_ms=5000),
            },
        ),
        {
            "owner": {"S": f"{OWNER}#check"},
            "outcomes": {
                "L": [
                    {"S": '["valid", 204, null, 12]'},
                    {"S": '["stale_timestamp", null, "timeout", 5000]'},
                ]
            },
            "reason": {"S": "internal_error"},
            **ENDED,
        },
    ),
}


@pytest.mark.parametrize("case", STORED)
def test_a_record_has_the_attributes_that_it_had_in_the_version_before(
    dynamodb: Any, clock: Clock, case: str
) -> None:
    kind, job, attributes = STORED[case]
    store = getattr(on_dynamodb(dynamodb, clock), kind)
    item = OF_EVERY_JOB | attributes
    dynamodb.put_item(TableName="DeliveriesTable", Item=item)
    assert store.get(job.key) == job
    dynamodb.delete_item(
        TableName="DeliveriesTable",
        Key={name: item[name] for name in ("owner", "delivery_id")},
    )
    store.create(job)
    found = dynamodb.scan(TableName="DeliveriesTable")["Items"]
    assert item in found
    marks = [each for each in found if each != item]
    assert marks == (
        [
            {
                "owner": {"S": f"{OWNER}#replay"},
                "delivery_id": {"S": "running"},
                "replay_id": {"S": ID},
                "expires_at": {"N": "1768905000"},
            }
        ]
        if kind == "replays"
        else []
    )


def test_the_statuses_of_deliveries_are_those_of_a_selection(stores: Stores) -> None:
    selection = Selection.of_all_time(*Status)
    made = replay(selection=selection)
    stores.replays.create(made)
    found = stores.replays.get(made.key)
    assert found is not None
    assert found.selection == selection


@of_every_kind
def test_of_two_runs_of_a_job_only_the_last_is_recorded(stores: Stores, kind: str) -> None:
    store = getattr(stores, kind)
    job = KINDS[kind][0](run=Run.first(samples.NOW_MS))
    store.create(job)
    again = replace(job, run=job.run.restarted(LATER_MS))
    assert store.save(job, again)
    assert store.save(job, again), "a lost answer"
    assert store.get(job.key) == again
    assert not store.save(job, ended(kind, job))
    assert store.save(again, ended(kind, again))


def test_the_running_job_of_a_kind_that_runs_one_at_a_time_is_found(stores: Stores) -> None:
    assert stores.replays.running_one(OF_WEBHOOK) is None
    stores.replays.create(replay(0))
    stores.replays.create(replay(1, account_id="acc_2"))
    assert stores.replays.running_one(OF_WEBHOOK) == replay(0)
    stores.replays.save(replay(0), ended("replays", replay(0)))
    assert stores.replays.running_one(OF_WEBHOOK) is None


def test_a_job_that_cannot_be_read_says_which(dynamodb: Any, clock: Clock) -> None:
    store = on_dynamodb(dynamodb, clock).erasures
    store.create(erasure())
    dynamodb.update_item(
        TableName="DeliveriesTable",
        Key={"owner": {"S": "acc_1#erasure"}, "delivery_id": {"S": erasure().id}},
        UpdateExpression="REMOVE passes",
    )
    with pytest.raises(UnreadableRecordError, match=f"erasure {erasure().id} .*KeyError"):
        store.get(erasure().key)
