"""A read of several requests ends in time, for any duration of each request."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from support import samples
from webhooks.adapters.aws import CALL_SECONDS
from webhooks.adapters.dynamodb import deliveries, webhook_items
from webhooks.adapters.dynamodb.deliveries import DynamoDBDeliveryStore
from webhooks.adapters.dynamodb.destinations import DynamoDBDestinationStore
from webhooks.domain.errors import UnavailableError

ITEM = webhook_items.webhook_item(samples.webhook(), samples.SECRET)


class SlowTable:
    """A table whose requests each take some seconds, and most of which have a next one."""

    def __init__(self, seconds: float, requests: int) -> None:
        self.now = 0.0
        self._seconds = seconds
        self._left = requests

    def query(self, **_: Any) -> dict[str, Any]:
        more = self._next()
        return {"Items": [ITEM], **({"LastEvaluatedKey": {"x": "y"}} if more else {})}

    def batch_get_item(self, RequestItems: Any) -> dict[str, Any]:
        return {"Responses": {}, "UnprocessedKeys": RequestItems if self._next() else {}}

    def _next(self) -> bool:
        self.now += self._seconds
        self._left -= 1
        return self._left > 0


@pytest.mark.parametrize(("seconds", "pages", "read"), [(2.9, 4, 4), (0.1, 50, 50), (4.6, 3, None)])
def test_an_accounts_pages_are_read_within_the_time_of_one_call(
    seconds: float, pages: int, read: int | None
) -> None:
    table: Any = SlowTable(seconds, pages)
    store = DynamoDBDestinationStore(table, "t", monotonic=lambda: table.now)
    if read is None:
        with pytest.raises(UnavailableError, match="too slow"):
            store.destinations("acc_1")
        assert CALL_SECONDS <= table.now < 2 * CALL_SECONDS
    else:
        assert len(store.destinations("acc_1")) == read


def test_what_stays_unprocessed_is_tried_for_the_time_of_one_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table: Any = SlowTable(4.0, 6)
    clock = SimpleNamespace(time=lambda: table.now, sleep=lambda _: None)
    monkeypatch.setattr(deliveries, "time", clock)
    store = DynamoDBDeliveryStore(table, "t", retention_days=30)
    with pytest.raises(UnavailableError, match="stayed unprocessed"):
        store.get_many([samples.delivery().key])
    assert table.now == 3 * 4.0
