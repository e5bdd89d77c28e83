"""The counts of events and the lines of turns at hosts, on fakes and on DynamoDB."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from support.stores import (
    BACKENDS,
    DYNAMODBS,
    Clock,
    Stores,
    on_dynamodb,
    open_dynamodb,
    open_stores,
)
from webhooks.domain.errors import UnavailableError
from webhooks.domain.rate_limit import ACCOUNT, RateLimit, RateLimitWindow

if TYPE_CHECKING:
    from collections.abc import Iterator

EVENTS = RateLimitWindow("acc_1", ACCOUNT, RateLimit.EVENTS, 29_438_550)
NOW = 1_766_313_000_000
HOST = "shop.example.com"


@pytest.fixture(params=BACKENDS)
def stores(request: pytest.FixtureRequest) -> Iterator[Stores]:
    with open_stores(request.param, Clock()) as made:
        yield made


@pytest.fixture(params=DYNAMODBS)
def dynamodb(request: pytest.FixtureRequest) -> Iterator[Any]:
    with open_dynamodb(request.param) as client:
        yield client


def reserve(
    stores: Stores, span_ms: int, now_ms: int = NOW, latest_ms: int = NOW + 60_000, host: str = HOST
) -> int | None:
    return stores.host_turns.reserve(
        "acc_1", host, span_ms=span_ms, now_ms=now_ms, latest_ms=latest_ms
    )


def test_a_sum_grows_past_any_limit(stores: Stores) -> None:
    assert stores.rate_limits.add(EVENTS, 3) == 3
    assert stores.rate_limits.add(EVENTS, 4) == 7
    assert stores.rate_limits.add(EVENTS._replace(number=29_438_551), 5) == 5
    assert not stores.rate_limits.consume(EVENTS, limit=7)
    assert stores.rate_limits.consume(EVENTS, limit=8)


def test_turns_follow_each_other_and_begin_now_in_an_empty_line(stores: Stores) -> None:
    assert reserve(stores, 500) == NOW
    assert reserve(stores, 500) == NOW + 500
    assert reserve(stores, 500, NOW + 100) == NOW + 1000
    assert reserve(stores, 500, NOW + 1500) == NOW + 1500
    assert reserve(stores, 500, NOW + 9000) == NOW + 9000


def test_a_lot_is_reserved_only_in_an_empty_line(stores: Stores) -> None:
    def with_lot(span_ms: int) -> int | None:
        return stores.host_turns.reserve(
            "acc_1", HOST, span_ms=span_ms, now_ms=NOW, latest_ms=NOW + 9000, least_ms=250
        )

    assert [with_lot(10), with_lot(10), with_lot(700)] == [NOW, NOW + 250, NOW + 260]


def test_a_line_that_is_too_long_is_left_as_it_is(stores: Stores) -> None:
    assert reserve(stores, 60_001) == NOW
    assert reserve(stores, 1) is None
    assert reserve(stores, 7, latest_ms=NOW + 60_001) == NOW + 60_001
    assert reserve(stores, 1, latest_ms=NOW) is None
    assert reserve(stores, 7, latest_ms=NOW + 90_000) == NOW + 60_008


def test_each_host_and_each_account_has_a_line_of_its_own(stores: Stores) -> None:
    reserve(stores, 500)
    assert reserve(stores, 500, host="other.example.com") == NOW
    other = stores.host_turns.reserve("acc_2", HOST, span_ms=1, now_ms=NOW, latest_ms=NOW)
    assert other == NOW


def test_an_empty_line_is_deleted(dynamodb: Any) -> None:
    stores = on_dynamodb(dynamodb, Clock())
    reserve(stores, 500)
    reserve(stores, 500)
    [item] = dynamodb.scan(TableName="DeliveriesTable")["Items"]
    assert int(item["expires_at"]["N"]) > NOW // 1000 + 60
    assert item["owner"] == {"S": "acc_1#host#rate_limit"}


def test_a_line_that_others_change_all_the_time_is_unavailable(
    dynamodb: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores = on_dynamodb(dynamodb, Clock())
    monkeypatch.setattr(stores.host_turns, "_begin", lambda *_: NOW + 1)
    with pytest.raises(UnavailableError):
        reserve(stores, 1)


def test_a_missing_table_is_unavailable(dynamodb: Any) -> None:
    stores = on_dynamodb(dynamodb, Clock())
    dynamodb.delete_table(TableName="DeliveriesTable")
    with pytest.raises(UnavailableError):
        reserve(stores, 1)
    with pytest.raises(UnavailableError):
        stores.rate_limits.add(EVENTS, 1)
