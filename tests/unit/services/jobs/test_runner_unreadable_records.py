"""An unreadable delivery record never blocks other deliveries, and is reported."""

from __future__ import annotations

import secrets

import pytest

from support import samples
from support.fakes import FakeJobStore
from support.service_fixture import ServiceFixture
from webhooks.domain.delivery import Delivery, Status, delivery_id
from webhooks.domain.errors import UnreadableRecordError
from webhooks.domain.health import Circuit, Health, RecoveryKey
from webhooks.domain.jobs.erasure import Erasure, ErasureStatus, digest, erasure_id
from webhooks.domain.jobs.recovery import RecoveryState
from webhooks.domain.jobs.replay import NOT_ARRIVED, Replay, ReplayStatus, replay_id
from webhooks.domain.selection import Selection
from webhooks.domain.webhook import Secrets

ANNA = "anna@example.com"
RECOVERY = RecoveryKey("acc_1", samples.WEBHOOK_ID, "recovery-0")


@pytest.fixture
def services() -> ServiceFixture:
    made = ServiceFixture()
    made.add()
    return made


def put(
    services: ServiceFixture, number: int, status: Status, *, readable: bool = True
) -> Delivery:
    """Store a delivery of a webhook, each a millisecond later than the one before."""
    event_id = f"evt_{number}"
    delivery = services.put(
        samples.delivery(
            id=delivery_id(event_id, samples.NOW_MS - 1000 + number, samples.WEBHOOK_ID),
            event_id=event_id,
            body=b'{"event":"email.delivered","data":{"to":"anna@example.com"}}',
            status=status,
            attempts=(),
            next_attempt_at_ms=None,
        )
    )
    if not readable:
        services.deliveries.unreadable.add(delivery.key)
    return delivery


def sent(services: ServiceFixture) -> list[str]:
    return [headers["X-SendComms-Delivery"] for _, _, headers in services.sender.posts]


def told(services: ServiceFixture) -> set[str]:
    lines = services.telemetry.logged("record_unreadable")
    assert services.telemetry.counts["UnreadableRecords"] == len(lines)
    assert all(set(line) == set(samples.delivery().key._asdict()) for line in lines)
    return {str(line["delivery_id"]) for line in lines}


def test_an_event_that_comes_again_fails_its_own_message_only(services: ServiceFixture) -> None:
    services.add(2, account_id="acc_2")
    mine, others = samples.event_text(), samples.event_text(account_id="acc_2")
    another = samples.event_text(transaction_id="txn_2")
    assert services.send(mine) == []
    [broken] = services.deliveries.deliveries
    services.deliveries.unreadable.add(broken)
    assert services.send(mine, others, another) == ["m0"]
    assert len(services.sender.posts) == 3
    assert told(services) == {broken.delivery_id}
    [failed] = services.telemetry.logged("message_failed")
    assert failed["message_ids"] == ["m0"]


@pytest.mark.parametrize("limit", [1, 3])
def test_a_drain_sends_what_waits_behind_it_and_comes_to_its_end(
    services: ServiceFixture, limit: int
) -> None:
    services.recovery_rate = limit
    broken = put(services, 0, Status.WAITING, readable=False)
    others = [put(services, number, Status.WAITING) for number in (1, 2, 3)]
    health = Health(
        circuit=Circuit.DRAINING,
        recovery_id=RECOVERY.recovery_id,
        draining_since_ms=services.now_ms,
    )
    services.store.add(samples.webhook(health=health), Secrets(samples.SECRET))
    step: RecoveryState | None = RecoveryState(0)
    for _ in range(10):
        if step is not None:
            step = services.recovery_job.advance(RECOVERY, step, lambda: services.remaining)
    assert step is None
    assert sorted(sent(services)) == [delivery.id for delivery in others]
    assert told(services) == {broken.id}


def test_a_probe_is_made_with_another(services: ServiceFixture) -> None:
    broken = put(services, 0, Status.WAITING, readable=False)
    second = put(services, 1, Status.WAITING)
    health = Health(circuit=Circuit.OPEN, recovery_id=RECOVERY.recovery_id)
    services.store.add(samples.webhook(health=health), Secrets(samples.SECRET))
    services.recovery_job.advance(RECOVERY, RecoveryState(0), lambda: services.remaining)
    assert sent(services) == [second.id]
    assert told(services) == {broken.id}


def test_a_replay_sends_the_others(services: ServiceFixture) -> None:
    deliveries = [put(services, n, Status.EXHAUSTED, readable=n != 1) for n in range(3)]
    store = FakeJobStore[Replay](one_at_a_time=True)
    replay = Replay(
        account_id="acc_1",
        webhook_id=samples.WEBHOOK_ID,
        id=replay_id(samples.NOW_MS * 1_000_000, bytes(8)),
        selection=Selection(0, samples.NOW_MS, NOT_ARRIVED),
        created_at_ms=samples.NOW_MS,
        updated_at_ms=samples.NOW_MS,
    )
    store.create(replay)
    replayer = services.make_replay_job(store, per_second=2)
    while replayer.step(replay.key, lambda: 60.0) is not None:
        pass
    ended = store.jobs[replay.key]
    assert (ended.status, ended.sent) == (ReplayStatus.COMPLETED, 2)
    assert set(sent(services)) == {deliveries[0].id, deliveries[2].id}
    assert told(services) == {deliveries[1].id}


def test_an_erasure_erases_the_others_and_does_not_say_that_it_erased_all(
    services: ServiceFixture,
) -> None:
    deliveries = [put(services, n, Status.SUCCEEDED, readable=n != 1) for n in range(3)]
    salt = secrets.token_bytes(32)
    erasure = Erasure(
        account_id="acc_1",
        id=erasure_id(samples.NOW_MS * 1_000_000, bytes(8)),
        created_at_ms=samples.NOW_MS,
        updated_at_ms=samples.NOW_MS,
        salt=salt,
        digest=digest(salt, ANNA),
    )
    services.erasures.create(erasure)
    while (
        following := services.erasure_job.step(erasure.key, lambda: services.remaining)
    ) is not None:
        services.now_ms += int(following.seconds * 1000)
    ended = services.erasures.jobs[erasure.key]
    assert (ended.status, ended.reason) == (ErasureStatus.FAILED, "internal_error")
    assert (ended.erased, ended.salt, ended.digest) == (2, b"", b"")
    assert services.deliveries.deliveries[deliveries[2].key].erased
    assert told(services) == {deliveries[1].id}


def test_an_attempt_of_its_own_is_not_made(services: ServiceFixture) -> None:
    broken = put(services, 0, Status.RETRYING, readable=False)
    with pytest.raises(UnreadableRecordError, match=broken.id):
        services.retry(broken.key, 2)
    assert sent(services) == []
