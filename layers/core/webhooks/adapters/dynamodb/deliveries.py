"""The store of deliveries on DynamoDB."""

from __future__ import annotations

import random
import re
import time
from typing import TYPE_CHECKING, Any, TypeVar

from botocore.exceptions import ClientError

from webhooks.adapters.aws import CALL_SECONDS, error_code, unavailable_on_failure
from webhooks.adapters.dynamodb import delivery_items, event_claims, item_keys
from webhooks.adapters.dynamodb.own_writes import left, made_before
from webhooks.domain.delivery import Status
from webhooks.domain.errors import UnavailableError
from webhooks.domain.event import EventClaim

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from mypy_boto3_dynamodb import DynamoDBClient

    from webhooks.adapters.dynamodb.read_units import ReadUnits
    from webhooks.domain.delivery import Claim, Delivery, DeliveryKey
    from webhooks.domain.event import Event, Holder

T = TypeVar("T")

_READ_BATCH = 100
"""Most keys of a BatchGetItem (AWS's API reference)."""

_WRITE_BATCH = 25
"""Most items of a BatchWriteItem (AWS's API reference)."""

_BATCH_TRIES = 6
_FIRST_PAUSE_SECONDS = 0.05
_DAY_SECONDS = 86_400

_EXPIRY = "expires_at"

_CHANGING = (
    "status",
    "attempts",
    "next_attempt_at",
    "reason",
    "generation",
    "earlier_attempts",
    "attention",
    "due",
    "restarts",
    "next",
    "short",
    "unstarted",
    "claim",
    "expiring",
    "signed",
    _EXPIRY,
)
"""The attributes that change in a delivery's life; its key attributes and its body never do."""

_NAME = re.compile("#([a-z_]+)")
"""A placeholder of an attribute's name in an expression."""

_ERASING = ("body", "event_id", "erased")
"""Further attributes that change when a delivery is erased."""

_CLAIM_SECONDS = 15 * _DAY_SECONDS
"""A day longer than any message can stay in SQS."""


class DynamoDBDeliveryStore:
    """Deliveries, one item each, found by webhook and time without an index.

    `clock` returns Unix seconds.
    """

    def __init__(
        self,
        client: DynamoDBClient,
        table: str,
        *,
        retention_days: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._client = client
        self._table = table
        self._retention_seconds = retention_days * _DAY_SECONDS
        self._clock = clock

    def claim(self, event: Event, holder: Holder) -> EventClaim:
        """Settle the time of an event without one of its own, and hold it: one write unit.

        The first copy's time holds for all copies.
        """
        put = event_claims.put(event, holder, expires_at=int(self._clock()) + _CLAIM_SECONDS)
        with unavailable_on_failure("claiming an event"):
            try:
                self._client.put_item(
                    TableName=self._table, ReturnValuesOnConditionCheckFailure="ALL_OLD", **put
                )
            except ClientError as error:
                return event_claims.read(_stored(error), holder)
        return EventClaim(event.occurred_at_ms)

    def get(self, key: DeliveryKey) -> Delivery | None:
        """Return one delivery, read consistently; None also past its time to live."""
        with unavailable_on_failure("reading a delivery"):
            answer = self._client.get_item(
                TableName=self._table, Key=item_keys.delivery_key(key), ConsistentRead=True
            )
        item = answer.get("Item")
        if not item or not delivery_items.lives(item, self._clock()):
            return None
        return delivery_items.read_delivery(item)

    def get_many(
        self, keys: Iterable[DeliveryKey], *, units: ReadUnits | None = None
    ) -> Mapping[DeliveryKey, Delivery | None]:
        """Return the deliveries that exist, a hundred to a request.

        With `units`, which counts them, reads are eventually consistent: at half the price.
        """
        found: dict[DeliveryKey, Delivery | None] = {}
        counted: Any = {} if units is None else {"ReturnConsumedCapacity": "TOTAL"}
        for chunk in _chunks(
            [item_keys.delivery_key(key) for key in dict.fromkeys(keys)], _READ_BATCH
        ):
            wanted: Any = {self._table: {"Keys": chunk, "ConsistentRead": units is None}}
            for _ in _tries():
                with unavailable_on_failure("reading deliveries"):
                    answer = self._client.batch_get_item(RequestItems=wanted, **counted)
                if units is not None:
                    units.count(answer)
                responses = answer["Responses"].get(self._table, [])
                found |= delivery_items.read_living(responses, self._clock())
                wanted = answer.get("UnprocessedKeys")
                if not wanted:
                    break
        return found

    def put_settled(self, deliveries: Sequence[Delivery]) -> Sequence[DeliveryKey]:
        """Write succeeded deliveries over any earlier records of them, 25 to a request.

        Returns the keys that were still not written after several tries.
        """
        unwritten: list[DeliveryKey] = []
        for chunk in _chunks(deliveries, _WRITE_BATCH):
            writes: Any = {self._table: [{"PutRequest": {"Item": self._item(d)}} for d in chunk]}
            try:
                for _ in _tries():
                    with unavailable_on_failure("recording deliveries"):
                        answer = self._client.batch_write_item(RequestItems=writes)
                    writes = answer.get("UnprocessedItems")
                    if not writes:
                        break
            except UnavailableError:
                pass
            unwritten += [
                item_keys.read_delivery_key(write["PutRequest"]["Item"])
                for write in (writes or {}).get(self._table, [])
            ]
        return unwritten

    def create(self, delivery: Delivery) -> Delivery:
        """Write a delivery that did not succeed, unless it exists; returns the stored one.

        If the response to a first try was lost, the stored one is this very delivery.
        """
        with unavailable_on_failure("recording a delivery"):
            try:
                self._client.put_item(
                    TableName=self._table,
                    Item=self._item(delivery),
                    # An item past its time to live may not have been removed yet.
                    ConditionExpression="attribute_not_exists(delivery_id) OR expires_at <= :now",
                    ExpressionAttributeValues={":now": {"N": str(int(self._clock()))}},
                    ReturnValuesOnConditionCheckFailure="ALL_OLD",
                )
            except ClientError as error:
                return delivery_items.read_delivery(_stored(error))
        return delivery

    def update(self, delivery: Delivery, *, before: Delivery) -> bool:
        """Write an attempt's result or a new status over the state `before`.

        True also if the response to a first try was lost and the write had been made.
        """
        item = self._item(delivery)
        changing: Sequence[str] = _CHANGING
        if delivery.erased and not before.erased:
            changing = (*changing, *_ERASING)
        if delivery.restarts:
            # Keep the expiry from before the sweep's restart. A later one would never end; an
            # earlier one is wrong if a schedule's delays are longer than the retention.
            changing = tuple(name for name in changing if name != _EXPIRY)
        present = [name for name in changing if name in item]
        absent = [name for name in changing if name not in item]
        expression = "SET " + ", ".join(f"#{name} = :{name}" for name in present)
        if absent:
            expression += " REMOVE " + ", ".join(f"#{name}" for name in absent)
        nobody_faster = (
            "attribute_exists(#attempts) AND size(#attempts) = :attempts_before "
            "AND #status = :status_before"
        )
        values = {
            ":attempts_before": {"N": str(len(before.attempts))},
            ":status_before": {"S": before.status.value},
        }
        known: dict[str, int | None] = {"generation": before.generation or None}
        if before.status is not Status.WAITING:
            # For a waiting delivery it is the time in the index, which other writers do not check.
            known["next_attempt_at"] = before.next_attempt_at_ms
        for name, value in known.items():
            if value is None:
                nobody_faster += f" AND attribute_not_exists(#{name})"
            else:
                nobody_faster += f" AND #{name} = :{name}_before"
                values[f":{name}_before"] = {"N": str(value)}
        names = {f"#{name}": name for name in changing}
        if before.claim is None:
            nobody_faster += " AND attribute_not_exists(#claim)"
        else:
            nobody_faster += " AND #claim.#by = :by"
            names["#by"] = "by"
            values[":by"] = delivery_items.invocation_value(before.claim.invocation)
        with unavailable_on_failure("recording an attempt"):
            try:
                self._client.update_item(
                    TableName=self._table,
                    Key=item_keys.delivery_key(delivery.key),
                    UpdateExpression=expression,
                    ConditionExpression=nobody_faster,
                    ExpressionAttributeNames=names,
                    ExpressionAttributeValues=values | {f":{name}": item[name] for name in present},
                    ReturnValuesOnConditionCheckFailure="ALL_OLD",
                )
            except ClientError as error:
                stored = _stored(error, absent_is={})
                return bool(stored) and delivery_items.read_delivery(stored) == delivery
        return True

    def claim_attempt(
        self, delivery: Delivery, claim: Claim, *, attempt_number: int, now_ms: int
    ) -> Delivery | None:
        """Claim the schedule's next attempt, which changes `claim` alone: one write unit.

        The previous version writes no number of the next attempt, and leaves an old one unchanged,
        for instance after a rollback. Therefore an attempt that was read as the next may also be
        claimed while the record has as many attempts as read.
        """
        condition = (
            "#status IN (:pending, :retrying) AND "
            "(#claim.#to <= :now OR attribute_not_exists(#claim)) AND "
        )
        values: dict[str, Any] = {
            ":pending": {"S": Status.PENDING.value},
            ":retrying": {"S": Status.RETRYING.value},
            ":now": {"N": str(now_ms)},
            ":number": {"N": str(attempt_number)},
            ":claim": delivery_items.claim_value(claim),
        }
        if delivery.next_attempt == attempt_number:
            condition += "(#next = :number OR size(#attempts) = :attempts) AND "
            values[":attempts"] = {"N": str(len(delivery.attempts))}
        else:
            condition += "#next = :number AND "
        condition += _generation_condition(delivery, values)
        return self._change_one(delivery, "SET #claim = :claim", condition, values)

    def mark_unstarted(self, delivery: Delivery) -> bool:
        """Record that no execution could be started for a delivery: one write unit."""
        condition = "#next_attempt_at = :due AND "
        values: dict[str, Any] = {
            ":due": {"N": str(delivery.next_attempt_at_ms)},
            ":true": {"BOOL": True},
        }
        condition += _generation_condition(delivery, values)
        marked = self._change_one(delivery, "SET #unstarted = :true", condition, values)
        return marked is not None and marked.unstarted

    def note_expiring(self, delivery: Delivery) -> bool:
        """Record that a waiting delivery's owner is notified; it leaves the index of due ones."""
        condition = (
            "#status = :waiting AND attribute_not_exists(#expiring) "
            "AND size(#attempts) = :attempts AND "
        )
        values: dict[str, Any] = {
            ":waiting": {"S": Status.WAITING.value},
            ":attempts": {"N": str(len(delivery.attempts))},
            ":true": {"BOOL": True},
        }
        condition += _generation_condition(delivery, values)
        expression = "SET #expiring = :true REMOVE #due, #next_attempt_at"
        with unavailable_on_failure("changing a delivery"):
            try:
                self._client.update_item(
                    TableName=self._table,
                    Key=item_keys.delivery_key(delivery.key),
                    UpdateExpression=expression,
                    ConditionExpression=condition,
                    ExpressionAttributeNames=_names(expression, condition),
                    ExpressionAttributeValues=values,
                    ReturnValuesOnConditionCheckFailure="ALL_OLD",
                )
            except ClientError as error:
                if error_code(error) != "ConditionalCheckFailedException":
                    raise
                return made_before(error, left({"expiring": values[":true"]})) is not None
        return True

    def _change_one(
        self, delivery: Delivery, expression: str, condition: str, values: dict[str, Any]
    ) -> Delivery | None:
        """Change an attribute outside the indexes; returns the delivery as it is then stored."""
        with unavailable_on_failure("changing a delivery"):
            try:
                answer = self._client.update_item(
                    TableName=self._table,
                    Key=item_keys.delivery_key(delivery.key),
                    UpdateExpression=expression,
                    ConditionExpression=condition,
                    ExpressionAttributeNames=_names(expression, condition),
                    ExpressionAttributeValues=values,
                    ReturnValues="ALL_NEW",
                    ReturnValuesOnConditionCheckFailure="ALL_OLD",
                )
            except ClientError as error:
                stored = _stored(error, absent_is={})
            else:
                stored = answer["Attributes"]
        return delivery_items.read_delivery(stored) if stored else None

    def _item(self, delivery: Delivery) -> item_keys.Item:
        return delivery_items.delivery_item(delivery, self._retention_seconds)


def _names(*expressions: str) -> dict[str, str]:
    return {f"#{name}": name for text in expressions for name in _NAME.findall(text)}


def _generation_condition(delivery: Delivery, values: dict[str, Any]) -> str:
    if not delivery.generation:
        return "attribute_not_exists(#generation)"
    values[":generation"] = {"N": str(delivery.generation)}
    return "#generation = :generation"


def _stored(error: ClientError, absent_is: Any = None) -> Any:
    """Return the item that failed a write's condition; any other error is raised again."""
    if error_code(error) != "ConditionalCheckFailedException":
        raise error
    item = error.response.get("Item", absent_is)
    if item is None:
        raise error
    return item


def _chunks(values: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (values[start : start + size] for start in range(0, len(values), size))


def _tries() -> Iterator[int]:
    """Number the tries of a batch, with a jittered pause between them that grows.

    DynamoDB leaves throttled items of a batch unprocessed. Raises UnavailableError after the last
    try, or when the tries took longer than `CALL_SECONDS`: the invocation has other work too.
    """
    until = time.time() + CALL_SECONDS
    for number in range(_BATCH_TRIES):
        if number:
            if time.time() >= until:
                break
            longest = _FIRST_PAUSE_SECONDS * 2**number
            time.sleep(random.uniform(longest / 2, longest))  # noqa: S311 (spreads load)
        yield number
    msg = "a batch stayed unprocessed: throttled"
    raise UnavailableError(msg)
