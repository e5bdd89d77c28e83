"""The names of the service's own API, which no webhook may have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from webhooks.domain.targets import API_GATEWAY, refuse_own

if TYPE_CHECKING:
    from webhooks.domain.targets import Target


class OwnApi:
    """Knows the API's names: its domain from the settings, the others from what calls it.

    The id of an API cannot be among its function's settings: the API is made of the function. Who
    registers a webhook calls it, and so it is known by then.
    """

    def __init__(self, domain_name: str = "") -> None:
        """Take the API's own domain; an empty one is none."""
        self._hosts = {domain_name.lower()} if domain_name else set()

    def learn(self, *, api_id: str, domain_name: str) -> None:
        """Remember by which API and under which of its names a call came."""
        self._hosts |= {f"{api_id.lower()}{API_GATEWAY}", domain_name.lower()}

    def check(self, target: Target) -> None:
        """Raise InvalidTargetError for a target that is the API itself."""
        refuse_own(target, self._hosts)
