"""Lists and erasures whose cost or duration would have no bound."""

from __future__ import annotations

import json

from support import samples
from support.engines import engine_of
from support.metered import MeteredClient
from support.service_fixture import ServiceFixture
from support.stores import Clock, on_dynamodb, open_dynamodb
from webhooks.domain.delivery import Delivery, Status, delivery_id
from webhooks.domain.jobs.erasure import SEARCH_CPU_SECONDS, Erasure, digest, erasure_id
from webhooks.domain.webhook import webhook_id
from webhooks.ports import DeliveryQuery

ANNA = "anna@example.com"
LONG = " ".join(f"{number}@example.com" for number in range(200))
SALT = b"s" * 32


def about(text: str, ms: int = 0, created_at_ms: int = samples.NOW_MS) -> Delivery:
    event_id = f"evt_{ms}_{created_at_ms}"
    return samples.delivery(
        id=delivery_id(event_id, samples.NOW_MS + ms, samples.WEBHOOK_ID),
        event_id=event_id,
        body=json.dumps({"event": "email.sent", "data": {"to": text}}).encode(),
        status=Status.SUCCEEDED,
        attempts=(),
        next_attempt_at_ms=None,
        created_at_ms=created_at_ms,
    )


def begun(services: ServiceFixture) -> Erasure:
    services.add(1)
    erasure = Erasure(
        account_id="acc_1",
        id=erasure_id(samples.NOW_MS * 1_000_000, bytes(8)),
        created_at_ms=samples.NOW_MS,
        updated_at_ms=samples.NOW_MS,
        salt=SALT,
        digest=digest(SALT, ANNA),
    )
    services.erasures.create(erasure)
    return erasure


def step(services: ServiceFixture, erasure: Erasure) -> bool:
    """Make a step when it is due; False at the end."""
    following = services.erasure_job.step(erasure.key, lambda: services.remaining)
    services.now_ms += 0 if following is None else int(following.seconds * 1000)
    return following is not None


def test_row_101_a_list_over_large_payloads_is_bounded() -> None:
    with open_dynamodb(engine_of("dynamodb")) as client:
        on_dynamodb(client, Clock()).deliveries.put_settled([about("x", ms) for ms in range(99)])
        metered = MeteredClient(client, 62_000, local=True)
        log = on_dynamodb(metered, Clock()).log  # type: ignore[arg-type]
        query = DeliveryQuery("acc_1", samples.WEBHOOK_ID, Status.CANCELLED)
        page = log.page(query, 20)
        assert (page.items, page.next is None, metered.units <= 480) == ([], False, True)
        while page.next is not None:
            page = log.page(query, 20, page.next)
        assert page.items == []


def test_row_102_a_payload_that_takes_long_to_search_ends_no_erasure() -> None:
    services = ServiceFixture(cpu_seconds_a_look=SEARCH_CPU_SECONDS / 50)
    erasure = begun(services)
    long, short = services.put(about(LONG)), services.put(about(ANNA, -1))
    while step(services, erasure):
        pass
    ended = services.erasures.jobs[erasure.key]
    assert (ended.status, ended.erased, ended.unsearched_count) == ("completed", 1, 1)
    assert services.deliveries.deliveries[short.key].erased
    assert ended.unsearched == ((long.webhook_id, long.id),)


def test_row_102_a_step_without_time_goes_on_within_its_batch() -> None:
    services = ServiceFixture(remaining=27.0)
    erasure = begun(services)
    for ms in range(5):
        services.put(about(ANNA, ms))
    for number in range(1, 5):
        left = iter([27.0, 27.0] if number == 1 else [27.0])
        services.erasure_job.step(erasure.key, lambda left=left: next(left, 1.0))  # type: ignore[misc]
    assert sum(each.erased for each in services.deliveries.deliveries.values()) == 4


def test_row_103_an_erasure_of_an_account_that_never_rests_completes() -> None:
    services = ServiceFixture()
    erasure = begun(services)
    mine = services.put(about(ANNA))
    services.now_ms += 1000
    added = iter(range(1, 1_000_000))
    for _ in range(10):
        for _ in range(1100):
            services.put(about("x", next(added), services.now_ms + 1))
        later = (services.now_ms + 400_000 + next(added)) * 1_000_000
        services.store.deleted.add(("acc_1", webhook_id(later, bytes(8))))
        if not step(services, erasure):
            break
    assert services.erasures.jobs[erasure.key].status == "completed"
    assert services.deliveries.deliveries[mine.key].erased
