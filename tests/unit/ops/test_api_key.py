"""API keys: their text, their service, and the command that makes one."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING

import boto3
import pytest
from hypothesis import given
from hypothesis import strategies as st
from moto import mock_aws

from ops import api_key as command
from support.fakes import FakeApiKeyStore
from support.tables import create_tables
from webhooks.adapters.dynamodb.api_keys import DynamoDBApiKeyStore
from webhooks.domain import api_key
from webhooks.domain.api_key import Scope
from webhooks.domain.errors import InvalidInputError
from webhooks.services.api_keys import ApiKeyService

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOW_NS = 1_766_359_512_006_123_456


@pytest.fixture
def store() -> FakeApiKeyStore:
    return FakeApiKeyStore()


@pytest.fixture
def api_key_service(store: FakeApiKeyStore) -> ApiKeyService:
    return ApiKeyService(store, now_ns=lambda: NOW_NS)


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        yield


@given(st.binary(min_size=40, max_size=40))
def test_a_composed_key_is_well_formed(random: bytes) -> None:
    text = api_key.compose(random)
    assert api_key.is_well_formed(text)
    assert text.startswith("sc_live_")
    assert api_key.key_id(text) == f"key_{random[:8].hex()}"


@given(st.binary(min_size=40, max_size=40), st.integers(8, 95), st.sampled_from("0123456789abcdef"))
def test_one_wrong_digit_is_told_from_the_key_alone(random: bytes, place: int, digit: str) -> None:
    text = api_key.compose(random)
    changed = text[:place] + digit + text[place + 1 :]
    assert api_key.is_well_formed(changed) is (changed == text)


def test_a_key_needs_40_random_bytes() -> None:
    with pytest.raises(ValueError, match="40"):
        api_key.compose(bytes(39))


def test_only_the_hash_of_a_key_is_kept(
    store: FakeApiKeyStore, api_key_service: ApiKeyService
) -> None:
    text, key = api_key_service.issue("acme", "billing")
    assert store.keys == {hashlib.sha256(text.encode()).hexdigest(): key}
    assert (key.account_id, key.name, key.last_four) == ("acme", "billing", text[-4:])
    assert key.created_at_ms == 1_766_359_512_006
    assert key.scopes == {Scope.READ, Scope.WRITE, Scope.PUBLISH}
    assert text not in repr(store.keys)


def test_every_key_is_another(api_key_service: ApiKeyService) -> None:
    assert len({api_key_service.issue("acme").text for _ in range(10)}) == 10


@pytest.mark.parametrize("account_id", ["", "a#b", "a b", "x" * 65, "é", "acme\n", "a/b"])
def test_an_account_has_a_plain_name(
    store: FakeApiKeyStore, api_key_service: ApiKeyService, account_id: str
) -> None:
    with pytest.raises(InvalidInputError):
        api_key_service.issue(account_id)
    assert not store.keys


@pytest.mark.parametrize("name", ["x" * 65, "two\nlines"])
def test_a_keys_name_is_a_short_line(api_key_service: ApiKeyService, name: str) -> None:
    with pytest.raises(InvalidInputError):
        api_key_service.issue("acme", name)


def test_a_key_is_recognised(api_key_service: ApiKeyService) -> None:
    text, key = api_key_service.issue("acme")
    api_key_service.issue("globex")
    for header in (f"Bearer {text}", f"bearer   {text} "):
        found = api_key_service.authenticate(header)
        assert found is not None
        assert (found.id, found.account_id) == (key.id, "acme")


def test_an_account_may_have_several_keys(api_key_service: ApiKeyService) -> None:
    for text, key in (api_key_service.issue("acme"), api_key_service.issue("acme")):
        assert api_key_service.authenticate(f"Bearer {text}") == key


def test_a_revoked_key_is_not_recognised(
    store: FakeApiKeyStore, api_key_service: ApiKeyService
) -> None:
    text, key = api_key_service.issue("acme")
    store.keys[key.key_hash] = replace(key, revoked_at_ms=1)
    assert api_key_service.authenticate(f"Bearer {text}") is None


def test_a_key_found_under_anothers_hash_is_not_recognised(
    store: FakeApiKeyStore, api_key_service: ApiKeyService
) -> None:
    text, key = api_key_service.issue("acme")
    store.keys[key.key_hash] = replace(key, key_hash="0" * 64)
    assert api_key_service.authenticate(f"Bearer {text}") is None


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer x", "Basic x", "x" * 100_000, "Bearer \ud800", "Bearer é"]
)
def test_whatever_is_no_key_costs_one_look_up_and_says_nothing(header: str) -> None:
    looked_up: list[str] = []

    class CountingStore(FakeApiKeyStore):
        def get(self, key_hash: str) -> None:
            looked_up.append(key_hash)

    assert ApiKeyService(CountingStore()).authenticate(header) is None
    assert len(looked_up) == 1


@pytest.mark.usefixtures("aws")
def test_the_command_makes_a_key_for_the_stack_on_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    client = boto3.client("dynamodb", region_name="us-east-1")
    create_tables(client)
    outputs = tmp_path / "outputs.json"
    outputs.write_text(
        json.dumps(
            {
                "ApiKeysTable": "ApiKeysTable",
                "AwsEndpointUrl": "https://dynamodb.us-east-1.amazonaws.com",
                "Region": "us-east-1",
            }
        )
    )
    monkeypatch.setattr(command.local_table, "__defaults__", (outputs,))
    assert command.main(["--account", "acme", "--name", "laptop"]) == 0
    printed = capsys.readouterr()
    text = printed.out.strip()
    key = ApiKeyService(DynamoDBApiKeyStore(client, "ApiKeysTable")).authenticate(f"Bearer {text}")
    assert key is not None
    assert (key.account_id, key.name) == ("acme", "laptop")
    assert text not in printed.err


@pytest.mark.usefixtures("aws")
def test_the_command_makes_a_key_for_a_deployed_stack(capsys: pytest.CaptureFixture[str]) -> None:
    client = boto3.client("dynamodb", region_name="us-east-1")
    create_tables(client)
    boto3.client("cloudformation").create_stack(
        StackName="webhooks-dev",
        TemplateBody=json.dumps(
            {
                "Resources": {"Topic": {"Type": "AWS::SNS::Topic"}},
                "Outputs": {"ApiKeysTableName": {"Value": "ApiKeysTable"}},
            }
        ),
    )
    arguments = ["--account", "acme", "--stack", "webhooks-dev", "--scopes", "publish,read"]
    assert command.main(arguments) == 0
    text = capsys.readouterr().out.strip()
    key = ApiKeyService(DynamoDBApiKeyStore(client, "ApiKeysTable")).authenticate(f"Bearer {text}")
    assert key is not None
    assert key.scopes == {Scope.PUBLISH, Scope.READ}


@pytest.mark.usefixtures("aws")
@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--account", "acme", "--stack", "nowhere"], "nowhere cannot be described"),
        (["--account", "acme", "--stack", "other"], "no output ApiKeysTableName"),
        (["--account", "acme"], "make run"),
    ],
)
def test_the_command_says_why_it_made_no_key(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    complaint: str,
) -> None:
    monkeypatch.setattr(command.local_table, "__defaults__", (tmp_path / "absent.json",))
    boto3.client("cloudformation").create_stack(
        StackName="other",
        TemplateBody=json.dumps({"Resources": {"Topic": {"Type": "AWS::SNS::Topic"}}}),
    )
    assert command.main(arguments) == 1
    printed = capsys.readouterr()
    assert complaint in printed.err
    assert printed.out == ""


@pytest.mark.usefixtures("aws")
@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (["--account", "a#b"], "account_id"),
        (["--account", "acme", "--scopes", "read,everything"], "scopes[1]"),
        (["--account", "acme", "--scopes", "read,read"], "scopes[1]"),
        (["--account", "acme", "--scopes", ""], "scopes[0]"),
    ],
)
def test_the_command_refuses_an_account_or_a_scope_that_is_none(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    field: str,
) -> None:
    outputs = tmp_path / "outputs.json"
    outputs.write_text('{"ApiKeysTable": "T", "AwsEndpointUrl": "http://x", "Region": "r"}')
    monkeypatch.setattr(command.local_table, "__defaults__", (outputs,))
    assert command.main(arguments) == 1
    assert field in capsys.readouterr().err
