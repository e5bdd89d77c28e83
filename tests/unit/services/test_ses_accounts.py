"""The account of an SES record: by its tags, or by a table that is read once a minute at most."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from moto import mock_aws

from ops import ses_account
from support.samples import event_text
from support.service_fixture import ServiceFixture
from support.tables import create_tables
from webhooks.adapters.dynamodb.ses_accounts import DynamoDBSesAccountStore
from webhooks.domain.errors import UnavailableError
from webhooks.domain.ses import SesAccounts, SourceKind
from webhooks.services.ses_accounts import KeptSesAccounts

if TYPE_CHECKING:
    from collections.abc import Iterator


class FakeStore:
    """The table in memory, and the number of its reads."""

    def __init__(self) -> None:
        self.sets = {"shop-mail": "acc_1"}
        self.tenants = {"acme": "acc_1"}
        self.reads = 0
        self.down = False

    def read(self, default: str) -> SesAccounts:
        self.reads += 1
        if self.down:
            raise UnavailableError("reading: ThrottlingException")
        return SesAccounts(dict(self.sets), default, dict(self.tenants))


@pytest.fixture
def store() -> FakeStore:
    return FakeStore()


@pytest.fixture
def services(store: FakeStore) -> ServiceFixture:
    services = ServiceFixture()
    services.ses_accounts = KeptSesAccounts(store, default="acc_other", clock=services.clock)
    services.add(events=("*",))
    return services


def record(**tags: str) -> str:
    return json.dumps(
        {
            "eventType": "Send",
            "mail": {
                "messageId": f"mail-{tags}",
                "timestamp": "2026-10-05T08:00:00.123Z",
                "destination": ["ada@customer.example"],
                "tags": {name.replace("_", "-", 1): [value] for name, value in tags.items()},
            },
            "send": {},
        }
    ).replace("ses-", "ses:")


SET = {"ses_configuration-set": "shop-mail"}
OTHER_SET = {"ses_configuration-set": "other"}
TENANT = {"ses_tenant-name": "acme"}


def test_the_tag_goes_before_the_tenant_and_that_before_the_set(services: ServiceFixture) -> None:
    services.ses_accounts = SesAccounts({"shop-mail": "acc_2"}, "acc_3", {"acme": "acc_1"})
    assert services.send(record(**SET, **TENANT)) == []
    assert len(services.sender.posts) == 1
    assert services.send(record(**SET), record(**OTHER_SET)) == []
    assert len(services.sender.posts) == 1
    tagged = json.loads(record(**SET))
    tagged["mail"]["tags"]["account_id"] = ["acc_1"]
    assert services.send(json.dumps(tagged)) == []
    assert len(services.sender.posts) == 2


def test_the_table_is_read_once_a_minute_and_then_anew(
    services: ServiceFixture, store: FakeStore
) -> None:
    for _ in range(3):
        assert services.send(record(**SET), record(**TENANT), record(**OTHER_SET)) == []
    assert store.reads == 1
    assert len(services.sender.posts) == 2
    store.sets["other"] = "acc_1"
    services.now_ms += 59_999
    assert services.send(record(**OTHER_SET)) == []
    assert (store.reads, len(services.sender.posts)) == (1, 2)
    services.now_ms += 2
    assert services.send(record(**OTHER_SET)) == []
    assert (store.reads, len(services.sender.posts)) == (2, 3)


def test_nothing_but_a_record_without_a_tag_has_the_table_read(
    services: ServiceFixture, store: FakeStore
) -> None:
    tagged = json.loads(record(**SET))
    tagged["mail"]["tags"]["account_id"] = ["acc_1"]
    nowhere = record()
    assert services.send(event_text(), json.dumps(tagged), nowhere) == []
    assert store.reads == 0


def test_while_the_table_cannot_be_read_its_records_wait_for_their_account(
    services: ServiceFixture, store: FakeStore
) -> None:
    store.down = True
    array = f"[{event_text(id='evt_of_an_array')},{record(**TENANT)}]"
    assert services.send(record(**SET), event_text(), array) == ["m0", "m2"]
    assert len(services.sender.posts) == 1
    assert services.rejected.messages == []
    store.down = False
    assert services.send(record(**SET), array) == []
    assert len(services.sender.posts) == 4


@pytest.fixture
def table() -> Iterator[DynamoDBSesAccountStore]:
    with mock_aws():
        client = boto3.client("dynamodb", region_name="us-east-1")
        create_tables(client)
        yield DynamoDBSesAccountStore(client, "WebhooksTable")


def test_what_is_put_is_read_until_it_is_deleted(table: DynamoDBSesAccountStore) -> None:
    assert table.read("d") == SesAccounts({}, "d", {})
    table.put(SourceKind.CONFIGURATION_SET, "shop-mail", "acc_1")
    table.put(SourceKind.CONFIGURATION_SET, "odd#name", "acc_2")
    table.put(SourceKind.TENANT, "shop-mail", "acc_3")
    table.put(SourceKind.TENANT, "shop-mail", "acc_4")
    expected = SesAccounts({"shop-mail": "acc_1", "odd#name": "acc_2"}, "d", {"shop-mail": "acc_4"})
    assert table.read("d") == expected
    assert table.delete(SourceKind.TENANT, "shop-mail")
    assert not table.delete(SourceKind.TENANT, "shop-mail")
    assert table.read("d").tenants == {}


def test_a_table_of_many_accounts_is_read_in_all_its_pages(table: DynamoDBSesAccountStore) -> None:
    """A page is a megabyte."""
    names = [f"{number:05}".rjust(1_000, "x") for number in range(1_100)]
    for name in names:
        table.put(SourceKind.CONFIGURATION_SET, name, name[-5:])
    found: dict[str, Any] = dict(table.read("d").configuration_sets)
    assert found == {name: name[-5:] for name in names}


def run(monkeypatch: pytest.MonkeyPatch, table: DynamoDBSesAccountStore, *options: str) -> int:
    monkeypatch.setattr(ses_account, "of_local", dict)
    monkeypatch.setattr(ses_account, "store_of", lambda _: table)
    return ses_account.main(options)


def test_the_command_gives_lists_and_takes_away(
    table: DynamoDBSesAccountStore,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(monkeypatch, table, "--set", "shop-mail", "--account", "acc_1") == 0
    assert run(monkeypatch, table, "--tenant", "acme", "--account", "acc_2") == 0
    capsys.readouterr()
    assert run(monkeypatch, table, "--json") == 0
    assert json.loads(capsys.readouterr().out) == [
        {"kind": "tenant", "name": "acme", "account_id": "acc_2"},
        {"kind": "set", "name": "shop-mail", "account_id": "acc_1"},
    ]
    assert run(monkeypatch, table, "--set", "shop-mail", "--remove") == 0
    assert run(monkeypatch, table, "--set", "shop-mail", "--remove") == 1
    assert run(monkeypatch, table, "--set", "other", "--account", "no#account") == 1
    assert table.read("d") == SesAccounts({}, "d", {"acme": "acc_2"})


@pytest.mark.parametrize(
    "options",
    [
        ["--account", "acc_1"],
        ["--remove"],
        ["--set", "a"],
        ["--set", "a", "--account", "acc_1", "--remove"],
        ["--set", "a", "--tenant", "b", "--account", "acc_1"],
    ],
)
def test_half_a_command_is_wrong_usage(
    table: DynamoDBSesAccountStore, monkeypatch: pytest.MonkeyPatch, options: list[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        run(monkeypatch, table, *options)
    assert caught.value.code == 2
