"""The headers that a customer may add, by the published vectors and by their shape."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support import samples
from webhooks.domain.headers import (
    MAX_HEADER_VALUE_LENGTH,
    MAX_HEADERS,
    header_problems,
    merged,
)
from webhooks.domain.reserved_headers import is_reserved
from webhooks.domain.signing import delivery_headers

VECTORS = json.loads((Path(__file__).parents[2] / "data" / "ssrf.json").read_text())["vectors"]
HEADER_VECTORS = [pytest.param(v, id=v["id"]) for v in VECTORS if v["kind"] == "header"]
OURS = delivery_headers(
    samples.delivery(),
    attempt_number=1,
    unix_seconds=1,
    secrets=(samples.SECRET,),
    sendcomms_secret=samples.SECRET,
)


def problems(headers: dict[str, str]) -> list[str]:
    return [problem.field for problem in header_problems(headers)]


@pytest.mark.parametrize("vector", HEADER_VECTORS)
def test_the_published_vectors_are_decided_as_published(vector: dict[str, Any]) -> None:
    header = {vector["input"]["name"]: vector["input"]["value"]}
    assert bool(problems(header)) == (vector["expected"] == "reject"), vector["why"]
    assert (header.items() <= merged(header, {}).items()) == (vector["expected"] == "accept")


@pytest.mark.parametrize(
    "name",
    [
        *OURS,
        "Authorization",
        "Connection",
        "Content-Encoding",
        "Content-Length",
        "Cookie",
        "Expect",
        "Host",
        "Keep-Alive",
        "Proxy-Authorization",
        "Proxy-Connection",
        "TE",
        "Trailer",
        "Transfer-Encoding",
        "Upgrade",
        "Accept-Encoding",
        "X-Forwarded-For",
        "X-SendComms-Anything",
        "webhook-anything",
    ],
)
def test_a_reserved_name_is_refused_in_any_case(name: str) -> None:
    for spelling in (name, name.lower(), name.upper(), name.swapcase()):
        assert is_reserved(spelling)
        assert problems({spelling: "x"}) == [f"headers.{spelling}"]


@pytest.mark.parametrize(
    "name",
    [
        *("X_SendComms_Signature", "X.SendComms.Signature", "webhook_id", "webhook~signature"),
        *("Content_Length", "Transfer_Encoding", "Transfer.Encoding", "Proxy_Authorization"),
    ],
)
def test_a_reserved_name_is_refused_in_the_spellings_that_servers_take_for_it(name: str) -> None:
    assert problems({name: "x"}) == [f"headers.{name}"]
    assert merged({name: "x"}, OURS) == OURS


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-Team": "billing"},
        {"x_team": "a b", "!#$%&'*+-.^_`|~": "~!"},
        {"X-Api-Key": "x" * MAX_HEADER_VALUE_LENGTH},
        {f"X-{number}": "1" for number in range(MAX_HEADERS)},
        {"Contents": "x", "Hostname": "x", "Accepts": "x", "Webhook": "x"},
    ],
)
def test_what_breaks_no_rule_is_sent_as_it_is(headers: dict[str, str]) -> None:
    assert problems(headers) == []
    assert merged(headers, OURS) == {**headers, **OURS}


@pytest.mark.parametrize(
    ("headers", "fields"),
    [
        ({"": "x"}, ["headers."]),
        ({"X Team": "x"}, ["headers.X Team"]),
        ({"X-Team:": "x"}, ["headers.X-Team:"]),
        ({"X-Tëam": "x"}, ["headers.X-Tëam"]),
        ({"X-Team\r\nX": "x"}, ["headers.X-Team\r\nX"]),
        ({"x" * 129: "x"}, [f"headers.{'x' * 129}"]),
        ({"X-Team": ""}, ["headers.X-Team"]),
        ({"X-Team": " x"}, ["headers.X-Team"]),
        ({"X-Team": "x "}, ["headers.X-Team"]),
        ({"X-Team": "a\tb"}, ["headers.X-Team"]),
        ({"X-Team": "a\nb"}, ["headers.X-Team"]),
        ({"X-Team": "a\0b"}, ["headers.X-Team"]),
        ({"X-Team": "x\n"}, ["headers.X-Team"]),
        ({"X-Team": "x" * (MAX_HEADER_VALUE_LENGTH + 1)}, ["headers.X-Team"]),
        ({"X-Team": "1", "x-team": "2"}, ["headers.x-team"]),
        ({"Host": "x", "X-Ok": "x", "X-No": ""}, ["headers.Host", "headers.X-No"]),
        ({f"X-{number}": "1" for number in range(MAX_HEADERS + 1)}, ["headers"]),
        ({f"X-{number}": "1" * 1000 for number in range(9)}, ["headers"]),
    ],
)
def test_a_broken_rule_names_the_header(headers: dict[str, str], fields: list[str]) -> None:
    assert problems(headers) == fields


def test_a_refusal_never_repeats_a_value() -> None:
    refused = [*header_problems({"Host": "canary", "X-Team": "canary\n"})]
    assert len(refused) == 2
    assert "canary" not in "".join(problem.message for problem in refused)


@given(st.dictionaries(st.text(max_size=12), st.text(max_size=12), max_size=5))
def test_whatever_is_stored_ours_win_and_what_is_sent_is_http(custom: dict[str, str]) -> None:
    sent = merged(custom, OURS)
    assert sent.items() >= OURS.items()
    for name in sent.keys() - OURS.keys():
        assert name.lower() not in {ours.lower() for ours in OURS}
        assert re.fullmatch(r"[!-~]+", name)
        assert re.fullmatch(r"[ -~]+", sent[name])
    if not problems(custom):
        assert sent == {**custom, **OURS}
