"""The API's erasures: the answers, their readers, and that no answer shows the address."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from support import samples
from support.http_api import ApiOnFakes
from webhooks.domain.api_key import Scope
from webhooks.domain.jobs.erasure import ErasureStatus, Unsearched
from webhooks.domain.rate_limit import RateLimit
from webhooks.domain.recipient import parse_address
from webhooks.domain.webhook import Secrets

RECIPIENTS = "/api/v1/recipients"
ANNA = f"{RECIPIENTS}/anna%40example.com"
DELIVERY = f"/api/v1/webhooks/{samples.WEBHOOK_ID}/deliveries/{samples.delivery().id}"


@pytest.fixture
def api() -> ApiOnFakes:
    api = ApiOnFakes()
    api.webhooks.add(samples.webhook(account_id="acme"), Secrets(samples.SECRET))
    return api


def test_an_erasure_answers_with_a_job_to_follow(api: ApiOnFakes) -> None:
    answer = api.acme.call("DELETE", ANNA)
    assert answer.status == 202
    assert answer.data == {
        "id": answer.data["id"],
        "status": "running",
        "examined": 0,
        "erased": 0,
        "include_unsearched": False,
        "unsearched_count": 0,
        "unsearched": [],
        "created_at": answer.data["created_at"],
        "updated_at": answer.data["created_at"],
    }
    assert [key.erasure_id for key in api.erasure_scheduler.keys] == [answer.data["id"]]
    followed = api.acme.call("GET", f"{RECIPIENTS}/erasures/{answer.data['id']}")
    assert (followed.status, followed.data) == (200, answer.data)


def test_unsearched_payloads_are_included_where_the_call_says_so(api: ApiOnFakes) -> None:
    plain = api.acme.call("DELETE", ANNA)
    included = api.acme.call("DELETE", ANNA, query="include_unsearched=true")
    assert included.data["include_unsearched"] is True
    assert included.data["id"] != plain.data["id"]
    # A narrower request is as good.
    again = api.acme.call("DELETE", ANNA)
    assert again.data["id"] in {plain.data["id"], included.data["id"]}
    for value in ("2", "1", "yes", "on", "TRUE", "t", "", "true&include_unsearched=false"):
        refused = api.acme.call("DELETE", ANNA, query=f"include_unsearched={value}")
        assert refused.status == 422, value
        [detail] = refused.error["details"]
        assert detail == {"field": "include_unsearched", "message": "Use true or false."}


def test_unsearched_deliveries_are_listed(api: ApiOnFakes) -> None:
    erasure_id = api.acme.call("DELETE", ANNA).data["id"]
    [(key, erasure)] = api.erasure_store.jobs.items()
    unsearched = (Unsearched(samples.WEBHOOK_ID, samples.delivery().id),)
    listed = replace(erasure, unsearched=unsearched, unsearched_count=7)
    api.erasure_store.jobs[key] = listed.ended(ErasureStatus.COMPLETED, samples.NOW_MS)
    shown = api.acme.call("GET", f"{RECIPIENTS}/erasures/{erasure_id}").data
    assert (shown["status"], shown["unsearched_count"]) == ("completed", 7)
    assert shown["unsearched"] == [
        {"webhook_id": samples.WEBHOOK_ID, "delivery_id": samples.delivery().id}
    ]


@pytest.mark.parametrize(
    ("part", "address"),
    [
        ("anna@example.com", "anna@example.com"),
        ("anna%40example.com", "anna@example.com"),
        ("Anna%40Example.com", "anna@example.com"),
        ("anna+news@example.com", "anna+news@example.com"),
        ("anna%2Bnews%40example.com", "anna+news@example.com"),
        ("o'brien%40example.com", "o'brien@example.com"),
        ("zo%C3%AB%40example.com", "zoë@example.com"),
    ],
)
def test_an_address_is_the_same_whether_or_not_the_gateway_decoded_it(
    api: ApiOnFakes, part: str, address: str
) -> None:
    assert api.acme.call("DELETE", f"{RECIPIENTS}/{part}").status == 202
    [erasure] = api.erasure_store.jobs.values()
    assert erasure.seeks([parse_address(address)])


@pytest.mark.parametrize(
    "part", ["anna", "anna%40", "%40", "Anna <anna@example.com>", "anna%2Bnews@example.com", "a%FF"]
)
def test_what_is_no_address_or_may_be_two_is_refused_without_repeating_it(
    api: ApiOnFakes, part: str
) -> None:
    answer = api.acme.call("DELETE", f"{RECIPIENTS}/{part}")
    assert (answer.status, answer.error["code"]) == (422, "validation_failed")
    assert answer.fields == ["address"]
    assert "anna" not in answer.text
    assert api.erasure_store.jobs == {}


def test_the_same_address_again_is_the_same_erasure(api: ApiOnFakes) -> None:
    first = api.acme.call("DELETE", ANNA)
    again = api.acme.call("DELETE", f"{RECIPIENTS}/ANNA@example.com")
    assert (again.status, again.data) == (202, first.data)
    assert api.globex.call("DELETE", ANNA).data["id"] != first.data["id"]


def test_an_idempotency_key_means_nothing_here(api: ApiOnFakes) -> None:
    headers = {"Idempotency-Key": "k"}
    answers = [api.acme.call("DELETE", f"{RECIPIENTS}/{n}@x.y", headers=headers) for n in "ab"]
    assert [answer.status for answer in answers] == [202, 202]
    assert api.idempotency_store.kept == {}


def test_nothing_tells_the_address(api: ApiOnFakes) -> None:
    answers = [api.acme.call("DELETE", ANNA), api.acme.call("DELETE", f"{RECIPIENTS}/anna")]
    told = [answer.text for answer in answers]
    told += [repr(api.telemetry.lines), repr(api.erasure_store.jobs)]
    told += [repr(api.erasure_scheduler.keys), json.dumps(answers[0].headers)]
    assert "anna" not in "".join(told).lower()
    [line] = [line for line in api.telemetry.logged("request") if line["status"] == 202]
    assert line["route"] == "DELETE /api/v1/recipients/{address}"


def test_the_log_says_which_key_asked_for_an_erasure(api: ApiOnFakes) -> None:
    erasure = api.acme.call("DELETE", ANNA).data
    api.acme.call("GET", f"{RECIPIENTS}/erasures/{erasure['id']}")
    asked, followed = api.telemetry.logged("request")
    [key] = api.acme.call("GET", "/api/v1/api-keys").data
    assert (asked["erasure_id"], asked["key_id"]) == (erasure["id"], key["id"])
    assert "erasure_id" not in followed


def test_a_key_needs_the_scope_to_write(api: ApiOnFakes) -> None:
    for scope in (Scope.READ, Scope.PUBLISH):
        answer = api.client("acme", {scope}).call("DELETE", ANNA)
        assert (answer.status, answer.error["code"]) == (403, "insufficient_scope")


@pytest.mark.parametrize("erasure_id", ["nonsense", samples.WEBHOOK_ID])
def test_a_foreign_erasure_and_an_absent_one_answer_alike(api: ApiOnFakes, erasure_id: str) -> None:
    own = api.acme.call("DELETE", ANNA).data["id"]
    answers = {
        api.globex.call("GET", f"{RECIPIENTS}/erasures/{each}").text for each in (own, erasure_id)
    }
    [answer] = answers
    assert json.loads(answer)["error"]["code"] == "erasure_not_found"


def test_a_failed_erasure_says_why(api: ApiOnFakes) -> None:
    started = api.acme.call("DELETE", ANNA).data["id"]
    [erasure] = api.erasure_store.jobs.values()
    ended = erasure.ended(ErasureStatus.FAILED, samples.NOW_MS, "internal_error")
    api.erasure_store.save(erasure, ended)
    shown = api.acme.call("GET", f"{RECIPIENTS}/erasures/{started}").data
    assert (shown["status"], shown["reason"]) == ("failed", "internal_error")


def test_more_than_a_day_allows_are_told_to_wait() -> None:
    api = ApiOnFakes(limits={RateLimit.CALLS: 100, RateLimit.ERASURES: 1})
    assert api.acme.call("DELETE", ANNA).status == 202
    answer = api.acme.call("DELETE", f"{RECIPIENTS}/bob@example.com")
    assert (answer.status, answer.error["code"]) == (429, "too_many_erasures")
    assert 0 < int(answer.headers["Retry-After"]) <= 86_400


def test_one_that_cannot_be_started_may_be_asked_for_again(api: ApiOnFakes) -> None:
    api.erasure_scheduler.failures.plan("start", True)
    answer = api.acme.call("DELETE", ANNA)
    assert (answer.status, answer.error["code"]) == (503, "unavailable")
    assert api.acme.call("DELETE", ANNA).status == 202


def test_an_erased_delivery_is_shown_without_its_payload_and_not_sent_again(
    api: ApiOnFakes,
) -> None:
    api.acme.call("DELETE", ANNA)
    [erasure] = api.erasure_store.jobs.values()
    body = b'{"event":"email.sent","data":{"to":"anna@example.com"}}'
    erased = erasure.erase(samples.delivery(account_id="acme", body=body))
    api.deliveries.create(erased)
    shown = api.acme.call("GET", DELIVERY).data
    assert (shown["erased"], shown["status"]) == (True, "cancelled")
    assert shown["reason"] == "recipient_erased"
    assert shown["attempts"][0]["response_body"] == ""
    assert not {"payload", "body"} & set(shown)
    listed = api.acme.call("GET", DELIVERY.rpartition("/")[0]).data
    assert [each["erased"] for each in listed] == [True]
    answer = api.acme.call("POST", f"{DELIVERY}/resend")
    assert (answer.status, answer.error["code"]) == (409, "delivery_erased")
    assert api.scheduler.resends == {}
