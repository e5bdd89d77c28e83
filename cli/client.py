"""The public API over HTTP, and where its address and key come from."""

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
OUTPUTS = Path(__file__).parents[2] / ".local" / "outputs.json"
PAGE_SIZE = 100
"""The most that one page of a list brings."""

_TIMEOUT_SECONDS = 30.0


class NotConfiguredError(Exception):
    """There is no API to talk to; the message says what to set."""


class ApiError(Exception):
    """The API refused a call, or did not respond; the message is for a person.

    `status` is None where there was no response. `retry_after_seconds` is what the API asks for.
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
        """Take what the response says."""
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
    """Return what the environment says, else the stack that runs on this machine.

    Raises NotConfiguredError for neither, and for half of it: a key goes only where it was meant
    to.
    """
    url, key = environment.get(URL_VARIABLE, ""), environment.get(KEY_VARIABLE, "")
    if url and key:
        address = urlsplit(url)
        if address.scheme not in {"http", "https"} or not address.netloc:
            msg = f"{URL_VARIABLE} must be an address as https://api.sendcomms.com"
            raise NotConfiguredError(msg)
        return Access(url.rstrip("/"), key)
    if url or key:
        missing = KEY_VARIABLE if url else URL_VARIABLE
        msg = f"set {missing} too, or neither of the two to use the stack of `make run`"
        raise NotConfiguredError(msg)
    try:
        outputs = json.loads(outputs_file.read_text(encoding="utf-8"))
        return Access(outputs["ApiUrl"], outputs["ApiKey"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        msg = f"set {URL_VARIABLE} and {KEY_VARIABLE}, or start a stack here with `make run`"
        raise NotConfiguredError(msg) from error


class Page(NamedTuple):
    """What one call returned; `next_cursor` is None for what has no more.

    `warnings` are sentences on what the caller should change.
    """

    data: Any
    next_cursor: str | None = None
    warnings: Sequence[str] = ()


class Api:
    """The calls of an account's API."""

    def __init__(self, access: Access) -> None:
        """Make calls with this access."""
        self.url = access.url
        self._key = access.key
        self._session = requests.Session()
        self._clock_offset = 0.0

    def now(self) -> float:
        """Return the API's time in Unix seconds, as its last response had it, to about a second."""
        return time.time() + self._clock_offset

    def get(self, path: str) -> Any:
        """Return the data of one thing. Raises ApiError, as every call."""
        return self.call("GET", path).data

    def pages(self, path: str, **query: str) -> Iterator[Page]:
        """Go through a list page by page, following its cursors."""
        cursor: str | None = None
        while True:
            page = self.page(path, cursor, **query)
            yield page
            if page.next_cursor is None:
                return
            cursor = page.next_cursor

    def page(self, path: str, cursor: str | None, **query: str) -> Page:
        """Return one page of a list, the first one without a cursor."""
        more = {} if cursor is None else {"cursor": cursor}
        return self.call("GET", path, query={"limit": str(PAGE_SIZE), **query, **more})

    def call(
        self,
        method: str,
        path: str,
        *,
        body: object = None,
        query: Mapping[str, str] | None = None,
    ) -> Page:
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
            raise ApiError(msg) from error
        self._learn_time(response.headers.get("Date"))
        try:
            envelope = response.json()
            if envelope["success"] is True:
                return Page(
                    envelope["data"],
                    envelope.get("pagination", {}).get("next_cursor"),
                    [warning["message"] for warning in envelope.get("warnings", ())],
                )
            refusal = envelope["error"]
            raise ApiError(
                refusal["message"],
                status=response.status_code,
                code=refusal["code"],
                details=refusal.get("details"),
                retry_after_seconds=_seconds(response.headers.get("Retry-After")),
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            # API Gateway's own responses, such as those of its throttle, have another shape.
            raise ApiError(
                f"{self.url} returned {response.status_code}, not in the API's form.",
                status=response.status_code,
                code="unknown_response",
                retry_after_seconds=_seconds(response.headers.get("Retry-After")),
            ) from error

    def _authorize(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        # A callable, since a header alone would lose to an entry in the user's .netrc.
        request.headers["Authorization"] = f"Bearer {self._key}"
        return request

    def _learn_time(self, date: str | None) -> None:
        if date is not None:
            try:
                self._clock_offset = parsedate_to_datetime(date).timestamp() - time.time()
            except ValueError:
                return


def _reason(error: Exception) -> str:
    """Return the innermost cause, which says the most in the fewest words."""
    cause: BaseException = error
    while inner := (cause.__cause__ or cause.__context__):
        cause = inner
    return getattr(cause, "strerror", None) or str(cause) or type(cause).__name__


def _seconds(text: str | None) -> float:
    return float(text) if text is not None and text.isdecimal() else 0.0
