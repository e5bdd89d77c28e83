"""Messages that were rejected: saved, corrected and sent again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from integration.ops.redrive_fixture import RedriveFixture
from ops import rejected
from ops.dead_letters import texts_of
from ops.outputs import NoStackError
from webhooks.domain.resending import ARRIVED_AT

if TYPE_CHECKING:
    from pathlib import Path

    from mypy_boto3_sqs import SQSClient


@pytest.fixture
def fixture(sqs: SQSClient) -> RedriveFixture:
    return RedriveFixture(sqs)


REJECTED = json.dumps({"event": "email.sent", "account_id": "acc_1", "data": {"to": ""}})


def of_dead_letters(fixture: RedriveFixture) -> list[rejected.Rejected]:
    return list(rejected.rejected(fixture.sqs, fixture.stack))


def test_a_rejected_message_is_saved_corrected_and_sent_again(
    fixture: RedriveFixture, tmp_path: Path
) -> None:
    dead = fixture.stack.events_dead_letter_queue_url
    fixture.send(dead, REJECTED, reason="invalid_field", detail="data.to: must be a recipient")
    fixture.send(dead, "hello", reason="not_json", detail="body: must be JSON")
    fixture.send(dead, "failed through our fault")
    folder = tmp_path / "rejected"
    counts = rejected.save(fixture.sqs, fixture.stack, folder, "invalid_field", fixture.told.append)
    assert counts == {"saved": 1}
    [file] = folder.iterdir()
    assert file.read_text(encoding="utf-8") == REJECTED
    assert file.stat().st_mode & 0o777 == 0o600
    assert fixture.told == [f"{file}  data.to: must be a recipient"]

    # Unchanged, it would come straight back.
    counts = rejected.send(fixture.sqs, fixture.stack, folder, fixture.told.append)
    assert counts == {"still rejected": 1, "left": 1}
    assert fixture.told[1].startswith(f"{file}  data.to: must be a recipient")
    assert fixture.left(fixture.stack.events_queue_url) == []

    corrected = REJECTED.replace('""', '"a@example.com"')
    file.write_text(corrected, encoding="utf-8")
    again = rejected.save(fixture.sqs, fixture.stack, folder, "invalid_field", fixture.told.append)
    assert again == {"there already": 1}
    counts = rejected.send(fixture.sqs, fixture.stack, folder, fixture.told.append)
    assert counts == {"sent again": 1, "left": 1}
    assert fixture.left(fixture.stack.events_queue_url) == [corrected]
    assert [one.reason for one in of_dead_letters(fixture)] == ["not_json"]
    assert rejected.send(fixture.sqs, fixture.stack, folder, fixture.told.append) == {"left": 1}
    assert sorted(fixture.left(dead)) == ["failed through our fault", "hello"]


def test_a_message_whose_file_is_emptied_is_given_up(
    fixture: RedriveFixture, tmp_path: Path
) -> None:
    dead = fixture.stack.events_dead_letter_queue_url
    fixture.send(dead, '{"Type": "SubscriptionConfirmation"}', reason="confirmation")
    rejected.save(fixture.sqs, fixture.stack, tmp_path, None, fixture.told.append)
    [file] = tmp_path.iterdir()
    file.write_text("\n", encoding="utf-8")
    counts = rejected.send(fixture.sqs, fixture.stack, tmp_path, fixture.told.append)
    assert counts == {"given up": 1}
    assert fixture.left(dead) == fixture.left(fixture.stack.events_queue_url) == []


def test_an_array_of_which_one_would_be_rejected_is_not_sent(
    fixture: RedriveFixture, tmp_path: Path
) -> None:
    fixture.send(fixture.stack.events_dead_letter_queue_url, "x", reason="not_json")
    [one] = of_dead_letters(fixture)
    good = REJECTED.replace('""', '"a@example.com"')
    (tmp_path / f"{one.id}.json").write_text(f"[{good},{REJECTED}]", encoding="utf-8")
    counts = rejected.send(fixture.sqs, fixture.stack, tmp_path, fixture.told.append)
    assert counts == {"still rejected": 1}


def test_a_corrected_message_keeps_its_first_arrival_and_its_group(
    fixture: RedriveFixture, tmp_path: Path
) -> None:
    dead = fixture.stack.events_dead_letter_queue_url
    attributes: Any = {
        "reason": {"DataType": "String", "StringValue": "invalid_field"},
        ARRIVED_AT: {"DataType": "Number", "StringValue": "1766313000000"},
    }
    fixture.sqs.send_message(
        QueueUrl=dead, MessageBody=REJECTED, MessageAttributes=attributes, MessageGroupId="acc_1"
    )
    [one] = of_dead_letters(fixture)
    text = REJECTED.replace('""', '"a@example.com"')
    (tmp_path / f"{one.id}.json").write_text(text, encoding="utf-8")
    assert rejected.send(fixture.sqs, fixture.stack, tmp_path, fixture.told.append) == {
        "sent again": 1
    }
    [again] = fixture.receive(fixture.stack.events_queue_url)
    assert texts_of(again) == {ARRIVED_AT: "1766313000000"}
    assert again["Attributes"]["MessageGroupId"] == "acc_1"


def test_without_a_stack_the_rejected_cannot_be_listed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def absent() -> dict[str, str]:
        raise NoStackError("start it with `make run`")

    monkeypatch.setattr(rejected, "of_local", absent)
    assert rejected.main([]) == 1
    assert "make run" in capsys.readouterr().err
