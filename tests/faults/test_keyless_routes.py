"""Row 100: strangers call the routes without a key, without end."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from api.app import Api
from local import template
from support.http_api import AccountClient
from webhooks.wiring.api import ApiServices

if TYPE_CHECKING:
    from faults.fault_harness import Tenant

DOCUMENT = "/api/v1/openapi.json"
PAGES = ("/docs", DOCUMENT, "/dashboard")


def stranger(tenant: Tenant, *, docs_page: bool = True) -> AccountClient:
    return AccountClient(Api(tenant.harness.fresh(ApiServices, docs_page=docs_page)), "no key")


def keyless(client: AccountClient) -> set[str]:
    """Return the routes that need no key, by the API's document."""
    paths: dict[str, Any] = json.loads(client.call("GET", DOCUMENT).text)["paths"]
    return {
        f"{method.upper()} {path}"
        for path, operations in paths.items()
        for method, operation in operations.items()
        if operation["security"] == []
    }


def test_row_100_each_route_without_a_key_has_a_rate_of_its_own(tenant: Tenant) -> None:
    resources = template.read()["Resources"]
    rates = resources["HttpApi"]["Properties"]["RouteSettings"]
    assert keyless(stranger(tenant)) == set(rates)
    for settings in rates.values():
        assert set(settings) == {"ThrottlingRateLimit", "ThrottlingBurstLimit"}
    events = resources["ApiFunction"]["Properties"]["Events"].values()
    routes = {f"{one['Properties']['Method']} {one['Properties']['Path']}" for one in events}
    # A setting for an absent route of the gateway would have no effect.
    assert set(rates) < routes


def test_row_100_what_a_stranger_has_is_not_sent_again(tenant: Tenant) -> None:
    client = stranger(tenant)
    for path in PAGES:
        first = client.call("GET", path)
        again = client.call("GET", path, headers={"If-None-Match": first.headers["ETag"]})
        assert (first.status, again.status, again.text or "") == (200, 304, "")
        assert len(first.text.encode()) < 500_000


def test_row_100_the_page_can_be_disabled(tenant: Tenant) -> None:
    client = stranger(tenant, docs_page=False)
    answer = client.call("GET", "/docs")
    assert (answer.status, answer.error["code"]) == (404, "not_found")
    assert "GET /docs" not in keyless(client)


def test_row_100_a_stranger_has_no_table_read(tenant: Tenant) -> None:
    client = stranger(tenant)
    tenant.harness.faults.clear()
    for path in PAGES:
        assert client.call("GET", path).status == 200
    assert tenant.harness.faults.sent == []
