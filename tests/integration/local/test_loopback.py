"""The address rule of the local stack: the deployed rule, and loopback is allowed too."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

import local
from local import loopback
from webhooks.domain import targets
from webhooks.domain.errors import InvalidTargetError
from webhooks.domain.targets import Target
from webhooks.wiring import common


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("http://127.0.0.1:9000/ok", Target("http", "127.0.0.1", 9000, "/ok")),
        ("http://localhost/a?b=c&d", Target("http", "localhost", 80, "/a?b=c&d")),
        ("https://localhost:8443", Target("https", "localhost", 8443, "/")),
        ("HTTP://LocalHost:9000/A", Target("http", "localhost", 9000, "/A")),
        (
            "https://receiver.test-domain.com/x",
            Target("https", "receiver.test-domain.com", 443, "/x"),
        ),
    ],
)
def test_loopback_and_public_urls_are_taken_apart(url: str, target: Target) -> None:
    assert loopback.parse_url(url) == target


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/",
        "http://127.0.0.2:9000/",
        "http://127.1/",
        "http://0.0.0.0:9000/",
        "http://[::1]:9000/",
        "http://localhost.example.com/",
        "http://user@127.0.0.1/",
        "http://127.0.0.1:9000@example.com/",
        "http://127.0.0.1:99999/",
        "http://127.0.0.1:9000/#fragment",
        "http://127.0.0.1:9000/with space",
        "ftp://127.0.0.1/",
        "https://10.0.0.1/",
        "https://169.254.169.254/latest/meta-data",
        "http://127.0.0.1/" + "x" * 2048,
    ],
)
def test_every_other_url_is_refused_as_in_a_deployed_stack(url: str) -> None:
    with pytest.raises(InvalidTargetError):
        loopback.parse_url(url)


@pytest.mark.parametrize(
    "rest",
    ["/a|b", "/[x]", '/"x"', "/%zz", "/100%", "/a b", "/a\\b", "/a#b", "?q=1", "/\n", "/<a>", "/é"],
)
def test_what_follows_the_host_is_judged_as_in_a_deployed_stack(rest: str) -> None:
    with pytest.raises(InvalidTargetError) as deployed:
        targets.parse_url(f"https://receiver.test-domain.com{rest}")
    with pytest.raises(InvalidTargetError) as here:
        loopback.parse_url(f"http://127.0.0.1:9000{rest}")
    assert here.value.message == deployed.value.message


@pytest.mark.parametrize("address", ["127.0.0.1", "127.255.0.1", "93.184.215.14", "2606:4700::1"])
def test_loopback_and_public_addresses_are_allowed(address: str) -> None:
    assert loopback.is_allowed(address)


@pytest.mark.parametrize(
    "address", ["10.0.0.1", "169.254.169.254", "172.17.0.1", "0.0.0.1", "::1", "fd00::1", "x", ""]
)
def test_other_addresses_are_not_allowed(address: str) -> None:
    assert not loopback.is_allowed(address)


def test_a_deployed_function_has_the_deployed_rule() -> None:
    assert (targets.parse_url, targets.is_public) == common.PUBLIC_TARGETS
    assert inspect.signature(common.CommonServices.deployed).parameters.keys() == set()


def test_nothing_that_is_deployed_imports_the_local_stack() -> None:
    root = Path(inspect.getfile(local)).parent.parent
    sources = [*root.glob("functions/**/*.py"), *root.glob("layers/**/*.py")]
    assert sources
    guilty = [
        path.name
        for path in sources
        for line in path.read_text(encoding="utf-8").splitlines()
        if line.strip().startswith(("import local", "from local"))
    ]
    assert guilty == []
