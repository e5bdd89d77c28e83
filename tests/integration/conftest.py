"""The API on fakes, and a customer of it."""

from __future__ import annotations

import pytest

from support.http_api import ApiClient, ApiOnFakes


@pytest.fixture
def on_fakes() -> ApiOnFakes:
    return ApiOnFakes()


@pytest.fixture
def acme(on_fakes: ApiOnFakes) -> ApiClient:
    return on_fakes.acme
