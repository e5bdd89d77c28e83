"""The contract of `IdempotencyStore`, held against the fake and against Powertools on DynamoDB."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from support.engines import FAKE
from support.fakes import FakeIdempotencyStore
from support.stores import BACKENDS, open_dynamodb
from webhooks.adapters.dynamodb.idempotency import KEPT_SECONDS, PowertoolsIdempotencyStore
from webhooks.adapters.dynamodb.seeded_records import SeededRecords
from webhooks.domain.errors import (
    IdempotencyConflictError,
    IdempotencyInProgressError,
    LimitReachedError,
    UnavailableError,
)
from webhooks.ports import StoredResponse

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from webhooks.ports import IdempotencyStore

TABLE = "IdempotencyTable"
KEY = ("acc_1", "key_1", "POST", "/api/v1/webhooks", "mine")
ANSWER = StoredResponse(201, '{"secret":"whsec_ä"}')


@pytest.fixture(params=BACKENDS)
def answers(request: pytest.FixtureRequest) -> Iterator[IdempotencyStore]:
    if request.param == FAKE:
        yield FakeIdempotencyStore()
    else:
        with open_dynamodb(request.param) as client:
            yield PowertoolsIdempotencyStore(client, TABLE)


class Answering:
    """Makes an answer, or fails, and counts its calls."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.calls = 0
        self.seeds: list[str] = []
        self.error = error

    def __call__(self, seed: str) -> StoredResponse:
        self.calls += 1
        self.seeds.append(seed)
        if self.error is not None:
            raise self.error
        return ANSWER


def once(
    answers: IdempotencyStore,
    answer: Any,
    key: Sequence[str] = KEY,
    *,
    fingerprint: str = "f",
    remaining_ms: int = 15_000,
    seed: str = "a seed",
) -> StoredResponse:
    return answers.get_or_create(
        key,
        fingerprint,
        answer,
        seed=seed,
        undecided=lambda error: isinstance(error, UnavailableError),
        remaining_ms=lambda: remaining_ms,
    )


def test_an_answer_is_made_once_and_kept(answers: IdempotencyStore) -> None:
    answer = Answering()
    assert once(answers, answer) == ANSWER
    assert once(answers, answer) == ANSWER._replace(replayed=True)
    assert once(answers, answer) == ANSWER._replace(replayed=True)
    assert answer.calls == 1


@pytest.mark.parametrize("part", range(len(KEY)))
def test_every_part_of_the_key_counts(answers: IdempotencyStore, part: int) -> None:
    answer = Answering()
    once(answers, answer)
    other = (*KEY[:part], "other", *KEY[part + 1 :])
    assert not once(answers, answer, other).replayed
    assert answer.calls == 2


def test_an_answer_that_asks_for_another_try_is_not_kept(answers: IdempotencyStore) -> None:
    partial = ANSWER._replace(final=False)
    assert once(answers, lambda _: partial) == partial
    whole = Answering()
    assert once(answers, whole) == ANSWER
    assert once(answers, whole).replayed
    assert whole.calls == 1


def test_another_request_with_the_same_key_is_a_conflict(answers: IdempotencyStore) -> None:
    answer = Answering()
    once(answers, answer)
    with pytest.raises(IdempotencyConflictError):
        once(answers, answer, fingerprint="g")
    assert answer.calls == 1
    assert once(answers, answer).replayed


def test_a_request_while_the_first_is_answered_is_refused(answers: IdempotencyStore) -> None:
    raised = []

    def answer(_: str) -> StoredResponse:
        for fingerprint in ("f", "g"):
            try:
                once(answers, Answering(), fingerprint=fingerprint)
            except (IdempotencyInProgressError, IdempotencyConflictError) as error:
                raised.append(type(error))
        return ANSWER

    assert once(answers, answer) == ANSWER
    assert raised == [IdempotencyInProgressError, IdempotencyConflictError]


def test_a_request_that_failed_is_made_again_even_if_corrected(answers: IdempotencyStore) -> None:
    failing = Answering(LimitReachedError("full"))
    with pytest.raises(LimitReachedError, match="full"):
        once(answers, failing)
    assert once(answers, Answering(), fingerprint="corrected") == ANSWER


class Killed(BaseException):
    """The process of a call was killed."""


@pytest.mark.parametrize("error", [Killed(), UnavailableError("no answer")])
def test_a_call_that_may_have_been_done_goes_on_with_its_seed(
    answers: IdempotencyStore, error: Any
) -> None:
    failing, second = Answering(error), Answering()
    for seed in ("first", "second", "third"):
        with pytest.raises(type(error)):
            once(answers, failing, remaining_ms=-1_000, seed=seed)
    assert once(answers, second, seed="fourth") == ANSWER
    assert once(answers, second, seed="fifth").replayed
    assert failing.seeds + second.seeds == ["first"] * 4


def test_a_call_that_was_refused_leaves_no_seed(answers: IdempotencyStore) -> None:
    failing, second = Answering(LimitReachedError("full")), Answering()
    with pytest.raises(LimitReachedError):
        once(answers, failing, seed="first")
    once(answers, second, seed="second")
    assert failing.seeds + second.seeds == ["first", "second"]


def test_a_call_that_may_have_been_done_is_bound_to_its_body_and_not_forgotten(
    answers: IdempotencyStore,
) -> None:
    wrong, refused, last = (
        Answering(UnavailableError("no answer")),
        Answering(LimitReachedError("full")),
        Answering(),
    )
    other = Answering()
    with pytest.raises(UnavailableError):
        once(answers, wrong, seed="first")
    with pytest.raises(IdempotencyConflictError):
        once(answers, other, fingerprint="g", seed="second")
    with pytest.raises(LimitReachedError):
        once(answers, refused, seed="third")
    with pytest.raises(IdempotencyConflictError):
        once(answers, other, fingerprint="g", seed="fourth")
    assert once(answers, last, seed="fifth") == ANSWER
    assert other.seeds == []
    assert wrong.seeds + refused.seeds + last.seeds == ["first"] * 3
    with pytest.raises(IdempotencyConflictError):
        once(answers, last, fingerprint="g")


def test_of_two_calls_that_go_on_at_once_one_does(answers: IdempotencyStore) -> None:
    raised = []

    def answer(_: str) -> StoredResponse:
        with pytest.raises(IdempotencyInProgressError):
            once(answers, Answering())
        raised.append(True)
        return ANSWER

    with pytest.raises(Killed):
        once(answers, Answering(Killed()), remaining_ms=-1_000)
    assert once(answers, answer) == ANSWER
    assert raised == [True]


def test_of_two_calls_that_found_the_same_record_one_goes_on(
    dynamodb: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = PowertoolsIdempotencyStore(dynamodb, TABLE)
    with pytest.raises(Killed):
        once(answers, Answering(Killed()), remaining_ms=-1_000)
    left = SeededRecords._left
    other = Answering()

    def found(records: SeededRecords, stored: Any) -> bool:
        monkeypatch.setattr(SeededRecords, "_left", left)
        # The other one looks later, and is faster.
        once(answers, other)
        return left(records, stored)

    monkeypatch.setattr(SeededRecords, "_left", found)
    late = Answering()
    assert once(answers, late).replayed
    assert (other.calls, late.calls) == (1, 0)


@pytest.mark.parametrize("error", [LimitReachedError("full"), UnavailableError("no answer")])
def test_a_call_that_is_slower_than_its_time_spoils_nothing(
    dynamodb: Any, error: Exception
) -> None:
    answers = PowertoolsIdempotencyStore(dynamodb, TABLE)

    def answer(_: str) -> StoredResponse:
        assert once(answers, Answering()) == ANSWER
        raise error

    with pytest.raises(type(error)):
        once(answers, answer, remaining_ms=-1_000)
    assert once(answers, Answering()).replayed


def test_a_record_that_the_version_before_left_gets_a_seed(dynamodb: Any) -> None:
    answers = PowertoolsIdempotencyStore(dynamodb, TABLE)
    with pytest.raises(Killed):
        once(answers, Answering(Killed()), remaining_ms=-1_000)
    [item] = dynamodb.scan(TableName=TABLE)["Items"]
    del item["seed"], item["holder"]
    dynamodb.put_item(TableName=TABLE, Item=item)
    failing, last = Answering(Killed()), Answering()
    with pytest.raises(Killed):
        once(answers, failing, remaining_ms=-1_000, seed="mine")
    assert once(answers, last, seed="another") == ANSWER
    assert failing.seeds + last.seeds == ["mine", "mine"]


def test_a_record_with_its_answer_has_no_seed_any_more(dynamodb: Any) -> None:
    once(PowertoolsIdempotencyStore(dynamodb, TABLE), Answering(), seed="the seed of it")
    [item] = dynamodb.scan(TableName=TABLE)["Items"]
    assert "the seed of it" not in repr(item)


def test_a_record_expires_after_a_day_and_holds_hashes_for_names(dynamodb: Any) -> None:
    before = time.time()
    once(PowertoolsIdempotencyStore(dynamodb, TABLE), Answering())
    [item] = dynamodb.scan(TableName=TABLE)["Items"]
    assert abs(int(item["expiration"]["N"]) - before - KEPT_SECONDS) < 60
    assert item["id"]["S"].startswith("api#")
    assert "acc_1" not in item["id"]["S"]


def test_an_expired_record_counts_no_more_though_it_is_still_there(dynamodb: Any) -> None:
    answers = PowertoolsIdempotencyStore(dynamodb, TABLE)
    once(answers, Answering())
    [item] = dynamodb.scan(TableName=TABLE)["Items"]
    item["expiration"] = {"N": str(int(time.time()) - 5)}
    dynamodb.put_item(TableName=TABLE, Item=item)
    assert not once(answers, Answering(), fingerprint="another").replayed


def test_a_process_that_ended_amid_its_answer_holds_its_key_no_longer_than_it_had(
    dynamodb: Any,
) -> None:
    answers = PowertoolsIdempotencyStore(dynamodb, TABLE)

    def killed(_: str) -> StoredResponse:
        raise Killed

    for remaining_ms in (15_000, -1_000):
        dynamodb.delete_table(TableName=TABLE)
        create_idempotency_table(dynamodb)
        with pytest.raises(Killed):
            once(answers, killed, remaining_ms=remaining_ms)
        if remaining_ms > 0:
            with pytest.raises(IdempotencyInProgressError):
                once(answers, Answering())
        else:
            assert once(answers, Answering()) == ANSWER


def create_idempotency_table(dynamodb: Any) -> None:
    dynamodb.create_table(
        TableName=TABLE,
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )


def test_without_its_table_nothing_is_done(dynamodb: Any) -> None:
    dynamodb.delete_table(TableName=TABLE)
    answer = Answering()
    with pytest.raises(UnavailableError):
        once(PowertoolsIdempotencyStore(dynamodb, TABLE), answer)
    assert answer.calls == 0


@pytest.mark.parametrize("error", [None, LimitReachedError("full")])
def test_what_was_done_is_answered_though_it_cannot_be_kept(
    dynamodb: Any, error: Exception | None
) -> None:
    answering = Answering(error)

    def answer(_: str) -> StoredResponse:
        dynamodb.delete_table(TableName=TABLE)
        return answering("")

    answers = PowertoolsIdempotencyStore(dynamodb, TABLE)
    if error is None:
        assert once(answers, answer) == ANSWER
    else:
        with pytest.raises(LimitReachedError):
            once(answers, answer)
    assert answering.calls == 1
