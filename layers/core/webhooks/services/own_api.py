"""The names of the service's own API, which no webhook may lead to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from webhooks.domain.targets import API_GATEWAY, refuse_own

if TYPE_CHECKING:
    from webhooks.domain.targets import Target


class OwnApi:
    """The API's names: its domain from the settings, the others from the calls that it gets.

    The API's id cannot be among its function's settings, because the API is made of the function.
    Its names are known in time, because a webhook is registered by a call of the API. An empty
    `domain_name` is no name.
    """

    def __init__(self, domain_name: str = "") -> None:
        self._hosts = {domain_name.lower()} if domain_name else set()

    def learn(self, *, api_id: str, domain_name: str) -> None:
        """Remember the API and the domain name that a call came through."""
        self._hosts |= {f"{api_id.lower()}{API_GATEWAY}", domain_name.lower()}

    def check(self, target: Target) -> None:
        """Raise InvalidTargetError if a target is the API itself."""
        refuse_own(target, self._hosts)
