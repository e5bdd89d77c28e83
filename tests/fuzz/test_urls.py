"""Published URLs, bent at random: an accepted url means one host to every parser."""

from __future__ import annotations

import json
import random
import string
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
import requests
import urllib3
from pydantic import HttpUrl, TypeAdapter

from fuzz.fuzzing import SEED, batches
from fuzz.node import Node
from webhooks.adapters.http.idna import check_international_name
from webhooks.domain.errors import InvalidTargetError
from webhooks.domain.targets import Target, parse_url

if TYPE_CHECKING:
    from collections.abc import Iterator

_FILE = Path(__file__).parents[1] / "data" / "ssrf.json"
VECTORS = [one for one in json.loads(_FILE.read_text("utf-8"))["vectors"] if one["kind"] == "url"]
URLS: list[str] = [one["input"] for one in VECTORS]
GOOD: list[str] = [
    *(one["input"] for one in VECTORS if one["expected"] == "accept"),
    *("https://hooks.example.com/services/a?b=c&d=%2F", "HTTPS://Sub.Example.CO:8443/a;b,c/@x"),
    *(
        "https://abc123.execute-api.eu-west-1.amazonaws.com/hooks",
        "https://xn--ll-0ea.example.com/",
    ),
    *("https://xn--mgba3gch31f060k.com/a", "https://xn--bckg9lpdrd260y.example.jp:8443/"),
]
PIECES = (
    *string.printable,
    *(
        "%2e",
        "%00",
        "xn--",
        "..",
        "//",
        "\\@",
        "@",
        ":443",
        ":80",
        "127.0.0.1",
        "localhost",
        "0x7f",
    ),
    *("é", "ß", "\u3002", "\u200d", "\uff0e", "\u00ad", "%", "[::1]", "#", "?", "\t", "\r\n"),
)
_PYDANTIC = TypeAdapter(HttpUrl)


class Urls:
    """A source of URLs, the same for the same seed: good ones and published bad ones, bent."""

    def __init__(self, seed: int) -> None:
        """Begin at `seed`."""
        self._chance = random.Random(seed)  # noqa: S311  (a test's cases)

    def one(self) -> str:
        chance = self._chance
        url = chance.choice(GOOD if chance.random() < 0.7 else URLS)[:300]
        for _ in range(chance.randrange(4)):
            # Most faults are in the host.
            at = min(chance.randrange(8, 40) if chance.random() < 0.8 else 0, len(url))
            url = url[:at] + chance.choice(PIECES) + url[at + chance.randrange(3) :]
        return url


def judged(url: str) -> Target | None:
    """The parts of a registered url; None where it is refused."""
    try:
        target = parse_url(url)
        check_international_name(target)
    except InvalidTargetError:
        return None
    return target


def python_parsers(url: str) -> set[tuple[str | None, int]]:
    plain = urlsplit(url)
    wide = urllib3.util.parse_url(url)
    prepared = urlsplit(str(requests.Request("POST", url).prepare().url))
    strict = _PYDANTIC.validate_python(url)
    return {
        (plain.hostname, plain.port or 443),
        (wide.host, wide.port or 443),
        (prepared.hostname, prepared.port or 443),
        (strict.host, strict.port or 443),
    }


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    with Node() as process:
        yield process


@pytest.mark.node
def test_every_parser_and_node_find_one_host_in_an_accepted_url(node: Node) -> None:
    source = Urls(SEED)
    accepted = refused = 0
    for size in batches("URLs"):
        targets = {url: judged(url) for url in (source.one() for _ in range(size))}
        good = {url: target for url, target in targets.items() if target}
        for url, target in good.items():
            assert python_parsers(url) == {(target.host, target.port)}, url
        answers = zip(good.items(), node.ask("host", list(good)), strict=True)
        wrong = [
            (url, answer)
            for (url, target), answer in answers
            if answer != ["https:", target.host, target.port, ""]
        ]
        assert wrong == []
        accepted += len(good)
        refused += len(targets) - len(good)
    assert refused > accepted > size // 20


@pytest.mark.node
def test_the_parsers_would_differ_on_what_the_rule_refuses(node: Node) -> None:
    url = "https://example.com\\@169.254.169.254/"
    assert judged(url) is None
    [(_, host, *_)] = node.ask("host", [url])
    assert host == "example.com"
    assert urlsplit(url).hostname == "169.254.169.254"
