"""Rows 98 and 99: too many events of an account, and too many requests to a host."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from support.faults import answer_lost, refused
from webhooks.domain.delivery import Status
from webhooks.domain.resending import ARRIVED_AT, DELAYS, FEWEST_TRIES, HAS_TURN, PACED
from webhooks.domain.shard import read_part
from webhooks.services.dispatch.event_limits import LONGEST_DELAY_SECONDS
from webhooks.wiring.api import ApiServices
from webhooks.wiring.dispatcher import DispatcherServices

if TYPE_CHECKING:
    from collections.abc import Callable

    from faults.fault_harness import Tenant
    from support.receiver import Receiver

    MakeReceiver = Callable[..., Receiver]

ARRIVED_MS = 1_766_313_000_000
"""The arrival of the stand's messages: more than 14 days ago by the functions' clock."""


def at(services: DispatcherServices, seconds: float) -> DispatcherServices:
    """Set the clock of a process, before it makes the parts that count by it."""
    services._clock = lambda: seconds
    return services


def held_back(tenant: Tenant) -> list[dict[str, Any]]:
    """Return the account's messages that went back to the queue because of a limit."""
    return [
        entry
        for operation, body in tenant.harness.faults.sent
        if operation == "SendMessageBatch"
        for entry in body["Entries"]
        if entry["MessageGroupId"] == tenant.account
        and {DELAYS, PACED} & entry.get("MessageAttributes", {}).keys()
    ]


def numbers_of(entry: dict[str, Any]) -> dict[str, int]:
    return {name: int(value["StringValue"]) for name, value in entry["MessageAttributes"].items()}


def events(tenant: Tenant, count: int, first: int = 0) -> list[str]:
    return [tenant.message(f"txn_{one}") for one in range(first, first + count)]


def transactions(hook: Receiver) -> list[str]:
    return sorted(json.loads(one.body)["transaction_id"] for one in hook.requests)


def test_row_98_events_above_the_limit_come_again_and_nothing_is_lost(
    tenant: Tenant, receiver: MakeReceiver
) -> None:
    hook = receiver()
    tenant.webhook(hook)
    begun = time.time() // 60 * 60
    services = at(tenant.harness.fresh(DispatcherServices, max_events_per_minute=4), begun)
    assert tenant.dispatch(*events(tenant, 9), services=services) == []
    # A share of one, and four that are counted; the bystander has a share of its own.
    assert len(hook.requests) == 5
    [*back] = held_back(tenant)
    assert len(back) == 4
    for entry in back:
        assert entry["MessageGroupId"] == tenant.account
        assert 1 <= entry["DelaySeconds"] <= 60 + 120
        assert numbers_of(entry)[DELAYS] == 1
        assert ARRIVED_MS <= numbers_of(entry)[ARRIVED_AT] <= ARRIVED_MS + 9
    tenant.harness.faults.clear()
    later = at(tenant.harness.fresh(DispatcherServices, max_events_per_minute=4), begun + 60)
    assert (
        tenant.dispatch(
            *[entry["MessageBody"] for entry in back], services=later, numbers={DELAYS: 1}
        )
        == []
    )
    assert held_back(tenant) == []
    assert transactions(hook) == sorted(f"txn_{one}" for one in range(9))
    assert {one.status for one in tenant.deliveries()} == {Status.SUCCEEDED}


@pytest.mark.parametrize(
    "fault", [refused("ThrottlingException"), refused("InternalServerError", 500)]
)
def test_row_98_where_the_count_fails_the_events_are_delivered(
    tenant: Tenant, receiver: MakeReceiver, fault: Any
) -> None:
    hook = receiver()
    tenant.webhook(hook)
    tenant.harness.faults.on("UpdateItem", fault, about=f"{tenant.account}#account#rate_limit")
    services = tenant.harness.fresh(DispatcherServices, max_events_per_minute=4)
    assert tenant.dispatch(*events(tenant, 9), services=services) == []
    assert len(hook.requests) == 9
    assert held_back(tenant) == []


def test_row_98_an_answer_to_the_count_that_is_lost_delays_and_loses_nothing(
    tenant: Tenant, receiver: MakeReceiver
) -> None:
    hook = receiver()
    tenant.webhook(hook)
    tenant.harness.faults.on(
        "UpdateItem", answer_lost(), about=f"{tenant.account}#account#rate_limit", times=1
    )
    services = at(
        tenant.harness.fresh(DispatcherServices, max_events_per_minute=8), time.time() // 60 * 60
    )
    assert tenant.dispatch(*events(tenant, 6), services=services) == []
    # The five past the share are counted twice: as if there had been ten.
    back = held_back(tenant)
    assert len(hook.requests) == 6 - len(back) == 4
    bodies = [read_part(json.loads(one["MessageBody"]), sent_at_ms=ARRIVED_MS) for one in back]
    assert len(bodies) == 2


def test_row_98_after_fourteen_days_it_is_dead_lettered(
    tenant: Tenant, receiver: MakeReceiver
) -> None:
    hook = receiver()
    tenant.webhook(hook)
    services = at(
        tenant.harness.fresh(DispatcherServices, max_events_per_minute=1), time.time() // 60 * 60
    )
    assert tenant.dispatch(*events(tenant, 3), services=services) == []
    [back] = held_back(tenant)
    assert (
        tenant.dispatch(
            back["MessageBody"], services=services, numbers={DELAYS: FEWEST_TRIES, ARRIVED_AT: 1}
        )
        == []
    )
    rejected = tenant.rejected()
    assert list(rejected.values()) == ["over_limit"]
    # It can be sent again unchanged.
    later = at(tenant.harness.fresh(DispatcherServices), time.time() // 60 * 60)
    assert tenant.dispatch(*rejected, services=later) == []
    assert transactions(hook) == ["txn_0", "txn_1", "txn_2"]


def test_row_98_the_api_refuses_a_call_that_is_too_much(tenant: Tenant) -> None:
    from api.app import Api
    from support.http_api import AccountClient

    services = tenant.harness.fresh(ApiServices, max_events_per_minute=4)
    acme = AccountClient(Api(services), services.api_key_service.issue(tenant.account).text)
    event = {"event": "email.sent", "data": {"to": "ann@example.com"}}
    assert acme.call("POST", "/api/v1/events", json=[event, event]).status == 202
    answer = acme.call("POST", "/api/v1/events", json=[event] * 4)
    assert (answer.status, answer.error["code"]) == (429, "too_many_events")
    assert 0 < int(answer.headers["Retry-After"]) <= 60


def test_row_99_requests_above_a_hosts_rate_come_in_their_turn(
    tenant: Tenant, receiver: MakeReceiver
) -> None:
    hook = receiver()
    for number in range(1, 6):
        tenant.webhook(hook, number)
    services = at(tenant.harness.fresh(DispatcherServices, max_requests_per_host=4), time.time())
    assert tenant.dispatch(*events(tenant, 3), services=services) == []
    # Two without a reservation, and a second's turns: all webhooks of the host share them.
    assert len(hook.requests) == 6
    back = held_back(tenant)
    assert {entry["DelaySeconds"] for entry in back} == {1, 2, 3}
    assert all(numbers_of(entry)[PACED] == HAS_TURN for entry in back)
    named = [
        webhook
        for entry in back
        for part in _parts(entry["MessageBody"])
        for webhook in part["webhooks"]
    ]
    assert len(named) == 9
    tenant.harness.faults.clear()
    bodies = [entry["MessageBody"] for entry in back]
    assert tenant.dispatch(*bodies, services=services, numbers={PACED: HAS_TURN}) == []
    assert held_back(tenant) == []
    assert len(hook.requests) == 15
    ids = [one.headers["x-sendcomms-delivery"] for one in hook.requests]
    assert len(set(ids)) == 15
    assert {one.status for one in tenant.deliveries()} == {Status.SUCCEEDED}


def _parts(text: str) -> list[dict[str, Any]]:
    document = json.loads(text)
    return document if isinstance(document, list) else [document]


def test_row_99_two_processes_share_a_hosts_rate(tenant: Tenant, receiver: MakeReceiver) -> None:
    hook = receiver()
    for number in range(1, 6):
        tenant.webhook(hook, number)
    now = time.time()
    for first in (0, 2):
        services = at(tenant.harness.fresh(DispatcherServices, max_requests_per_host=4), now)
        assert tenant.dispatch(*events(tenant, 2, first), services=services) == []
    # Each process has two without a reservation, and together they have the turns of one second.
    assert len(hook.requests) == 4 + 2 * 2
    assert len(held_back(tenant)) >= 2


def test_row_99_a_line_that_is_too_long_is_asked_again(
    tenant: Tenant, receiver: MakeReceiver
) -> None:
    hook = receiver()
    tenant.webhook(hook)
    now = time.time()
    services = at(tenant.harness.fresh(DispatcherServices, max_requests_per_host=1), now)
    # The turns of the next nine minutes are taken.
    services.host_limits._turns.reserve(
        tenant.account,
        "localhost" if "localhost" in hook.url else "127.0.0.1",
        span_ms=(LONGEST_DELAY_SECONDS + 1) * 1000,
        now_ms=int(now * 1000),
        latest_ms=int(now * 1000),
    )
    assert tenant.dispatch(*events(tenant, 3), services=services) == []
    assert len(hook.requests) == 1
    back = held_back(tenant)
    assert len(back) == 2
    for entry in back:
        assert LONGEST_DELAY_SECONDS // 2 <= entry["DelaySeconds"] <= LONGEST_DELAY_SECONDS
        assert numbers_of(entry)[PACED] != HAS_TURN


@pytest.mark.parametrize("fault", [refused("ThrottlingException"), answer_lost()])
def test_row_99_where_the_line_fails_all_are_sent(
    tenant: Tenant, receiver: MakeReceiver, fault: Any
) -> None:
    hook = receiver()
    tenant.webhook(hook)
    tenant.harness.faults.on("UpdateItem", fault, about=f"{tenant.account}#host#rate_limit")
    services = tenant.harness.fresh(DispatcherServices, max_requests_per_host=1)
    assert tenant.dispatch(*events(tenant, 6), services=services) == []
    assert len(hook.requests) == 6
