"""The API's replays: the answers, and their readers."""

from __future__ import annotations

import pytest

from support import samples
from support.fakes import FakeHealthStore
from support.http_api import ApiOnFakes
from webhooks.domain.jobs.replay import ReplayStatus
from webhooks.domain.webhook import Secrets

ID = samples.WEBHOOK_ID
PATH = f"/api/v1/webhooks/{ID}"
SINCE = "2025-12-21T00:00:00Z"
UNTIL = "2025-12-21T12:00:00Z"


@pytest.fixture
def api() -> ApiOnFakes:
    api = ApiOnFakes(max_replays_per_day=3)
    api.webhooks.add(samples.webhook(account_id="acme"), Secrets(samples.SECRET))
    return api


def start(api: ApiOnFakes, **request: object) -> str:
    answer = api.acme.call("POST", f"{PATH}/replay", json={"since": SINCE, **request})
    assert answer.status == 202
    return str(answer.data["id"])


def test_a_replay_answers_with_a_job_to_follow(api: ApiOnFakes) -> None:
    answer = api.acme.call(
        "POST", f"{PATH}/replay", json={"since": SINCE, "until": UNTIL, "status": "exhausted"}
    )
    assert answer.status == 202
    assert answer.data == {
        "id": answer.data["id"],
        "webhook_id": ID,
        "status": "running",
        "since": "2025-12-21T00:00:00.000Z",
        "until": "2025-12-21T12:00:00.000Z",
        "statuses": ["exhausted"],
        "sent": 0,
        "succeeded": 0,
        "failed": 0,
        "replayed_until": "2025-12-21T00:00:00.000Z",
        "created_at": answer.data["created_at"],
        "updated_at": answer.data["created_at"],
    }
    assert [key.replay_id for key in api.replay_scheduler.keys] == [answer.data["id"]]
    followed = api.acme.call("GET", f"{PATH}/replays/{answer.data['id']}")
    assert (followed.status, followed.data) == (200, answer.data)


def test_without_a_status_all_that_has_not_arrived_is_sent(api: ApiOnFakes) -> None:
    replay = api.acme.call("GET", f"{PATH}/replays/{start(api)}").data
    assert replay["statuses"] == ["retrying", "waiting", "exhausted"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "since"),
        ({"since": "yesterday"}, "since"),
        ({"since": 1}, "since"),
        ({"since": SINCE, "until": "2025-12-20T00:00:00Z"}, "until"),
        ({"since": SINCE, "status": "cancelled"}, "status"),
        ({"since": SINCE, "status": ["exhausted"]}, "status"),
        ({"since": SINCE, "event": "email.sent"}, "event"),
    ],
)
def test_what_no_replay_can_be_is_refused_by_field(
    api: ApiOnFakes, body: dict[str, object], field: str
) -> None:
    answer = api.acme.call("POST", f"{PATH}/replay", json=body)
    assert (answer.status, answer.error["code"]) == (422, "validation_failed")
    assert answer.fields == [field]
    assert api.replay_store.jobs == {}


def test_a_second_replay_is_refused_while_the_first_is_running(api: ApiOnFakes) -> None:
    first = start(api)
    answer = api.acme.call("POST", f"{PATH}/replay", json={"since": SINCE})
    assert (answer.status, answer.error["code"]) == (409, "replay_running")
    cancelled = api.acme.call("DELETE", f"{PATH}/replays/{first}")
    assert (cancelled.status, cancelled.data["status"]) == (200, "cancelled")
    assert start(api) != first
    again = api.acme.call("DELETE", f"{PATH}/replays/{first}")
    assert (again.status, again.data) == (200, cancelled.data)


def test_a_disabled_webhook_is_refused(api: ApiOnFakes) -> None:
    FakeHealthStore(api.webhooks).disable("acme", ID, "gone", samples.NOW_MS)
    answer = api.acme.call("POST", f"{PATH}/replay", json={"since": SINCE})
    assert (answer.status, answer.error["code"]) == (409, "webhook_disabled")


def test_more_replays_than_a_day_allows_are_refused(api: ApiOnFakes) -> None:
    for _ in range(3):
        api.acme.call("DELETE", f"{PATH}/replays/{start(api)}")
    answer = api.acme.call("POST", f"{PATH}/replay", json={"since": SINCE})
    assert (answer.status, answer.error["code"]) == (429, "too_many_replays")
    assert int(answer.headers["Retry-After"]) > 0


def test_replays_are_listed_newest_first(api: ApiOnFakes) -> None:
    first = start(api)
    api.acme.call("DELETE", f"{PATH}/replays/{first}")
    second = start(api)
    page = api.acme.call("GET", f"{PATH}/replays", query={"limit": "1"})
    assert [replay["id"] for replay in page.data] == [second]
    cursor = page.json["pagination"]["next_cursor"]
    rest = api.acme.call("GET", f"{PATH}/replays", query={"cursor": cursor})
    assert [replay["id"] for replay in rest.data] == [first]
    assert rest.json["pagination"] == {}
    assert api.globex.call("GET", f"{PATH}/replays", query={"cursor": cursor}).status == 404


def test_a_failed_replay_says_why(api: ApiOnFakes) -> None:
    replay_id = start(api)
    [replay] = api.replay_store.jobs.values()
    ended = replay.ended(ReplayStatus.FAILED, samples.NOW_MS, "webhook_disabled")
    api.replay_store.save(replay, ended)
    shown = api.acme.call("GET", f"{PATH}/replays/{replay_id}").data
    assert (shown["status"], shown["reason"]) == ("failed", "webhook_disabled")


@pytest.mark.parametrize("webhook_id", [ID, samples.webhook(9).id, "nonsense"])
def test_another_accounts_webhook_and_an_absent_one_answer_alike(
    api: ApiOnFakes, webhook_id: str
) -> None:
    replay_id = start(api)
    before = dict(api.replay_store.jobs)
    path = f"/api/v1/webhooks/{webhook_id}"
    for method, target, request in (
        ("POST", f"{path}/replay", {"json": {"since": SINCE}}),
        ("GET", f"{path}/replays", {}),
        ("GET", f"{path}/replays/{replay_id}", {}),
        ("DELETE", f"{path}/replays/{replay_id}", {}),
    ):
        answer = api.globex.call(method, target, **request)
        assert (answer.status, answer.error["code"]) == (404, "webhook_not_found")
    assert api.replay_store.jobs == before


@pytest.mark.parametrize("replay_id", [samples.webhook(9).id, "running", "nonsense"])
def test_an_absent_replay_is_not_found(api: ApiOnFakes, replay_id: str) -> None:
    start(api)
    for method in ("GET", "DELETE"):
        answer = api.acme.call(method, f"{PATH}/replays/{replay_id}")
        assert (answer.status, answer.error["code"]) == (404, "replay_not_found")


def test_a_replay_that_cannot_be_started_may_be_asked_for_again(api: ApiOnFakes) -> None:
    api.replay_scheduler.failures.plan("start", True)
    answer = api.acme.call("POST", f"{PATH}/replay", json={"since": SINCE})
    assert (answer.status, answer.error["code"]) == (503, "unavailable")
    start(api)
