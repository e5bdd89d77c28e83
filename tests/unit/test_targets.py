"""The url rule and the address rule, by the published vectors and by their shape."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
import urllib3
from hypothesis import given
from hypothesis import strategies as st
from pydantic import HttpUrl, TypeAdapter

from webhooks.domain.errors import InvalidTarget
from webhooks.domain.targets import MAX_URL_CHARACTERS, Target, check_url, is_public, parse_url

VECTORS = json.loads((Path(__file__).parents[1] / "data" / "ssrf.json").read_text())["vectors"]


def vectors(kind: str) -> list[Any]:
    return [pytest.param(v, id=v["id"]) for v in VECTORS if v["kind"] == kind]


def accepted(url: str) -> bool:
    try:
        check_url(url)
    except InvalidTarget:
        return False
    return True


@pytest.mark.parametrize("vector", vectors("url"))
def test_the_url_rule_decides_every_vector_as_published(vector: dict[str, Any]) -> None:
    assert accepted(vector["input"]) == (vector["expected"] == "accept"), vector["why"]


@pytest.mark.parametrize("vector", vectors("ip"))
def test_the_address_rule_decides_every_vector_as_published(vector: dict[str, Any]) -> None:
    assert is_public(vector["input"]) == (vector["expected"] == "accept"), vector["why"]


@pytest.mark.parametrize("vector", vectors("url"))
def test_a_refusal_names_the_field_and_never_repeats_the_url(vector: dict[str, Any]) -> None:
    url = vector["input"]
    if vector["expected"] == "accept":
        assert parse_url(url).host in url
        return
    with pytest.raises(InvalidTarget) as caught:
        check_url(url)
    assert caught.value.field == "url"
    assert len(caught.value.message.split()) > 3
    assert len(url) < 10 or url not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("https://example.com", Target("https", "example.com", 443, "/")),
        ("HTTPS://Example.COM/Hook", Target("https", "example.com", 443, "/Hook")),
        (
            "https://a.example.com:8443/h?k=%2F&b",
            Target("https", "a.example.com", 8443, "/h?k=%2F&b"),
        ),
    ],
)
def test_an_accepted_url_is_taken_apart(url: str, target: Target) -> None:
    assert parse_url(url) == target


@pytest.mark.parametrize(
    ("url", "hint"),
    [
        ("http://example.com/", "https://"),
        ("https://user:pass@example.com/", "user name"),
        ("https://example.com/#top", "fragment"),
        ("https://example.com?x=1", "between the host and the query"),
        ("https://bücher.example.com/", "xn--"),
        ("https://10.0.0.1/", "DNS name"),
        ("https://printer.local/", "private networks"),
        ("https://example.com:6379/", "8443"),
        ("https://example.com/100%", "hexadecimal"),
        ("https://example.com/a b", "Escape"),
        ("https://[::1]/", "IPv6"),
        ("https:///hook", "Name a host"),
    ],
)
def test_a_refusal_says_what_to_change(url: str, hint: str) -> None:
    with pytest.raises(InvalidTarget) as caught:
        check_url(url)
    assert hint in caught.value.message


def test_the_length_limit_is_exact() -> None:
    longest = "https://example.com/".ljust(MAX_URL_CHARACTERS, "a")
    assert accepted(longest)
    assert not accepted(longest + "a")


@pytest.mark.parametrize(
    "text", ["", " 8.8.8.8", "8.8.8.8 ", "8.8.8", "08.8.8.8", "8.8.8.8/32", "2600::1%eth0", "dns"]
)
def test_what_is_not_exactly_one_address_is_not_public(text: str) -> None:
    assert not is_public(text)


@pytest.mark.parametrize(
    ("first", "last"),
    [("10.0.0.0", "10.255.255.255"), ("100.64.0.0", "100.127.255.255"), ("224.0.0.0", "255.0.0.1")],
)
def test_the_prefixes_are_closed_from_end_to_end(first: str, last: str) -> None:
    assert not is_public(first)
    assert not is_public(last)


_LABELS = st.from_regex(r"\A[a-zA-Z0-9_]([a-zA-Z0-9_-]{0,8}[a-zA-Z0-9_])?\Z") | st.sampled_from(
    ["xn--bcher-kva", "xn--fa-hia", "xn--r8jz45g", "127", "0x7f", "0", "a_b", "localhost", "WWW"]
)
_TAILS = st.from_regex(r"\A[!-~]{0,12}\Z")
_PORTS = st.sampled_from(["", ":443", ":8443", ":1024", ":65535", ":0443", ":", ":80"])
_WELL_MEANT = st.builds(
    lambda labels, last, port, tail: f"https://{'.'.join([*labels, last])}{port}/{tail}",
    st.lists(_LABELS, min_size=1, max_size=4),
    st.sampled_from(["com", "DE", "co", "museum", "xn--p1ai", "1", "x"]),
    _PORTS,
    _TAILS,
)
_ILL_MEANT = st.builds(
    lambda *parts: "".join(parts),
    st.sampled_from(["https://", "HTTPS://", "https:/", "https:\\\\"]),
    st.from_regex(r"\A[a-z0-9.:@/\\?#%\[\]_;&-]{0,24}\Z"),
    st.sampled_from(["", "example.com", "@example.com", ".com/", "127.0.0.1", "\\@example.com"]),
    _TAILS,
)
_PYDANTIC = TypeAdapter(HttpUrl)


@given(_WELL_MEANT | _ILL_MEANT)
def test_every_parser_finds_one_host_and_port_in_an_accepted_url(url: str) -> None:
    try:
        target = parse_url(url)
    except InvalidTarget:
        return
    plain = urlsplit(url)
    wide = urllib3.util.parse_url(url)
    prepared = urlsplit(str(requests.Request("POST", url).prepare().url))
    strict = _PYDANTIC.validate_python(url)
    found = {
        (plain.hostname, plain.port or 443),
        (wide.host, wide.port or 443),
        (prepared.hostname, prepared.port or 443),
        (strict.host, strict.port or 443),
    }
    assert found == {(target.host, target.port)}
