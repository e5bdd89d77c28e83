"""Rows 87 to 89: a repeated rotation, a rotation in another's overlap, and odd refusals."""

from __future__ import annotations

import hmac
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from faults import log_capture
from support.faults import SDK_TRIES, answer_lost, refused
from support.receiver import Answer
from webhooks.domain.delivery import SignedWith, Status
from webhooks.domain.errors import (
    OverlapRunningError,
    RotationConflictError,
    UnavailableError,
)
from webhooks.domain.seed import Seed
from webhooks.domain.signing import sendcomms_signature
from webhooks.domain.webhook import Registration
from webhooks.services.webhooks import Rotated
from webhooks.wiring.api import ApiServices
from webhooks.wiring.dispatcher import DispatcherServices

if TYPE_CHECKING:
    from collections.abc import Callable

    from faults.fault_harness import Tenant
    from support.http_api import Answer as Response
    from support.receiver import Receiver, Request
    from webhooks.domain.webhook import Webhook

    MakeReceiver = Callable[..., Receiver]

DAY_SECONDS = 86_400
TABLES = {"rotation": "TransactWriteItems", "time of the change": "UpdateItem"}


def rotate(tenant: Tenant, webhook: Webhook, **body: Any) -> Response:
    path = f"/api/v1/webhooks/{webhook.id}/rotate-secret"
    return tenant.acme.call("POST", path, json=body)


def signing(tenant: Tenant, webhook: Webhook, at_seconds: float = 0.0) -> tuple[str, ...]:
    """The secrets that sign now, or so many seconds later, new first."""
    destinations = tenant.harness.services(DispatcherServices)._destinations
    found = destinations.destination(tenant.account, webhook.id)
    assert found is not None
    return found.secrets.live(int((time.time() + at_seconds) * 1000))


def fixed(seed: int) -> Callable[[int], bytes]:
    return lambda count: bytes([seed]) * count


@pytest.mark.parametrize("operation", TABLES.values(), ids=TABLES)
@pytest.mark.parametrize("overlap_seconds", [0, DAY_SECONDS])
def test_row_87_the_answer_to_a_rotation_is_lost(
    tenant: Tenant, receiver: MakeReceiver, operation: str, overlap_seconds: int
) -> None:
    webhook = tenant.webhook(receiver())
    faults = tenant.harness.faults
    faults.on(operation, answer_lost(), about=webhook.id, times=1)
    rotated = rotate(tenant, webhook, overlap_seconds=overlap_seconds)
    assert rotated.status == 200, rotated.text
    assert faults.count(operation, webhook.id) >= 2
    old = (log_capture.SECRET,) if overlap_seconds else ()
    assert signing(tenant, webhook) == (rotated.data["secret"], *old)
    assert ("previous_secret_expires_at" in rotated.data) == bool(overlap_seconds)
    assert "warnings" not in rotated.json
    assert tenant.dispatch(tenant.message()) == []


@pytest.mark.parametrize("force", [False, True])
def test_row_87_a_rotation_without_any_answer_is_made_again_with_its_secret(
    tenant: Tenant, receiver: MakeReceiver, force: bool
) -> None:
    """As a repeat with the same `Idempotency-Key` does, in another process and later."""
    webhook = tenant.webhook(receiver())
    api = tenant.harness.services(ApiServices).webhook_service
    owner = (tenant.account, webhook.id)
    tenant.harness.faults.on("TransactWriteItems", answer_lost(), about=webhook.id, times=SDK_TRIES)
    seed = Seed(time.time_ns(), lambda _, number: fixed(1)(number))
    with pytest.raises(UnavailableError):
        api.rotate_secret(*owner, seed=seed)
    signs = signing(tenant, webhook)
    assert signs == (f"whsec_{'01' * 32}", log_capture.SECRET)

    again = api.rotate_secret(*owner, seed=replace(seed, repeated=True), force=force)
    assert again is not None
    assert (again.secret, again.ended_overlap) == (signs[0], False)
    assert signing(tenant, webhook) == signs
    # The overlap of the first call, and no new overlap from the second.
    assert again.previous_until_ms is not None
    ends_in = again.previous_until_ms / 1000 - time.time()
    assert signing(tenant, webhook, ends_in - 0.1) == signs
    assert signing(tenant, webhook, ends_in + 0.1) == signs[:1]
    assert tenant.dispatch(tenant.message()) == []


def test_row_87_the_answer_to_what_restores_a_secret_is_lost(
    tenant: Tenant, receiver: MakeReceiver
) -> None:
    webhook = tenant.webhook(receiver())
    tenant.lose_secret()
    tenant.harness.faults.on("UpdateItem", answer_lost(), about="SET #secret = :secret", times=1)
    rotated = rotate(tenant, webhook)
    assert rotated.status == 200, rotated.text
    assert tenant.harness.faults.count("UpdateItem", "SET #secret = :secret") == 2
    assert signing(tenant, webhook) == (rotated.data["secret"],)
    assert "previous_secret_expires_at" not in rotated.data
    assert tenant.dispatch(tenant.message()) == []


@pytest.mark.parametrize("external_id", ["", "billing"])
def test_row_87_the_answer_to_a_registration_is_lost(
    tenant: Tenant, receiver: MakeReceiver, external_id: str
) -> None:
    tenant.webhook(receiver())
    api = tenant.harness.services(ApiServices).webhook_service
    tenant.harness.faults.on("TransactWriteItems", answer_lost(), about=tenant.account, times=1)
    asked = Registration(
        url="https://example.com/hook", events=("email.opened",), external_id=external_id
    )
    registered = api.register(tenant.account, asked)
    assert tenant.harness.faults.count("TransactWriteItems", registered.webhook.id) == 2
    assert signing(tenant, registered.webhook) == (registered.secret,)
    assert len(api.page(tenant.account, 10).items) == 2
    assert tenant.dispatch(tenant.message()) == []


def test_row_87_the_answer_to_the_end_of_an_overlap_is_lost(
    tenant: Tenant, receiver: MakeReceiver
) -> None:
    hook = receiver(Answer(401), Answer(200))
    webhook = tenant.webhook(hook)
    new = rotate(tenant, webhook).data["secret"]
    tenant.harness.faults.on("UpdateItem", answer_lost(), about="REMOVE previous_secret", times=1)
    assert tenant.dispatch(tenant.message()) == []
    assert tenant.delivery().status is Status.SUCCEEDED
    assert signing(tenant, webhook) == (new,)


def test_row_88_a_rotation_within_the_overlap_is_refused_until_it_is_forced(
    tenant: Tenant, receiver: MakeReceiver
) -> None:
    webhook = tenant.webhook(receiver())
    first = rotate(tenant, webhook)
    refused = rotate(tenant, webhook)
    assert (refused.status, refused.error["code"]) == (409, "overlap_running")
    assert first.data["previous_secret_expires_at"] in refused.error["message"]
    assert "force" in refused.error["message"]
    assert rotate(tenant, webhook, overlap_seconds=0).status == 409
    assert signing(tenant, webhook) == (first.data["secret"], log_capture.SECRET)

    forced = rotate(tenant, webhook, force=True)
    assert forced.status == 200
    [warning] = forced.json["warnings"]
    assert warning["field"] == "force"
    assert signing(tenant, webhook) == (forced.data["secret"], first.data["secret"])
    last = rotate(tenant, webhook, overlap_seconds=0, force=True)
    assert signing(tenant, webhook) == (last.data["secret"],)
    assert tenant.dispatch(tenant.message()) == []


def test_row_88_an_overlap_that_is_over_refuses_nothing(
    tenant: Tenant, receiver: MakeReceiver
) -> None:
    hook = receiver(Answer(401), Answer(200))
    webhook = tenant.webhook(hook)
    rotate(tenant, webhook)
    # The receiver takes the new secret.
    assert tenant.dispatch(tenant.message()) == []
    moved = rotate(tenant, webhook, overlap_seconds=1)
    assert moved.status == 200
    assert rotate(tenant, webhook).status == 409
    # Its time passes.
    later = tenant.harness.fresh(ApiServices).webhook_service
    later._now_ns = lambda: time.time_ns() + 2_000_000_000
    expired = later.rotate_secret(tenant.account, webhook.id, overlap_seconds=0)
    assert expired is not None
    # Without an overlap, the next can begin.
    last = rotate(tenant, webhook, overlap_seconds=0)
    assert (last.status, last.json.get("warnings")) == (200, None)
    assert signing(tenant, webhook) == (last.data["secret"],)


@pytest.mark.parametrize("overlap_seconds", [0, 60, DAY_SECONDS])
def test_row_88_of_ten_rotations_at_once_one_is_made(
    tenant: Tenant, receiver: MakeReceiver, overlap_seconds: int
) -> None:
    webhook = tenant.webhook(receiver())
    api = tenant.harness.services(ApiServices).webhook_service
    gate = Gate(10)
    tenant.harness.faults.on("GetItem", gate, about=f"{tenant.account}#rotation", times=10)

    def call(_: int) -> Rotated | Exception | None:
        try:
            return api.rotate_secret(tenant.account, webhook.id, overlap_seconds=overlap_seconds)
        except (OverlapRunningError, RotationConflictError) as error:
            return error

    with ThreadPoolExecutor(10) as threads:
        answers = list(threads.map(call, range(10)))
    [made] = [answer for answer in answers if isinstance(answer, Rotated)]
    refused = [answer for answer in answers if isinstance(answer, Exception)]
    assert len(refused) == 9
    assert overlap_seconds or {type(each) for each in refused} == {RotationConflictError}
    untils = {each.until_ms for each in refused if isinstance(each, OverlapRunningError)}
    assert untils <= {made.previous_until_ms}
    assert signing(tenant, webhook) == (
        made.secret,
        *([log_capture.SECRET] if overlap_seconds else []),
    )
    assert tenant.dispatch(tenant.message()) == []


class Gate:
    """Releases answers once there are so many: no call goes on before all have read."""

    def __init__(self, parties: int) -> None:
        self._barrier = threading.Barrier(parties)

    def __call__(self, send: Callable[[Any], Any], request: Any) -> Any:
        answer = send(request)
        self._barrier.wait(timeout=60)
        return answer


class Verifying:
    """A receiver that verifies with one secret, refuses with a status, and fails at times."""

    def __init__(self, refusal: int) -> None:
        self.secret = log_capture.SECRET
        self.refusal = refusal
        self.own: int | None = None
        """Its status for a genuine request; None for 200."""

    def __call__(self, request: Request) -> Answer:
        genuine = sendcomms_signature(self.secret, request.body)
        if hmac.compare_digest(genuine, request.headers["x-sendcomms-signature"]):
            return Answer(self.own or 200)
        return Answer(self.refusal)


@pytest.mark.parametrize("refusal", [400, 404, 418, 422, 500])
def test_row_89_a_receiver_that_refuses_signatures_in_its_own_way_moves_mid_overlap(
    tenant: Tenant, receiver: MakeReceiver, refusal: int
) -> None:
    code = Verifying(refusal)
    hook = receiver(code)
    webhook = tenant.webhook(hook)
    new = rotate(tenant, webhook).data["secret"]
    assert tenant.dispatch(tenant.message("txn_1")) == []
    code.secret = new
    assert tenant.dispatch(tenant.message("txn_2")) == []
    assert tenant.dispatch(tenant.message("txn_3")) == []
    assert [one.json["transaction_id"] for one in hook.requests] == [
        "txn_1",
        "txn_2",
        "txn_2",
        "txn_3",
    ]
    assert {one.status for one in tenant.deliveries()} == {Status.SUCCEEDED}
    logged = {
        one.transaction_id: (attempt.requests, attempt.signed_with)
        for one in tenant.deliveries()
        for attempt in one.attempts
    }
    assert logged == {
        "txn_1": (1, SignedWith.OLD),
        "txn_2": (2, SignedWith.NEW),
        "txn_3": (1, None),
    }
    assert signing(tenant, webhook) == (new,)
    path = f"/api/v1/webhooks/{webhook.id}/deliveries"
    ids = {one["transaction_id"]: one["id"] for one in tenant.acme.call("GET", path).data}
    [attempt] = tenant.acme.call("GET", f"{path}/{ids['txn_2']}").data["attempts"]
    assert (attempt["requests"], attempt["signed_with"]) == (2, "new")
    [attempt] = tenant.acme.call("GET", f"{path}/{ids['txn_3']}").data["attempts"]
    assert {"requests", "signed_with"}.isdisjoint(attempt)


def test_row_89_a_receivers_own_refusals_cost_one_request_each_once_both_are_refused(
    tenant: Tenant, receiver: MakeReceiver
) -> None:
    code = Verifying(400)
    code.own = 422
    hook = receiver(code)
    webhook = tenant.webhook(hook)
    rotate(tenant, webhook)
    # As if both had been refused often by now.
    until = tenant.harness.aws.clients["dynamodb"].get_item(
        TableName=tenant.harness.aws.settings.webhooks_table,
        Key={"account_id": {"S": tenant.account}, "webhook_id": {"S": webhook.id}},
    )["Item"]["previous_secret_expires_at"]
    now = {"N": str(int(time.time() * 1000))}
    tenant.health(secret_refusals={"M": {"until": until, "count": {"N": "8"}, "at": now}})
    tenant.harness.faults.clear()
    for number in range(5):
        assert tenant.dispatch(tenant.message(f"txn_{number}")) == []
    assert len(hook.requests) == 5
    assert tenant.harness.faults.count("UpdateItem", "secret_refusals") == 0
    # A leftover of another overlap delays nothing.
    tenant.health(secret_refusals={"M": {"until": {"N": "1"}, "count": {"N": "8"}, "at": now}})
    assert tenant.dispatch(tenant.message("txn_other")) == []
    assert len(hook.requests) == 7
    # This test's own update, and one update of a counter.
    assert tenant.harness.faults.count("UpdateItem", "secret_refusals") == 2
    assert {one.attempts[0].status_code for one in tenant.deliveries()} == {422}


def test_row_89_a_refusal_outside_of_an_overlap_costs_one_request_and_no_read(
    tenant: Tenant, receiver: MakeReceiver
) -> None:
    hook = receiver(Answer(400))
    tenant.webhook(hook)
    tenant.harness.faults.clear()
    assert tenant.dispatch(tenant.message()) == []
    assert len(hook.requests) == 1
    assert tenant.harness.faults.count("GetItem", tenant.account) == 0
    assert re.search("attempt_failed", tenant.log.text)


CONFLICT = "TransactionConflictException"


def test_row_88_plain_writes_meet_a_rotation_on_their_item(
    tenant: Tenant, receiver: MakeReceiver
) -> None:
    """DynamoDB refuses a plain write of an item while a transaction on it is under way."""
    webhook = tenant.webhook(receiver(Answer(503)))
    faults = tenant.harness.faults
    path = f"/api/v1/webhooks/{webhook.id}"
    for times in (1, SDK_TRIES - 1):
        faults.on("UpdateItem", refused(CONFLICT), about=webhook.id, times=times)
        changed = tenant.acme.call("PATCH", path, json={"description": f"after {times}"})
        assert (changed.status, changed.data["description"]) == (200, f"after {times}")
        faults.on("UpdateItem", refused(CONFLICT), about="failing_since", times=times)
        assert tenant.dispatch(tenant.message(f"txn_{times}")) == []
    stored = tenant.harness.services(ApiServices).webhook_service.get(tenant.account, webhook.id)
    assert stored is not None
    assert stored.health.failures == 2
    faults.on("UpdateItem", refused(CONFLICT), about=webhook.id, times=SDK_TRIES)
    busy = tenant.acme.call("PATCH", path, json={"description": "never"})
    assert (busy.status, busy.error["code"]) == (503, "unavailable")
    assert busy.headers["Retry-After"] == "1"
    assert rotate(tenant, webhook).status == 200


def test_row_88_the_time_of_a_rotation_meets_a_transaction(
    tenant: Tenant, receiver: MakeReceiver
) -> None:
    webhook = tenant.webhook(receiver())
    tenant.harness.faults.on("UpdateItem", refused(CONFLICT), about=webhook.id, times=1)
    rotated = rotate(tenant, webhook)
    assert rotated.status == 200
    assert tenant.harness.faults.count("UpdateItem", "updated_at = :now") == 2
    assert signing(tenant, webhook) == (rotated.data["secret"], log_capture.SECRET)
    assert rotate(tenant, webhook).status == 409
