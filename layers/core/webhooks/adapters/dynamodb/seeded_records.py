"""Powertools' idempotency records, with the seed of each call, written before the call acts.

After a call was killed, Powertools starts over: it replaces the record, and the results of the call
are forgotten. Here the next call that finds such a record continues with its seed. A record has a
holder, the try that makes the response: an SDK's repeat of a write recognises its own, and a try
that outlives its time changes no record with another holder.
"""

from __future__ import annotations

import copy
import secrets
import time
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.utilities.idempotency import DynamoDBPersistenceLayer
from aws_lambda_powertools.utilities.idempotency.exceptions import (
    IdempotencyInconsistentStateError,
    IdempotencyItemAlreadyExistsError,
)
from aws_lambda_powertools.utilities.idempotency.persistence.datarecord import STATUS_CONSTANTS
from botocore.exceptions import ClientError

from webhooks.adapters.aws import error_code
from webhooks.domain.timestamps import MILLISECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aws_lambda_powertools.utilities.idempotency.persistence.datarecord import DataRecord
    from mypy_boto3_dynamodb import DynamoDBClient

SEED = "seed"
HOLDER = "holder"

_IN_PROGRESS = STATUS_CONSTANTS["INPROGRESS"]
_HELD = "holder = :mine"
_HOLDER_BYTES = 16


class SeededRecords(DynamoDBPersistenceLayer):
    """The records of one try of a call; `of_call` begins a try."""

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        super().__init__(table, boto3_client=client)
        self.seed = ""
        self._holder = ""
        self._taken_over = False
        self._undecided: Callable[[Exception], bool] = lambda _: False

    def of_call(self, seed: str, undecided: Callable[[Exception], bool]) -> SeededRecords:
        """Return the records of a call with this seed, unless an earlier try has left another.

        `undecided` returns whether the call may have been done despite an error.
        """
        records = copy.copy(self)
        records.seed = seed
        records._holder = secrets.token_hex(_HOLDER_BYTES)
        records._undecided = undecided
        return records

    def _put_record(self, data_record: DataRecord) -> None:
        """Write a new record, or continue one whose try has ended without a response."""
        item: dict[str, Any] = {
            **self._get_key(data_record.idempotency_key),
            self.expiry_attr: {"N": str(data_record.expiry_timestamp)},
            self.status_attr: {"S": data_record.status},
            self.in_progress_expiry_attr: _in_progress_until(data_record),
            self.validation_key_attr: {"S": str(data_record.payload_hash)},
            SEED: {"S": self.seed},
            HOLDER: {"S": self._holder},
        }
        found = self._refused(
            self.client.put_item,
            Item=item,
            # DynamoDB removes expired items within some days.
            ConditionExpression="attribute_not_exists(#id) OR #expiry < :now",
            ExpressionAttributeNames={"#id": self.key_attr, "#expiry": self.expiry_attr},
            ExpressionAttributeValues={":now": {"N": str(int(time.time()))}},
        )
        if found is None:
            return
        stored = self._read(found)
        # Also for an abandoned call: it may have created what its own body requested.
        self._validate_payload(data_payload=data_record, stored_data_record=stored)
        if self._left(stored):
            self._take_over(data_record, found)
            return
        raise IdempotencyItemAlreadyExistsError(old_data_record=stored)

    def _read(self, item: Mapping[str, Any]) -> DataRecord:
        if not item:
            raise IdempotencyInconsistentStateError("the record was removed while it was read")
        return self._item_to_data_record(dict(item))

    def _left(self, stored: DataRecord) -> bool:
        """Whether a record's try has ended without a response."""
        until_ms = stored.in_progress_expiry_timestamp
        ended = until_ms is not None and until_ms < time.time() * MILLISECONDS
        return stored.status == _IN_PROGRESS and ended

    def _take_over(self, data_record: DataRecord, found: Mapping[str, Any]) -> None:
        """Become the holder of an abandoned record, and continue with its seed."""
        # A record of the previous version has neither seed nor holder.
        before = found.get(HOLDER)
        values: dict[str, Any] = {
            ":mine": {"S": self._holder},
            ":seed": found.get(SEED, {"S": self.seed}),
            ":until": _in_progress_until(data_record),
            ":in_progress": {"S": _IN_PROGRESS},
        }
        held = "attribute_not_exists(holder)"
        if before is not None:
            held, values[":before"] = "holder = :before", before
        changed = self._refused(
            self.client.update_item,
            Key=self._get_key(data_record.idempotency_key),
            UpdateExpression="SET holder = :mine, seed = :seed, #until = :until",
            ConditionExpression=f"#status = :in_progress AND {held}",
            ExpressionAttributeNames={
                "#status": self.status_attr,
                "#until": self.in_progress_expiry_attr,
            },
            ExpressionAttributeValues=values,
        )
        if changed is not None:
            # Another call was faster: it makes the response, or has made it.
            stored = self._read(changed)
            self._validate_payload(data_payload=data_record, stored_data_record=stored)
            raise IdempotencyItemAlreadyExistsError(old_data_record=stored)
        self._taken_over = True
        self.seed = values[":seed"]["S"]

    def _update_record(self, data_record: DataRecord) -> None:
        """Store the response, and remove the seed, which is no longer needed."""
        self.client.update_item(
            TableName=self.table_name,
            Key=self._get_key(data_record.idempotency_key),
            UpdateExpression=(
                "SET #data = :data, #expiry = :expiry, #status = :status, #validation = :validation"
                " REMOVE seed, holder"
            ),
            ExpressionAttributeNames={
                "#data": self.data_attr,
                "#expiry": self.expiry_attr,
                "#status": self.status_attr,
                "#validation": self.validation_key_attr,
            },
            ExpressionAttributeValues={
                ":data": {"S": data_record.response_data},
                ":expiry": {"N": str(data_record.expiry_timestamp)},
                ":status": {"S": data_record.status},
                ":validation": {"S": str(data_record.payload_hash)},
            },
        )

    def delete_record(self, data: dict[str, Any], exception: Exception) -> None:
        """Delete the record of a refused call; keep an undecided one for its next try.

        If an earlier try may have done the call, it stays undecided although this try was refused.
        """
        key = self._get_key(str(self._get_hashed_idempotency_key(data=data)))
        mine: dict[str, Any] = {":mine": {"S": self._holder}}
        if not (self._taken_over or self._undecided(exception)):
            self._refused(
                self.client.delete_item,
                Key=key,
                ConditionExpression=_HELD,
                ExpressionAttributeValues=mine,
            )
            return
        self._refused(
            self.client.update_item,
            Key=key,
            UpdateExpression="SET #until = :past",
            ConditionExpression=_HELD,
            ExpressionAttributeNames={"#until": self.in_progress_expiry_attr},
            ExpressionAttributeValues={**mine, ":past": {"N": "0"}},
        )

    def _refused(self, write: Callable[..., Any], **request: Any) -> Mapping[str, Any] | None:
        """Make a write; return the present item if its condition failed, else None.

        None also if this try holds that item: an earlier send of the write was applied, and its
        response was lost.
        """
        try:
            write(
                TableName=self.table_name, ReturnValuesOnConditionCheckFailure="ALL_OLD", **request
            )
        except ClientError as error:
            if error_code(error) != "ConditionalCheckFailedException":
                raise
            found: Mapping[str, Any] = error.response.get("Item", {})  # type: ignore[assignment]
            mine = found.get(HOLDER, {}).get("S") == self._holder
            return None if mine else found
        return None


def _in_progress_until(data_record: DataRecord) -> dict[str, str]:
    """Return when a try's time is over, in Unix milliseconds."""
    return {"N": str(data_record.in_progress_expiry_timestamp)}
