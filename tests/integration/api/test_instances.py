"""Several APIs in one process, the local stack's case: none answers another's request."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, cast

from api.app import Api
from support.http_api import AccountClient, ApiOnFakes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from webhooks.wiring.api import ApiServices

HOST = "hooks.acme.com"
REGISTRATION = {"url": f"https://{HOST}/events", "events": ["*"]}


class HeldUp(ApiOnFakes):
    """An API whose registrations wait at the name server until the test releases them."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.waiting = threading.Event()
        self.let_go = threading.Event()

    def resolve(self, host: str) -> Sequence[str]:
        self.waiting.set()
        self.let_go.wait(20)
        return super().resolve(host)


def test_an_api_that_is_built_while_another_answers_takes_nothing_of_its_request() -> None:
    fakes = HeldUp(addresses={HOST: ["93.184.216.34"]})
    answers = {}
    built = threading.Event()

    def register() -> None:
        answers["acme"] = fakes.acme.call("POST", json=REGISTRATION)

    def build_and_list() -> None:
        another = AccountClient(Api(cast("ApiServices", fakes)), fakes.globex.key)
        built.set()
        answers["globex"] = another.call("GET")

    first = threading.Thread(target=register)
    second = threading.Thread(target=build_and_list)
    first.start()
    assert fakes.waiting.wait(20)
    second.start()
    # It may be built meanwhile or wait its turn: only its later answer matters.
    built.wait(0.5)
    fakes.let_go.set()
    first.join(20)
    second.join(20)
    assert answers["acme"].status == 201
    assert (answers["globex"].status, answers["globex"].data) == (200, [])
