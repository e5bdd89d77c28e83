"""The url rule and the address rule, by the published vectors and by their shape."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import idna
import pytest
import requests
import urllib3
from hypothesis import given
from hypothesis import strategies as st
from pydantic import HttpUrl, TypeAdapter

from webhooks.domain.errors import InvalidTargetError
from webhooks.domain.targets import MAX_URL_CHARACTERS, Target, check_url, is_public, parse_url

if TYPE_CHECKING:
    from collections.abc import Sequence

_PYDANTIC = TypeAdapter(HttpUrl)
VECTORS = json.loads((Path(__file__).parents[2] / "data" / "ssrf.json").read_text())["vectors"]


def vectors(kind: str) -> list[Any]:
    return [pytest.param(v, id=v["id"]) for v in VECTORS if v["kind"] == kind]


def accepted(url: str, own_hosts: Sequence[str] = ()) -> bool:
    try:
        check_url(url, own_hosts)
    except InvalidTargetError:
        return False
    return True


@pytest.mark.parametrize("vector", vectors("url"))
def test_the_url_rule_decides_every_vector_as_published(vector: dict[str, Any]) -> None:
    own = vector.get("config", {}).get("self_hosts", ())
    assert accepted(vector["input"], own) == (vector["expected"] == "accept"), vector["why"]


@pytest.mark.parametrize("vector", vectors("ip"))
def test_the_address_rule_decides_every_vector_as_published(vector: dict[str, Any]) -> None:
    assert is_public(vector["input"]) == (vector["expected"] == "accept"), vector["why"]


@pytest.mark.parametrize("vector", vectors("url"))
def test_a_refusal_names_the_field_and_never_repeats_the_url(vector: dict[str, Any]) -> None:
    url = vector["input"]
    if vector["expected"] == "accept":
        assert parse_url(url).host in url
        return
    with pytest.raises(InvalidTargetError) as caught:
        check_url(url, vector.get("config", {}).get("self_hosts", ()))
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
        (
            "https://XN--Bcher-KVA.example.com//a%2fb/../%7E;x?",
            Target("https", "xn--bcher-kva.example.com", 443, "//a%2fb/../%7E;x?"),
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
        ("https://example.com/a|b", "all characters but"),
        ("https://[::1]/", "IPv6"),
        ("https:///hook", "Name a host"),
    ],
)
def test_a_refusal_says_what_to_change(url: str, hint: str) -> None:
    with pytest.raises(InvalidTargetError) as caught:
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


OWN = ["abc123.execute-api.eu-west-1.amazonaws.com", "api.example.com"]


@pytest.mark.parametrize(
    "host",
    [
        "abc123.execute-api.eu-west-1.amazonaws.com",
        "ABC123.Execute-API.eu-west-1.amazonaws.com",
        "abc123.execute-api.eu-west-1.api.aws",
        "abc123.execute-api.cn-north-1.amazonaws.com.cn",
        "api.example.com",
        "API.example.com",
    ],
)
@pytest.mark.parametrize("own", [OWN, ["abc123.execute-api.", "api.example.com"]])
def test_the_services_own_api_is_no_target(host: str, own: list[str]) -> None:
    with pytest.raises(InvalidTargetError, match="this API itself"):
        check_url(f"https://{host}:8443/api/v1/events?a", own)


@pytest.mark.parametrize(
    "host",
    [
        "abc124.execute-api.eu-west-1.amazonaws.com",
        "abc12.execute-api.eu-west-1.amazonaws.com",
        "xabc123.execute-api.us-east-1.amazonaws.com",
        "d-abc123.execute-api.eu-west-1.api.aws",
        "abc123.lambda-url.eu-west-1.on.aws",
        "other.api.example.com",
        "example.com",
    ],
)
def test_anybody_elses_api_is_one(host: str) -> None:
    assert accepted(f"https://{host}/hooks", OWN)


def test_an_api_inside_a_private_network_is_none() -> None:
    assert not accepted("https://vpce-0a1b.execute-api.eu-west-1.vpce.amazonaws.com/")
    assert not accepted("https://vpce-0a1b.execute-api.cn-north-1.vpce.amazonaws.com.cn/")


def a_label(text: str) -> str:
    return text if text.isascii() else "xn--" + text.encode("punycode").decode()


@pytest.mark.parametrize(
    "label",
    [
        "col\u00b7lecci\u00f3",
        "\u30d5\u30a1\u30a4\u30eb\u30fb\u540d",
        "\u3042\u30fba",
        "\u0915\u094d\u200d\u0937",
        "\u0dc1\u0dca\u200d\u0dbb\u0dd3",
        "\u0646\u0627\u0645\u0647\u200c\u0627\u06cc",
        "\u03b1\u0375\u03b2",
        "\u05e6\u05f4\u05dc",
        "\u05d0\u05f3",
    ],
    ids=ascii,
)
def test_a_name_with_a_joiner_or_a_dot_where_it_belongs_is_accepted(label: str) -> None:
    url = f"https://{a_label(label)}.example.com/"
    assert idna.decode(a_label(label)) == label
    assert accepted(url)
    assert str(_PYDANTIC.validate_python(url).host) in url


@pytest.mark.parametrize(
    "label",
    [
        "a\u00b7l",
        "l\u00b7",
        "\u00b7l",
        "l\u0387l",
        "\u30fb",
        "a\u30fbb",
        "a\u200db",
        "\u200da",
        "a\u200c",
        "\u0627\u200c\u0627",
        "\u0375",
        "\u0375a",
        "\u05f3\u05d0",
        "a\u05f3",
        "\u3042\u200b",
    ],
    ids=ascii,
)
def test_a_name_with_one_anywhere_else_is_refused(label: str) -> None:
    with pytest.raises(idna.IDNAError):
        idna.decode(a_label(label))
    assert not accepted(f"https://{a_label(label)}.example.com/")


@given(
    st.text(
        st.sampled_from(
            "l\u00b7a\u0375\u03b1\u05d0\u05f3\u05f4\u30fb\u30ab\u540d\u200c\u200d\u0915\u094d\u0627\u0628\u06cc1"
        ),
        min_size=1,
        max_size=6,
    )
)
def test_joiners_and_dots_are_judged_as_idna_judges_them(label: str) -> None:
    host = f"{a_label(label)}.example.com"
    try:
        idna.decode(host)
    except idna.IDNAError:
        assert not accepted(f"https://{host}/")
        return
    assert accepted(f"https://{host}/")
    assert _PYDANTIC.validate_python(f"https://{host}/").host == host


@pytest.mark.parametrize(
    "host",
    [
        "xn--fa-hia.example.com",  # sharp s
        "xn--4dbrk0ce.example.com",  # Hebrew, which reads from right to left
        "www.xn--mgbaam7a8h.com",  # Arabic
        "a-1.xn--r8jz45g.xn--p1ai",
        "1.xn--bcher-kva.example.com",
    ],
)
def test_an_international_name_in_its_one_form_is_accepted(host: str) -> None:
    assert accepted(f"https://{host}/")


@pytest.mark.parametrize(
    ("host", "why"),
    [
        ("xn--ssaa.example.com", "begins with a mark"),
        ("xn--1-zmc.example.com", "a digit before Arabic letters"),
        ("xn--hhbx.example.com", "a mark before Arabic letters"),
        ("1.xn--4dbrk0ce.example.com", "a label that begins with a digit beside Hebrew"),
        ("_a.xn--4dbrk0ce.example.com", "a label that begins with an underscore beside Hebrew"),
        ("xn--a-0hc.example.com", "letters of both directions"),
        ("xn--psd.example.com", "an invisible letter"),
        ("xn--a-egb.example.com", "an invisible mark"),
        ("xn--oce.example.com", "a small letter that folds to a capital"),
    ],
)
def test_an_international_name_that_some_parser_refuses_is_refused(host: str, why: str) -> None:
    with pytest.raises(ValueError, match="international"):
        _PYDANTIC.validate_python(f"https://{host}/")
    assert not accepted(f"https://{host}/"), why


_TEXTS = st.text(
    st.characters(max_codepoint=0x6FF, categories=("L", "M", "N")) | st.sampled_from("abc09-_"),
    min_size=1,
    max_size=5,
) | st.text(st.characters(categories=("L", "M", "N")), min_size=1, max_size=3)
_A_LABELS = _TEXTS.map(
    lambda text: text if text.isascii() else "xn--" + text.encode("punycode").decode()
)


@given(st.lists(_A_LABELS, min_size=1, max_size=3))
def test_pydantic_takes_every_international_name_that_the_rule_takes(labels: list[str]) -> None:
    url = f"https://{'.'.join(labels)}.example.com/"
    try:
        target = parse_url(url)
    except InvalidTargetError:
        return
    assert _PYDANTIC.validate_python(url).host == target.host


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


@given(_WELL_MEANT | _ILL_MEANT)
def test_every_parser_finds_one_host_and_port_in_an_accepted_url(url: str) -> None:
    try:
        target = parse_url(url)
    except InvalidTargetError:
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
