"""A client of the public API, and the settings for its address and key."""

from __future__ import annotations

import json
import time
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

import requests

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

URL_VARIABLE = "SENDCOMMS_API_URL"
KEY_VARIABLE = "SENDCOMMS_API_KEY"
OUTPUTS = Path(__file__).parents[1] / ".local" / "outputs.json"
PAGE_SIZE = 100
"""The API's largest page size."""

_TIMEOUT_SECONDS = 30.0


class NotConfiguredError(Exception):
    """The API's address or key is missing; the message names the variable to set."""


class ApiClientError(Exception):
    """The API refused a call or did not respond; the message is for people.

    `status` is None if there was no response. `retry_after_seconds` is the wait that the API asks
    for.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: str = "no_response",
        details: list[dict[str, str]] | None = None,
        retry_after_seconds: float = 0.0,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.details = details or []
        self.retry_after_seconds = retry_after_seconds

    @property
    def passing(self) -> bool:
        """Whether the same call may succeed a little later."""
        return self.status is None or self.status == 429 or self.status >= 500


class Access(NamedTuple):
    """An API's address, without a path, and an account's key."""

    url: str
    key: str


def find_access(environment: Mapping[str, str], outputs_file: Path = OUTPUTS) -> Access:
    """Return the address and the key in the environment, or those of the stack on this machine.

    Raises NotConfiguredError if there is neither, or only one of the two variables: a key must not
    be sent to another API than its own.
    """
    url, key = environment.get(URL_VARIABLE, ""), environment.get(KEY_VARIABLE, "")
    if url and key:
        address = urlsplit(url)
        if address.scheme not in {"http", "https"} or not address.netloc:
            msg = f"{URL_VARIABLE} must be an address like https://api.sendcomms.com"
            raise NotConfiguredError(msg)
        return Access(url.rstrip("/"), key)
    if url or key:
        missing = KEY_VARIABLE if url else URL_VARIABLE
        msg = f"set {missing} too, or unset both to use the stack of `make run`"
        raise NotConfiguredError(msg)
    try:
        outputs = json.loads(outputs_file.read_text(encoding="utf-8"))
        return Access(outputs["ApiUrl"], outputs["ApiKey"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        msg = f"set {URL_VARIABLE} and {KEY_VARIABLE}, or start a stack here with `make run`"
        raise NotConfiguredError(msg) from error


class ApiResult(NamedTuple):
    """The result of a call; `next_cursor` is None on the last page.

    `warnings` are sentences with advice to the caller.
    """

    data: Any
    next_cursor: str | None = None
    warnings: Sequence[str] = ()


class ApiClient:
    """The calls of an account's API."""

    def __init__(self, access: Access) -> None:
        self.url = access.url
        self._key = access.key
        self._session = requests.Session()
        self._clock_offset = 0.0

    def now(self) -> float:
        """Return the API's time in Unix seconds, from its last response, to about a second."""
        return time.time() + self._clock_offset

    def get(self, path: str) -> Any:
        """Return the data of one resource. Raises ApiClientError, like every call."""
        return self.call("GET", path).data

    def pages(self, path: str, **query: str) -> Iterator[ApiResult]:
        """Yield a list page by page."""
        cursor: str | None = None
        while True:
            page = self.page(path, cursor, **query)
            yield page
            if page.next_cursor is None:
                return
            cursor = page.next_cursor

    def page(self, path: str, cursor: str | None, **query: str) -> ApiResult:
        """Return one page of a list; without a cursor the first one."""
        more = {} if cursor is None else {"cursor": cursor}
        return self.call("GET", path, query={"limit": str(PAGE_SIZE), **query, **more})

    def call(
        self,
        method: str,
        path: str,
        *,
        body: object = None,
        query: Mapping[str, str] | None = None,
    ) -> ApiResult:
        """Make one call below `/api/v1`."""
        try:
            response = self._session.request(
                method,
                f"{self.url}/api/v1{path}",
                params=query,
                json=body,
                auth=self._authorize,
                timeout=_TIMEOUT_SECONDS,
                allow_redirects=False,
            )
        except requests.RequestException as error:
            msg = f"The API at {self.url} does not respond: {_reason(error)}"
            raise ApiClientError(msg) from error
        self._learn_time(response.headers.get("Date"))
        try:
            envelope = response.json()
            if envelope["success"] is True:
                return ApiResult(
                    envelope["data"],
                    envelope.get("pagination", {}).get("next_cursor"),
                    [warning["message"] for warning in envelope.get("warnings", ())],
                )
            refusal = envelope["error"]
            raise ApiClientError(
                refusal["message"],
                status=response.status_code,
                code=refusal["code"],
                details=refusal.get("details"),
                retry_after_seconds=_seconds(response.headers.get("Retry-After")),
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            # API Gateway's own responses, such as those of its rate limit, have another form.
            raise ApiClientError(
                f"{self.url} returned {response.status_code}, not in the API's form.",
                status=response.status_code,
                code="unknown_response",
                retry_after_seconds=_seconds(response.headers.get("Retry-After")),
            ) from error

    def _authorize(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        # A callable, because an entry in the user's .netrc would override a plain header.
        request.headers["Authorization"] = f"Bearer {self._key}"
        return request

    def _learn_time(self, date: str | None) -> None:
        if date is not None:
            try:
                self._clock_offset = parsedate_to_datetime(date).timestamp() - time.time()
            except ValueError:
                return


def _reason(error: Exception) -> str:
    """Return the text of the innermost cause, which is the shortest and most specific."""
    cause: BaseException = error
    while inner := (cause.__cause__ or cause.__context__):
        cause = inner
    return getattr(cause, "strerror", None) or str(cause) or type(cause).__name__


def _seconds(text: str | None) -> float:
    return float(text) if text is not None and text.isdecimal() else 0.0
