"""Responses to idempotent requests, stored in DynamoDB by Powertools' idempotency."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from aws_lambda_powertools.utilities.idempotency import IdempotencyConfig, idempotent_function
from aws_lambda_powertools.utilities.idempotency.exceptions import (
    IdempotencyAlreadyInProgressError,
    IdempotencyInconsistentStateError,
    IdempotencyPersistenceLayerError,
    IdempotencyValidationError,
)

from webhooks.adapters.dynamodb.seeded_records import SeededRecords
from webhooks.domain.errors import (
    IdempotencyConflictError,
    IdempotencyInProgressError,
    UnavailableError,
)
from webhooks.ports import StoredResponse

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mypy_boto3_dynamodb import DynamoDBClient

KEPT_SECONDS = 24 * 60 * 60
_KEY_PREFIX = "api"


class _NotStoredError(Exception):
    """The response is not final, so it is not stored."""


class PowertoolsIdempotencyStore:
    """Responses under a hash of their key, with a hash of the request."""

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._records = SeededRecords(client, table)

    def get_or_create(
        self,
        key: Sequence[str],
        fingerprint: str,
        answer: Callable[[str], StoredResponse],
        *,
        seed: str,
        undecided: Callable[[Exception], bool],
        remaining_ms: Callable[[], int],
    ) -> StoredResponse:
        """Return the response stored under `key`; otherwise make one with `answer` and store it."""
        made: list[StoredResponse] = []
        raised: list[Exception] = []
        records = self._records.of_call(
            seed, lambda error: not isinstance(error, _NotStoredError) and undecided(error)
        )

        def make(*, request: dict[str, object]) -> dict[str, object]:
            try:
                made.append(answer(records.seed))
            except Exception as error:
                raised.append(error)
                raise
            if not made[0].final:
                raise _NotStoredError
            return {"status": made[0].status, "body": made[0].body}

        idempotent = idempotent_function(
            make,
            data_keyword_argument="request",
            persistence_store=records,
            config=_config(remaining_ms),
            key_prefix=_KEY_PREFIX,
        )
        try:
            kept = idempotent(request={"key": list(key), "fingerprint": fingerprint})
        except _NotStoredError:
            return made[0]
        except IdempotencyValidationError as error:
            raise IdempotencyConflictError from error
        except IdempotencyAlreadyInProgressError as error:
            raise IdempotencyInProgressError from error
        except (IdempotencyPersistenceLayerError, IdempotencyInconsistentStateError) as error:
            # The work cannot be undone, and the caller must still get its response although that
            # could not be stored.
            if made:
                return made[0]
            if raised:
                raise raised[0] from error
            msg = f"storing a response: {type(error).__name__}"
            raise UnavailableError(msg) from error
        return made[0] if made else StoredResponse(kept["status"], kept["body"], replayed=True)


def _config(remaining_ms: Callable[[], int]) -> IdempotencyConfig:
    return IdempotencyConfig(
        event_key_jmespath="key",
        payload_validation_jmespath="fingerprint",
        raise_on_no_idempotency_key=True,
        expires_after_seconds=KEPT_SECONDS,
        hash_function="sha256",
        # A process that is killed during a request must not lock its key for a day.
        lambda_context=cast("Any", SimpleNamespace(get_remaining_time_in_millis=remaining_ms)),
    )
