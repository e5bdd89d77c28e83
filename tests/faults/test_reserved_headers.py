"""Row 97: a webhook's record is older than the rules for its headers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.receiver import Receiver
from webhooks.domain.delivery import Status

if TYPE_CHECKING:
    from faults.fault_harness import Tenant

RESERVED = {
    "X-Real-IP": "192.0.2.1",
    "x_original_url": "/admin",
    "X-HTTP-Method-Override": "DELETE",
    "Early-Data": "1",
    "traceparent": "00-1-1-00",
    "If-None-Match": "*",
    "Range": "bytes=0-0",
}


@pytest.mark.parametrize("name", RESERVED)
def test_row_97_a_header_that_is_reserved_by_now_is_not_sent(tenant: Tenant, name: str) -> None:
    with Receiver() as hook:
        tenant.webhook(hook, headers={name: RESERVED[name], "X-Team": "billing"})
        assert tenant.dispatch(tenant.message()) == []
        assert tenant.delivery().status is Status.SUCCEEDED
        [request] = hook.requests
    assert request.method == "POST"
    assert request.headers["x-team"] == "billing"
    assert name.lower() not in request.headers


def test_row_97_a_webhook_with_a_reserved_header_can_be_changed(tenant: Tenant) -> None:
    path = f"/api/v1/webhooks/{tenant.webhook('https://hooks.example.com/', headers=RESERVED).id}"
    answer = tenant.acme.call("PATCH", path, json={"description": "Billing"})
    # DynamoDB's maps have no order.
    assert (answer.status, {*answer.data["header_names"]}) == (200, {*RESERVED})
    refused = tenant.acme.call("PATCH", path, json={"headers": RESERVED})
    assert refused.status == 422
    assert {one["field"] for one in refused.error["details"]} == {
        f"headers.{name}" for name in RESERVED
    }
