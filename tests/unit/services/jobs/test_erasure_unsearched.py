"""Erasures that end: payloads that take long to search, and accounts that never rest."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from support import samples
from support.service_fixture import ServiceFixture
from webhooks.domain.cpu import CpuLimit, CpuLimitReachedError
from webhooks.domain.delivery import Delivery, Status, delivery_id
from webhooks.domain.jobs.erasure import (
    MAX_UNSEARCHED,
    SEARCH_CPU_SECONDS,
    Erasure,
    ErasureStatus,
    Mention,
    Unsearched,
    digest,
    erasure_id,
)
from webhooks.domain.webhook import webhook_id
from webhooks.services.jobs.erasure import SECONDS_FOR_A_BATCH

if TYPE_CHECKING:
    from collections.abc import Callable

ANNA = "anna@example.com"
SALT = b"s" * 32
LONG = ", ".join(f"{number}@example.com" for number in range(1000))
"""A text with so many addresses that a slow clock runs out."""


class SearchFixture(ServiceFixture):
    """A webhook, and erasures of its deliveries."""

    def __init__(self) -> None:
        super().__init__()
        self.add(1)
        self.numbers = iter(range(1_000_000))

    def about(self, text: str = "bob@example.com", ms: int = 0, **changes: Any) -> Delivery:
        """Store a delivery with a text, `ms` milliseconds after the sample's time."""
        event_id = f"evt_{next(self.numbers)}"
        values: dict[str, Any] = {
            "id": delivery_id(event_id, samples.NOW_MS + ms, samples.WEBHOOK_ID),
            "event_id": event_id,
            "body": json.dumps({"event": "email.sent", "data": {"to": text}}).encode(),
            "attempts": (samples.attempt(response_body=""),),
            "status": Status.SUCCEEDED,
            "next_attempt_at_ms": None,
        }
        return self.put(samples.delivery(**{**values, **changes}))

    def start(self, address: str = ANNA, **changes: Any) -> Erasure:
        erasure = Erasure(
            account_id="acc_1",
            id=erasure_id(samples.NOW_MS * 1_000_000, bytes(8)),
            created_at_ms=samples.NOW_MS,
            updated_at_ms=samples.NOW_MS,
            salt=SALT,
            digest=digest(SALT, address),
            **changes,
        )
        self.erasures.create(erasure)
        return erasure

    def finish(
        self,
        erasure: Erasure,
        meanwhile: Callable[[], object] = lambda: None,
        *,
        most_steps: int = 50,
    ) -> Erasure:
        """Make every step, each when it is due; call `meanwhile` before each."""
        for _ in range(most_steps):
            meanwhile()
            following = self.erasure_job.step(erasure.key, lambda: self.remaining)
            if following is None:
                return self.now(erasure)
            self.now_ms += int(following.seconds * 1000)
        pytest.fail(f"no end after {most_steps} steps: {self.now(erasure)}")

    def now(self, erasure: Erasure) -> Erasure:
        return self.erasures.jobs[erasure.key]

    def stored(self, delivery: Delivery) -> Delivery:
        return self.deliveries.deliveries[delivery.key]


@pytest.fixture
def services() -> SearchFixture:
    return SearchFixture()


def slow(services: SearchFixture, looks: int) -> None:
    """End a delivery's CPU time at this look at its clock."""
    services.cpu_seconds_a_look = SEARCH_CPU_SECONDS / looks


def test_a_payload_that_takes_too_long_is_listed_and_left(services: SearchFixture) -> None:
    long, short = services.about(LONG), services.about(ANNA, ms=1)
    slow(services, looks=50)
    ended = services.finish(services.start())
    assert ended.status is ErasureStatus.COMPLETED
    assert ended.unsearched == (Unsearched(long.webhook_id, long.id),)
    assert (ended.unsearched_count, ended.examined, ended.erased) == (1, 4, 1)
    assert services.stored(long) == long
    assert services.stored(short).erased


def test_it_is_erased_whole_where_the_call_asks_for_that(services: SearchFixture) -> None:
    body = {"event": "email.sent", "transaction_id": "txn_1", "data": {"to": LONG}}
    long = services.about(body=json.dumps(body, separators=(",", ":")).encode())
    slow(services, looks=50)
    ended = services.finish(services.start(include_unsearched=True))
    assert (ended.status, ended.erased) == (ErasureStatus.COMPLETED, 1)
    assert (ended.unsearched, ended.unsearched_count) == ((Unsearched(*long.key[1:]),), 1)
    erased = services.stored(long)
    assert erased.erased
    assert erased.body == b'{"event":"email.delivered","transaction_id":"txn_1"}'


def test_ids_that_take_too_long_to_search_go_too(services: SearchFixture) -> None:
    body = {"event": "email.sent", "transaction_id": LONG, "data": {"to": LONG}}
    long = services.about(
        body=json.dumps(body, separators=(",", ":")).encode(), event_id=LONG.replace(" ", "")
    )
    slow(services, looks=50)
    services.finish(services.start(include_unsearched=True))
    erased = services.stored(long)
    assert (erased.body, erased.event_id) == (b'{"event":"email.delivered"}', "erased")


def test_what_was_accepted_long_after_a_pass_began_is_another_erasures(
    services: SearchFixture,
) -> None:
    late = services.about(ANNA, created_at_ms=samples.NOW_MS + 90_000 + 300_001)
    counted = services.about(ANNA, ms=1, created_at_ms=samples.NOW_MS + 300_001)
    ended = services.finish(services.start())
    assert (services.stored(late).erased, services.stored(counted).erased) == (False, True)
    assert (ended.examined, ended.erased) == (1, 1)


def test_a_delivery_searched_in_time_is_not_listed(services: SearchFixture) -> None:
    delivery = services.about(f"{ANNA}, {LONG}")
    slow(services, looks=50)
    ended = services.finish(services.start())
    assert (ended.erased, ended.unsearched_count) == (1, 0)
    assert services.stored(delivery).erased


def test_responses_that_take_too_long_are_unsearched_too(services: SearchFixture) -> None:
    answers = tuple(
        samples.attempt(number, response_body="a@b.example " * 80) for number in range(1, 100)
    )
    long = services.about(attempts=answers)
    slow(services, looks=50)
    ended = services.finish(services.start())
    assert [each.delivery_id for each in ended.unsearched] == [long.id]


def test_a_body_that_is_no_json_is_unsearched_and_holds_up_nothing(services: SearchFixture) -> None:
    broken, other = services.about(body=b'{"event":'), services.about(ANNA, ms=-1)
    ended = services.finish(services.start())
    assert (ended.status, ended.unsearched_count) == (ErasureStatus.COMPLETED, 1)
    assert ended.unsearched[0].delivery_id == broken.id
    assert services.stored(other).erased


def test_the_list_is_bounded_and_the_count_goes_on(services: SearchFixture) -> None:
    for number in range(MAX_UNSEARCHED + 20):
        services.about(LONG, ms=number)
    slow(services, looks=50)
    for include in (False, True):
        ended = services.finish(services.start(include_unsearched=include))
        assert len(set(ended.unsearched)) == len(ended.unsearched) == MAX_UNSEARCHED
        assert ended.unsearched_count == MAX_UNSEARCHED + 20
        services.erasures.jobs.clear()


def test_the_clock_is_looked_at_all_along(services: SearchFixture) -> None:
    """No part of the work goes on for long after the limit, for any text."""
    erasure = services.start()
    texts = [LONG, "x@" * 5000, "%40a" * 5000, "/" * 250 + "@h", "ü.ü@" * 5000, "日本@x" * 999]
    texts += ["%" * 99_999, "%4" * 49_999, "%zz" * 33_333, "a@b" + "\u0301\u0323" * 49_999]
    for text in texts:
        looks: list[float] = []

        def clock(looks: list[float] = looks) -> float:
            looks.append(0.0)
            return 0.0 if len(looks) < 20 else 1.0

        mention = erasure.search(services.about(text), CpuLimit(SEARCH_CPU_SECONDS, clock))
        assert (mention, len(looks)) == (Mention.UNKNOWN, 20), text[:10]


def test_a_limit_without_an_end_ends_nothing() -> None:
    CpuLimit(1.0, iter([0.0, 0.99]).__next__).check()
    with pytest.raises(CpuLimitReachedError):
        CpuLimit(1.0, iter([0.0, 1.0]).__next__).check()


def test_a_step_whose_time_is_short_goes_on_within_its_batch(services: SearchFixture) -> None:
    mine = [services.about(ANNA, ms=-number) for number in range(5)]
    erasure = services.start()
    left = iter([45.0, 45.0, *[SECONDS_FOR_A_BATCH] * 2, *[SECONDS_FOR_A_BATCH - 1] * 9])
    services.erasure_job.step(erasure.key, lambda: next(left))
    progress = services.now(erasure)
    assert [services.stored(each).erased for each in mine] == [True] * 3 + [False] * 2
    assert (progress.position, progress.examined, progress.erased) == (mine[2].id, 3, 3)
    assert services.finish(erasure).erased == 5


@pytest.mark.parametrize("left", [SECONDS_FOR_A_BATCH, SECONDS_FOR_A_BATCH + 1])
def test_each_step_gets_one_further_however_short_its_time(
    services: SearchFixture, left: float
) -> None:
    mine = [services.about(ANNA, ms=-number) for number in range(5)]
    erasure = services.start()

    def step() -> None:
        looks = iter([left])
        services.erasure_job.step(erasure.key, lambda: next(looks, 1.0))
        services.now_ms += 100_000

    for _ in range(20):
        step()
    assert all(services.stored(each).erased for each in mine)
    assert services.now(erasure).status is ErasureStatus.COMPLETED


@pytest.mark.parametrize("step_ms", [1, -1, 0, 86_400_000, -86_400_000])
def test_a_pass_ends_while_more_is_added_than_it_looks_at(
    services: SearchFixture, step_ms: int
) -> None:
    """New ones, some stamped ahead of now, late ones, and several of one moment."""
    mine = [
        services.about(ANNA),
        services.about(ANNA, ms=10**13),
        services.about(ANNA, ms=-(10**9)),
    ]
    times = iter(range(10**6))

    def meanwhile() -> None:
        for _ in range(1100):
            services.about(ms=next(times) * step_ms, created_at_ms=services.now_ms + 1)

    services.finish(services.start(), meanwhile, most_steps=15)
    assert all(services.stored(each).erased for each in mine)


def test_an_event_stamped_ahead_of_now_is_searched(services: SearchFixture) -> None:
    ahead = services.about(ANNA, ms=70 * 365 * 86_400_000)
    services.finish(services.start())
    assert services.stored(ahead).erased


def test_webhooks_that_are_registered_and_deleted_meanwhile_end_no_pass_late(
    services: SearchFixture,
) -> None:
    delivery = services.about(ANNA)
    numbers = iter(range(10**6))
    # By more than clocks may differ.
    services.now_ms += 1000

    def meanwhile() -> None:
        for _ in range(110):
            made = webhook_id((services.now_ms + 400_000 + next(numbers)) * 1_000_000, bytes(8))
            services.store.deleted.add(("acc_1", made))

    services.finish(services.start(), meanwhile, most_steps=10)
    assert services.stored(delivery).erased


def test_a_second_pass_covers_what_was_registered_during_the_first(services: SearchFixture) -> None:
    erasure = services.start()
    services.erasure_job.step(erasure.key, lambda: services.remaining)
    services.add(2, id="019b5000-0000-7000-8000-000000000002")
    late = services.about(ANNA, webhook_id="019b5000-0000-7000-8000-000000000002")
    services.now_ms = 0x019B50000000 + 1
    ended = services.finish(erasure)
    assert (services.stored(late).erased, ended.passes) == (True, 2)


def test_many_webhooks_without_deliveries_are_few_steps(services: SearchFixture) -> None:
    for number in range(500):
        services.store.deleted.add(("acc_1", webhook_id(number * 1_000_000, bytes(8))))
    services.finish(services.start(), most_steps=15)


def test_an_erasure_of_the_version_before_goes_through_its_webhook_again(
    services: SearchFixture,
) -> None:
    mine = [services.about(ANNA, ms=number) for number in range(3)]
    erasure = services.start(webhook_id=samples.WEBHOOK_ID, examined=1, steps=1)
    assert services.finish(erasure).erased == 3
    assert all(services.stored(each).erased for each in mine)
