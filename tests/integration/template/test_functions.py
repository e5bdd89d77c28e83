"""The template's functions: their handlers, roles, logs and variables."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import pytest

from local import template
from support.translated_template import FUNCTIONS, properties, statements, translated
from webhooks.adapters.http.sender import TIMEOUT_SECONDS, GuardedSender
from webhooks.domain import targets
from webhooks.settings import Settings
from webhooks.wiring.api import ApiServices
from webhooks.wiring.common import PUBLIC_TARGETS
from webhooks.wiring.dispatcher import DispatcherServices
from webhooks.wiring.worker import WorkerServices


class ReadNames(dict[str, str]):
    """An environment that remembers the names read from it."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def get(self, key: str, default: Any = None) -> Any:
        self.names.add(key)
        return default


def test_the_template_has_exactly_the_functions_of_the_code() -> None:
    assert set(template.of_type(translated(), "AWS::Lambda::Function")) == set(FUNCTIONS)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_names_a_handler_that_exists(function: str) -> None:
    module, _, name = properties(function)["Handler"].rpartition(".")

    assert module == f"{FUNCTIONS[function]}.handler"
    assert callable(getattr(importlib.import_module(module), name))


def test_only_the_function_that_seals_has_the_layer_of_cryptography() -> None:
    layers = {name: [_stem(each) for each in properties(name)["Layers"]] for name in FUNCTIONS}

    core, cryptography = "CoreLayer", "CryptographyLayer"
    assert layers.pop("ApiFunction") == [core, cryptography]
    assert set(map(tuple, layers.values())) == {(core,)}


def _stem(layer: dict[str, str]) -> str:
    """Return a layer's name in the template; SAM's name ends with a hash of its content."""
    return re.sub(r"[0-9a-f]{10}$", "", layer["Ref"])


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_has_a_role_and_a_log_group_of_its_own(function: str) -> None:
    role = properties(function)["Role"]["Fn::GetAtt"][0]
    logs = properties(function)["LoggingConfig"]["LogGroup"]["Ref"]
    others = [properties(other) for other in FUNCTIONS if other != function]

    assert all(role != other["Role"]["Fn::GetAtt"][0] for other in others)
    assert all(logs != other["LoggingConfig"]["LogGroup"]["Ref"] for other in others)
    assert statements(role)["WriteLogs"]["Resource"] == {"Fn::GetAtt": [logs, "Arn"]}


def test_every_log_group_forgets() -> None:
    groups = template.of_type(translated(), "AWS::Logs::LogGroup")

    assert len(groups) == len(FUNCTIONS) + 4  # the HTTP API's and the three state machines'
    for name, group in groups.items():
        assert group["Properties"]["RetentionInDays"] == {"Ref": "LogRetentionDays"}, name


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_is_given_only_variables_that_the_settings_read(function: str) -> None:
    asked = ReadNames()
    Settings.from_environment(asked)
    given = properties(function)["Environment"]["Variables"]

    # RES_OPTIONS is the C library's: it bounds a silent name server.
    assert set(given) - {"RES_OPTIONS"} <= asked.names


@pytest.mark.parametrize("function", ["DispatcherFunction", "WorkerFunction"])
def test_the_functions_that_look_names_up_bound_a_silent_name_server(function: str) -> None:
    options = properties(function)["Environment"]["Variables"]["RES_OPTIONS"]

    assert options == "timeout:1 attempts:2"


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_deployed_function_cannot_be_pointed_at_another_endpoint(function: str) -> None:
    variables = properties(function)["Environment"]["Variables"]

    assert variables["AWS_ENDPOINT_URL"] == {"Ref": "AWS::NoValue"}


def test_no_variable_parameter_or_setting_has_a_say_in_the_address_rule() -> None:
    asked = ReadNames()
    Settings.from_environment(asked)
    given = {name for f in FUNCTIONS for name in properties(f)["Environment"]["Variables"]}
    words = re.compile(r"allow|guard|private|public|insecure|verify|loopback|sender", re.IGNORECASE)

    named = asked.names | given | set(translated()["Parameters"])
    assert [name for name in sorted(named) if words.search(name)] == []


def test_a_deployed_function_has_the_public_rules_whatever_its_environment_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = ReadNames()
    Settings.from_environment(asked)
    for name in asked.names:
        monkeypatch.setenv(name, "1")

    assert (targets.parse_url, targets.is_public) == PUBLIC_TARGETS
    assert ApiServices.deployed()._rules is PUBLIC_TARGETS
    assert ApiServices.deployed().webhook_service._is_public is targets.is_public
    for kind in (DispatcherServices, WorkerServices):
        sender = kind.deployed()._sender
        assert isinstance(sender, GuardedSender)
        assert sender._check is targets.parse_url
        assert sender._context._dialer._allowed is targets.is_public
        assert sender._timeout_seconds == TIMEOUT_SECONDS


def test_nothing_but_the_wiring_reads_the_environment() -> None:
    root = Path(__file__).parents[3]
    sources = [path for folder in ("layers", "functions") for path in (root / folder).rglob("*.py")]
    reading = re.compile(r"\bos\.(environ|getenv)|import .*\b(environ|getenv)\b")

    assert len(sources) > 80
    assert [path.parent.name for path in sources if reading.search(path.read_text("utf-8"))] == [
        "wiring"
    ]
