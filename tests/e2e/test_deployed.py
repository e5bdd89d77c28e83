"""A stack on its owner's first attempt: only its API's address and a key are known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.stack import eventually

if TYPE_CHECKING:
    from support.stack import Account, AnyStack

WEBHOOKS = "/api/v1/webhooks"
pytestmark = pytest.mark.any_stack


def test_an_event_is_delivered_to_every_subscriber(account: Account, receiver_url: str) -> None:
    webhook = account.register(receiver_url)
    account.publish()

    def taken() -> bool:
        page = account.call("GET", f"{WEBHOOKS}/{webhook['id']}/deliveries")
        return [delivery["status"] for delivery in page.data] == ["succeeded"]

    eventually(taken, "the log says that the receiver took it", timeout=60)


def test_the_pages_that_need_no_key_are_there(stack: AnyStack) -> None:
    for path, kind in (
        ("/dashboard", "text/html"),
        ("/docs", "text/html"),
        ("/api/v1/openapi.json", "application/json"),
    ):
        answer = stack.call("GET", path)
        assert answer.status == 200, path
        assert str(answer.headers["Content-Type"]).startswith(kind)


def test_the_outputs_lead_to_the_stacks_own_pages(stack: AnyStack) -> None:
    assert stack.outputs["DashboardUrl"] == f"{stack.outputs['ApiUrl']}/dashboard"
