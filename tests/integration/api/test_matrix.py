"""Every route, with every method, scope and kind of id: the caller's rights and reach."""

from __future__ import annotations

import inspect
import json
import re
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from api.operations import routes
from local import openapi
from support import samples
from support.http_api import ApiOnFakes, http_api_event
from webhooks.domain.api_key import ALL_SCOPES, Scope
from webhooks.domain.delivery import delivery_id
from webhooks.domain.jobs.replay import ReplayStatus
from webhooks.domain.webhook import Secrets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.http_api import Answer

WEBHOOKS = "/api/v1/webhooks"
WEBHOOK = f"{WEBHOOKS}/{{webhook_id}}"
DELIVERY = f"{WEBHOOK}/deliveries/{{delivery_id}}"
CHECK = f"{WEBHOOK}/checks/{{check_id}}"
EXTERNAL = f"{WEBHOOKS}/external/{{external_id}}"
REPLAY = f"{WEBHOOK}/replays/{{replay_id}}"
KEYS = "/api/v1/api-keys"
SINCE = "2025-12-21T00:00:00Z"
ADDRESS = "recipient@example.com"
HOST = "hooks.acme.com"
REGISTRATION = {"url": f"https://{HOST}/events", "events": ["email.sent"]}
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
FOREIGN_KINDS = ("foreign", "absent", "malformed")


class ApiCall(NamedTuple):
    """A call that succeeds with the scope and the account's own ids."""

    method: str
    path: str
    scope: Scope | None
    status: int
    body: Any = None
    query: str = ""

    @property
    def ids(self) -> list[str]:
        """The ids that the call names; an address has no owner."""
        named = re.findall(r"{(\w+)}", self.path + self.query)
        return [name for name in named if name != "address"]


CASES = [
    ApiCall("POST", WEBHOOKS, Scope.WRITE, 201, REGISTRATION),
    ApiCall("GET", WEBHOOKS, Scope.READ, 200),
    ApiCall("DELETE", WEBHOOKS, Scope.WRITE, 200, query="id={webhook_id}"),
    ApiCall("GET", WEBHOOK, Scope.READ, 200),
    ApiCall("PATCH", WEBHOOK, Scope.WRITE, 200, {"active": False}),
    ApiCall("DELETE", WEBHOOK, Scope.WRITE, 200),
    ApiCall("GET", EXTERNAL, Scope.READ, 200),
    ApiCall("PUT", EXTERNAL, Scope.WRITE, 200, REGISTRATION),
    ApiCall("POST", f"{WEBHOOK}/rotate-secret", Scope.WRITE, 200, {"overlap_seconds": 60}),
    ApiCall("POST", f"{WEBHOOK}/test", Scope.WRITE, 202, {"event": "email.sent"}),
    ApiCall("POST", f"{WEBHOOK}/check", Scope.WRITE, 202),
    ApiCall("GET", CHECK, Scope.READ, 200),
    ApiCall("GET", f"{WEBHOOK}/deliveries", Scope.READ, 200),
    ApiCall("GET", DELIVERY, Scope.READ, 200),
    ApiCall("POST", f"{DELIVERY}/resend", Scope.WRITE, 202),
    ApiCall("POST", f"{WEBHOOK}/replay", Scope.WRITE, 202, {"since": SINCE}),
    ApiCall("GET", f"{WEBHOOK}/replays", Scope.READ, 200),
    ApiCall("GET", REPLAY, Scope.READ, 200),
    ApiCall("DELETE", REPLAY, Scope.WRITE, 200),
    ApiCall("DELETE", "/api/v1/recipients/{address}", Scope.WRITE, 202),
    ApiCall("GET", "/api/v1/recipients/erasures/{erasure_id}", Scope.READ, 200),
    ApiCall("GET", KEYS, Scope.READ, 200),
    ApiCall("POST", KEYS, Scope.WRITE, 201, {"name": "another", "scopes": ["write"]}),
    ApiCall("DELETE", f"{KEYS}/{{key_id}}", Scope.WRITE, 200),
    ApiCall("POST", "/api/v1/events", Scope.PUBLISH, 202, samples.event_document(account_id=None)),
    ApiCall("GET", "/api/v1/event-types", Scope.READ, 200),
    ApiCall("GET", "/api/v1/openapi.json", None, 200),
    ApiCall("GET", "/docs", None, 200),
    ApiCall("GET", "/dashboard", None, 200),
    ApiCall("GET", "/dashboard/{file}", None, 200),
]
# A PUT makes an absent webhook, so it has no id that is not found.
WITH_IDS = [case for case in CASES if case.ids and case.method != "PUT"]


def name_of(case: ApiCall) -> str:
    return f"{case.method} {case.path}{'?' + case.query if case.query else ''}"


class TwoAccounts:
    """The API on fakes, and two accounts with one resource of every kind."""

    def __init__(self) -> None:
        self.fakes = ApiOnFakes(addresses={HOST: ["93.184.216.34"]})
        # One unused key for each account: the last use of other keys changes with their use.
        self.ids = {"own": self._own("acme", 1), "foreign": self._own("globex", 2)}
        # acme's has ended, so that another may be started; globex's runs, and must go on.
        for key, replay in self.fakes.replay_store.jobs.items():
            if key.account_id == "acme":
                ended = replace(replay, status=ReplayStatus.COMPLETED)
                self.fakes.replay_store.jobs[key] = ended
        absent = delivery_id(samples.EVENT_ID, samples.NOW_MS + 1, self.ids["own"]["webhook_id"])
        self.ids["absent"] = dict.fromkeys(self.ids["own"], "0199a5b0-0000-7000-8000-000000000000")
        self.ids["absent"]["delivery_id"] = absent
        self.ids["absent"]["external_id"] = "absent"
        self.ids["malformed"] = dict.fromkeys(self.ids["own"], "x")

    def call(self, case: ApiCall, scope: Scope | None, ids: dict[str, str]) -> Answer:
        """Call as acme with a key of one scope; None: without a key."""
        headers = {"Content-Type": "application/json"} if case.body is not None else {}
        if scope is not None:
            key = self.fakes.api_key_service.issue("acme", scopes={scope})
            headers["Authorization"] = f"Bearer {key.text}"
        event = http_api_event(
            case.method,
            case.path.format(**ids, address=ADDRESS),
            query=case.query.format(**ids),
            headers=headers,
            body=None if case.body is None else json.dumps(case.body),
        )
        return self.fakes.acme.send(event)

    def watch_the_stores(self) -> list[str]:
        """Return a list to which every call of a store is added, by name.

        Except of the rate limits: a call uses or requests an allowance for any id.
        """
        made: list[str] = []
        fakes = self.fakes
        stores = (
            *(fakes.webhooks, fakes.deliveries, fakes.replay_store, fakes.erasure_store),
            *(fakes.keys, fakes.check_store),
        )
        for store in stores:
            for name, method in inspect.getmembers(store, inspect.ismethod):
                setattr(store, name, _watched(f"{type(store).__name__}.{name}", method, made))
        return made

    def of(self, account_id: str) -> list[str]:
        """Return an account's whole data, to compare; of its keys, the unused ones."""
        fakes = self.fakes
        unused = {ids["key_id"] for ids in self.ids.values()}
        return sorted(
            [repr(each) for key, each in fakes.webhooks.webhooks.items() if key[0] == account_id]
            + [
                repr(each)
                for each in fakes.deliveries.deliveries.values()
                if account_id in each.key
            ]
            + [repr(each) for each in fakes.replay_store.jobs.values() if account_id in each.key]
            + [
                repr(each)
                for each in fakes.keys.keys.values()
                if each.account_id == account_id and each.id in unused
            ]
            + [repr(item) for item in fakes.scheduler.executions.items() if account_id in item[0]]
            + [repr(item) for item in fakes.scheduler.resends.items() if account_id in item[1][0]]
            + [repr(key) for key in fakes.replay_scheduler.keys if account_id in key]
            + [repr(each) for each in fakes.erasure_store.jobs.values() if account_id in each.key]
            + [repr(key) for key in fakes.erasure_scheduler.keys if account_id in key]
            + [repr(each) for each in fakes.check_store.jobs.values() if account_id in each.key]
            + [repr(key) for key in fakes.check_scheduler.keys if account_id in key]
            + [repr(message) for message in fakes.events.messages if account_id in message]
        )

    def _own(self, account_id: str, number: int) -> dict[str, str]:
        own_id = f"{account_id}-billing"
        webhook = samples.webhook(number, account_id=account_id, external_id=own_id)
        self.fakes.webhooks.add(webhook, Secrets(samples.SECRET))
        delivery = self.fakes.deliveries.create(samples.delivery(number, account_id=account_id))
        replay = self.fakes.replays.start(webhook, since=SINCE, until=None, status=None)
        key = self.fakes.api_key_service.issue(account_id, scopes=ALL_SCOPES).key
        return {
            "webhook_id": webhook.id,
            "external_id": own_id,
            "delivery_id": delivery.id,
            "replay_id": replay.id,
            "check_id": self.fakes.checks.start(webhook).id,
            "erasure_id": self.fakes.erasures.start(account_id, f"{account_id}@example.com").id,
            "key_id": key.id,
            # The only resource without an owner: another account's is an absent one.
            "file": "app.js" if account_id == "acme" else f"{account_id}.js",
        }


def _watched(name: str, method: Callable[..., Any], made: list[str]) -> Callable[..., Any]:
    def watched(*args: Any, **kwargs: Any) -> Any:
        made.append(name)
        return method(*args, **kwargs)

    return watched


@pytest.fixture
def fixture() -> TwoAccounts:
    return TwoAccounts()


def shape(path: str) -> str:
    """Return a path without the names of its variables."""
    return re.sub(r"{\w+}", "{}", path)


def documented() -> Iterator[tuple[str, str]]:
    for path, operations in json.loads(openapi.generate())["paths"].items():
        for method in operations:
            yield method.upper(), path


def test_document_resolver_and_this_matrix_have_the_same_routes(fixture: TwoAccounts) -> None:
    in_document = {(method, shape(path)) for method, path in documented()}
    in_resolver = {
        (route.method, shape(route.openapi_path)) for route in routes(fixture.fakes.api.resolver)
    }
    in_matrix = {(case.method, shape(case.path)) for case in CASES}
    assert in_document == in_resolver == in_matrix
    assert len(CASES) == len(in_matrix)


@pytest.mark.parametrize("path", sorted({case.path for case in CASES}))
def test_methods_that_a_path_has_not_are_refused_before_anything_else(
    fixture: TwoAccounts, path: str
) -> None:
    allowed = sorted(case.method for case in CASES if case.path == path)
    before = fixture.of("acme"), fixture.of("globex")
    for method in set(METHODS) - set(allowed):
        case = ApiCall(method, path, None, 405)
        for scope, ids in product((None, *Scope), fixture.ids.values()):
            answer = fixture.call(case, scope, ids)
            assert (answer.status, answer.error["code"]) == (405, "method_not_allowed")
            assert answer.headers["Allow"] == ", ".join(allowed)
    assert (fixture.of("acme"), fixture.of("globex")) == before


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_the_scope_reaches_what_is_ones_own_and_nothing_of_others(
    fixture: TwoAccounts, case: ApiCall
) -> None:
    before = fixture.of("globex")
    answer = fixture.call(case, case.scope, fixture.ids["own"])
    assert answer.status == case.status, answer.text
    for foreign in fixture.ids["foreign"].values():
        assert foreign not in answer.text
    assert fixture.of("globex") == before


@pytest.mark.parametrize("case", [case for case in CASES if case.scope], ids=name_of)
def test_other_scopes_and_strangers_are_refused_whatever_the_id(
    fixture: TwoAccounts, case: ApiCall
) -> None:
    before = fixture.of("acme"), fixture.of("globex")
    for kind in fixture.ids:
        stranger = fixture.call(case, None, fixture.ids[kind])
        assert (stranger.status, stranger.error["code"]) == (401, "unauthorized")
        for scope in set(Scope) - {case.scope}:
            answer = fixture.call(case, scope, fixture.ids[kind])
            assert (answer.status, answer.error["code"]) == (403, "insufficient_scope")
            assert f'scope="{case.scope}"' in answer.headers["WWW-Authenticate"]
    assert (fixture.of("acme"), fixture.of("globex")) == before


@pytest.mark.parametrize("case", WITH_IDS, ids=name_of)
def test_foreign_absent_and_malformed_ids_get_the_same_bytes_and_change_nothing(
    fixture: TwoAccounts, case: ApiCall
) -> None:
    before = fixture.of("acme"), fixture.of("globex")
    # Each id of the path in turn is another account's; ids before it are the caller's, after it
    # both.
    for place, name in enumerate(case.ids):
        answers = set()
        for kind in FOREIGN_KINDS:
            rest = dict.fromkeys(case.ids[place + 1 :])
            for others in ("own", kind) if rest else ("own",):
                changed = {each: fixture.ids[others][each] for each in rest}
                ids = {**fixture.ids["own"], name: fixture.ids[kind][name], **changed}
                answer = fixture.call(case, case.scope, ids)
                answers.add((answer.status, tuple(sorted(answer.headers.items())), answer.text))
        ((status, _, text),) = answers
        thing = name.removesuffix("_id").replace("key", "api_key").replace("external", "webhook")
        code = f"{thing}_not_found"
        assert (status, json.loads(text)["error"]["code"]) == (404, code)
    assert (fixture.of("acme"), fixture.of("globex")) == before


@pytest.mark.parametrize("case", [case for case in WITH_IDS if case.scope], ids=name_of)
def test_foreign_and_absent_ids_cost_the_same_calls_and_so_the_same_time(
    fixture: TwoAccounts, case: ApiCall
) -> None:
    made = fixture.watch_the_stores()
    for name in case.ids:
        calls = []
        for kind in ("foreign", "absent"):
            made.clear()
            fixture.call(case, case.scope, {**fixture.ids["own"], name: fixture.ids[kind][name]})
            calls.append([*made])
        assert calls[0] == calls[1] != []


def test_a_put_to_anothers_external_id_makes_a_webhook_of_ones_own(fixture: TwoAccounts) -> None:
    case = ApiCall("PUT", EXTERNAL, Scope.WRITE, 201, REGISTRATION)
    before = fixture.of("globex")
    answer = fixture.call(case, case.scope, fixture.ids["foreign"])
    assert answer.status == 201, answer.text
    assert answer.data["id"] != fixture.ids["foreign"]["webhook_id"]
    assert fixture.of("globex") == before
