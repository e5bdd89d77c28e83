"""Puts the parts together: which adapter stands behind which port.

A function loads only what it uses: the parts of a service are imported where it is built.
"""

from __future__ import annotations

import os
from functools import cache

from webhooks.settings import Settings
from webhooks.wiring.base import PUBLIC_TARGETS, TargetRules
from webhooks.wiring.jobs import JobServices

__all__ = ["PUBLIC_TARGETS", "Services", "TargetRules", "services"]


class Services(JobServices):
    """The services of one function, each built when it is first asked for."""


@cache
def services(function: str) -> Services:
    """Return the services of a deployed function, built from its environment, once a process."""
    return Services(function, Settings.from_environment(os.environ))
