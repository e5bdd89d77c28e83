"""The API on fakes, where the command line's requests arrive instead of on a network."""

from __future__ import annotations

from email.utils import formatdate
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import requests

from support import samples
from support.http_api import LAMBDA_CONTEXT, ApiOnFakes, http_api_event

API_URL = "https://api.example.com"
WEBHOOK = samples.webhook(account_id="acme")


class Wire:
    """Carries requests for the API's address to the API on fakes; the others go out."""

    def __init__(self, on_fakes: ApiOnFakes, send: Any) -> None:
        self.on_fakes = on_fakes
        self.calls: list[str] = []
        self.failures: list[requests.RequestException | requests.Response] = []
        self._send = send

    def request(self, session: Any, method: str, url: str, **options: Any) -> requests.Response:
        if not url.startswith(API_URL):
            answer: requests.Response = self._send(session, method, url, **options)
            return answer
        prepared = requests.Request(
            method, url, params=options["params"], json=options["json"], auth=options["auth"]
        ).prepare()
        address = urlsplit(str(prepared.url))
        self.calls.append(f"{method} {address.path}")
        if self.failures:
            failure = self.failures.pop(0)
            if isinstance(failure, requests.RequestException):
                raise failure
            return failure
        body = prepared.body.decode() if isinstance(prepared.body, bytes) else None
        query = {name: values[0] for name, values in parse_qs(address.query).items()}
        event = http_api_event(
            method, address.path, query=urlencode(query), headers=prepared.headers, body=body
        )
        made = self.on_fakes.api(event, LAMBDA_CONTEXT)
        return response(made["statusCode"], made["body"], Date=formatdate(usegmt=True))


def response(status: int, body: str, **headers: str) -> requests.Response:
    made = requests.Response()
    made.status_code = status
    made._content = body.encode()
    made.headers.update(headers)
    return made
