"""The records of jobs, which the api writes and the worker carries out."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from webhooks.adapters.dynamodb.job_items import CHECKS, ERASURES, REPLAYS
from webhooks.adapters.dynamodb.jobs import DynamoDBJobStore

if TYPE_CHECKING:
    from webhooks.adapters.dynamodb.job_items import JobCodec
    from webhooks.domain.jobs.check import Check
    from webhooks.domain.jobs.erasure import Erasure
    from webhooks.domain.jobs.replay import Replay
    from webhooks.ports import JobStore, Record
    from webhooks.settings import Settings


class JobStores:
    """A store of records for each kind of job."""

    def __init__(self, dynamodb: Any, settings: Settings) -> None:
        self._dynamodb = dynamodb
        self._settings = settings

    @cached_property
    def replays(self) -> JobStore[Replay]:
        """The records of replays."""
        return self._store(REPLAYS)

    @cached_property
    def erasures(self) -> JobStore[Erasure]:
        """The records of erasures."""
        return self._store(ERASURES)

    @cached_property
    def checks(self) -> JobStore[Check]:
        """The records of checks."""
        return self._store(CHECKS)

    def _store(self, codec: JobCodec[Record]) -> JobStore[Record]:
        return DynamoDBJobStore(
            self._dynamodb,
            self._settings.deliveries_table,
            codec,
            retention_days=self._settings.retention_days,
        )
