"""The rate limits of requests to hosts, for dispatches and for the steps of jobs."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from webhooks.adapters.dynamodb.host_turns import DynamoDBHostTurns
from webhooks.services.host_limits import HostLimits

if TYPE_CHECKING:
    from webhooks.wiring.common import CommonServices


def host_limits_of(services: CommonServices) -> HostLimits:
    """Return the limits, with the function's own table, clock and telemetry."""
    return HostLimits(
        DynamoDBHostTurns(services._dynamodb, services.settings.deliveries_table),
        rate=services.settings.max_requests_per_host,
        telemetry=services.telemetry,
        clock=services._clock,
        random=random.random,
    )
