"""The requests of a check: the content of each, and that none reveals the check."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from support import samples
from unit.services.jobs.check_fixture import (
    NOW,
    OTHER_SECRET,
    CheckFixture,
    by_library_without_time,
    in_time,
)
from webhooks.domain.delivery import FailureReason, Outcome
from webhooks.domain.jobs.check import CheckRequest, CheckVerdict, judge
from webhooks.domain.jobs.check_requests import (
    Signers,
    forged,
    sample,
    unlive_secret,
    valid_request,
)
from webhooks.domain.payload import parse, serialize
from webhooks.domain.webhook import Secrets

if TYPE_CHECKING:
    from webhooks.domain.jobs.check_requests import SignedRequest


def test_each_request_is_a_delivery_but_for_the_one_thing_that_is_wrong() -> None:
    webhook = samples.webhook(events=("*",))
    signers = Signers.of([samples.SECRET])
    made: dict[CheckRequest, SignedRequest] = {}
    for probe in CheckRequest:
        delivery = sample(webhook, probe, f"evt_{probe}", samples.NOW_MS)
        right = valid_request(delivery, signers, NOW)
        made[probe] = (
            right if probe.genuine else forged(probe, delivery, signers, NOW, OTHER_SECRET)
        )
        differs = {
            name for name in right.headers if made[probe].headers.get(name) != right.headers[name]
        }
        if made[probe].body != right.body:
            differs.add("body")
        signatures = {"X-SendComms-Signature", "webhook-signature"}
        assert (
            differs
            == {
                CheckRequest.VALID: set(),
                CheckRequest.DUPLICATE: set(),
                CheckRequest.TAMPERED_BODY: {"body"},
                CheckRequest.OLD_SECRET: signatures,
                CheckRequest.UNSIGNED: signatures,
                CheckRequest.TRUNCATED_SIGNATURE: signatures,
                CheckRequest.STALE_TIMESTAMP: {"webhook-timestamp", "webhook-signature"},
                CheckRequest.FUTURE_TIMESTAMP: {"webhook-timestamp", "webhook-signature"},
                CheckRequest.TAMPERED_TIMESTAMP: {"webhook-signature"},
            }[probe]
        )
    stale, future = made[CheckRequest.STALE_TIMESTAMP], made[CheckRequest.FUTURE_TIMESTAMP]
    for request in (stale, future):
        assert by_library_without_time(samples.SECRET, request.body, request.headers)
        assert not in_time(request.headers)
    assert int(stale.headers["webhook-timestamp"]) < NOW < int(future.headers["webhook-timestamp"])


@pytest.mark.parametrize("probe", [CheckRequest.VALID, CheckRequest.DUPLICATE])
def test_nothing_genuine_is_forged(probe: CheckRequest) -> None:
    delivery = sample(samples.webhook(), probe, "evt_1", samples.NOW_MS)
    with pytest.raises(ValueError, match="genuine"):
        forged(probe, delivery, Signers.of([samples.SECRET]), NOW, OTHER_SECRET)


def test_every_body_is_a_sample_that_says_so_and_node_writes_it_as_it_is() -> None:
    fixture = CheckFixture(events=("email.bounced",), headers={"X-Team": "billing"})
    fixture.check()
    assert len(fixture.receiver.came) == len(CheckRequest)
    for body, headers in fixture.receiver.came:
        assert serialize(parse(body.decode())) == body
        payload = json.loads(body)
        assert payload["event"] == headers["X-SendComms-Event"] == "email.bounced"
        assert payload["data"]["subject"].startswith("A check of your receiver: ")
        assert payload["data"]["to"].endswith("@example.com")
        assert headers["X-Team"] == "billing"


def test_only_the_duplicate_has_the_ids_and_the_bytes_of_the_valid_request() -> None:
    fixture = CheckFixture()
    fixture.check()
    (body, first), *rest = fixture.receiver.came
    again = [headers for other, headers in rest if other == body]
    assert [headers["X-SendComms-Attempt"] for headers in again] == ["2"]
    ids = ("webhook-id", "X-SendComms-Delivery")
    assert [again[0][name] for name in ids] == [first[name] for name in ids]
    assert len({headers["webhook-id"] for _, headers in rest}) == len(rest)
    assert len({json.loads(other)["transaction_id"] for other, _ in rest}) == len(rest)


@pytest.mark.parametrize(
    ("secrets", "expected"),
    [
        (Secrets(samples.SECRET), None),
        (Secrets(samples.SECRET, OTHER_SECRET, samples.NOW_MS), OTHER_SECRET),
        (Secrets(samples.SECRET, OTHER_SECRET, samples.NOW_MS + 1), None),
        (Secrets(samples.SECRET, samples.SECRET, samples.NOW_MS), None),
    ],
)
def test_an_old_secret_is_one_that_no_longer_counts(secrets: Secrets, expected: str | None) -> None:
    made = unlive_secret(secrets, samples.NOW_MS, bytes(32))
    assert made == (expected or f"whsec_{'0' * 64}")
    assert made not in secrets.live(samples.NOW_MS)


def test_the_valid_request_has_what_parsers_change_or_refuse() -> None:
    fixture = CheckFixture()
    fixture.check()
    (body, _), *rest = fixture.receiver.came
    data = json.loads(body)["data"]
    odd = data["check"]
    assert data["subject"] == data["subject"].strip() + "  "
    assert odd["empty"] == ""
    assert not odd["name"].isascii()
    assert {"constructor", "__proto__"} <= set(odd)
    assert serialize(parse(body.decode())) == body
    # A forged request must be refused for that alone, and the duplicate repeats the valid one.
    others = {other for other, _ in rest} - {body}
    assert len(others) == len(rest) - 1
    assert all(b"__proto__" not in other and b"constructor" not in other for other in others)


@pytest.mark.parametrize(
    ("status", "named"),
    [
        (400, ["Nuxt", "Fastify", "Hapi", "Koa"]),
        (406, ["firewall"]),
        (415, ["parser"]),
        (422, ["middy"]),
        (401, ["AdonisJS", "xss-clean", "express-mongo-sanitize", "secret"]),
        (403, ["firewall", "secret"]),
    ],
)
def test_a_valid_request_that_is_refused_names_the_likely_framework(
    status: int, named: list[str]
) -> None:
    refused = Outcome(error=FailureReason.HTTP_STATUS, status_code=status)
    [finding] = judge({CheckRequest.VALID: refused}).findings
    assert finding.verdict is CheckVerdict.FAILED
    assert [name for name in named if name not in finding.message] == []
