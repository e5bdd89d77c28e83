"""Messages that were rejected: saved, corrected and sent again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from ops import rejected
from ops.dead_letters import texts_of
from ops.outputs import NoStackError
from support.redriving import World
from webhooks.domain.resending import ARRIVED_AT

if TYPE_CHECKING:
    from pathlib import Path

    from mypy_boto3_sqs import SQSClient


@pytest.fixture
def world(sqs: SQSClient) -> World:
    return World(sqs)


REJECTED = json.dumps({"event": "email.sent", "account_id": "acc_1", "data": {"to": ""}})


def of_dead_letters(world: World) -> list[rejected.Rejected]:
    return list(rejected.rejected(world.sqs, world.stack))


def test_a_rejected_message_is_saved_corrected_and_sent_again(world: World, tmp_path: Path) -> None:
    dead = world.stack.events_dead_letter_queue_url
    world.send(dead, REJECTED, reason="invalid_field", detail="data.to: must be a recipient")
    world.send(dead, "hello", reason="not_json", detail="body: must be JSON")
    world.send(dead, "failed through our fault")
    folder = tmp_path / "rejected"
    counts = rejected.save(world.sqs, world.stack, folder, "invalid_field", world.told.append)
    assert counts == {"saved": 1}
    [file] = folder.iterdir()
    assert file.read_text(encoding="utf-8") == REJECTED
    assert file.stat().st_mode & 0o777 == 0o600
    assert world.told == [f"{file}  data.to: must be a recipient"]

    # Unchanged, it would come straight back.
    counts = rejected.send(world.sqs, world.stack, folder, world.told.append)
    assert counts == {"still rejected": 1, "left": 1}
    assert world.told[1].startswith(f"{file}  data.to: must be a recipient")
    assert world.left(world.stack.events_queue_url) == []

    corrected = REJECTED.replace('""', '"a@example.com"')
    file.write_text(corrected, encoding="utf-8")
    again = rejected.save(world.sqs, world.stack, folder, "invalid_field", world.told.append)
    assert again == {"there already": 1}
    counts = rejected.send(world.sqs, world.stack, folder, world.told.append)
    assert counts == {"sent again": 1, "left": 1}
    assert world.left(world.stack.events_queue_url) == [corrected]
    assert [one.reason for one in of_dead_letters(world)] == ["not_json"]
    assert rejected.send(world.sqs, world.stack, folder, world.told.append) == {"left": 1}
    assert sorted(world.left(dead)) == ["failed through our fault", "hello"]


def test_a_message_whose_file_is_emptied_is_given_up(world: World, tmp_path: Path) -> None:
    dead = world.stack.events_dead_letter_queue_url
    world.send(dead, '{"Type": "SubscriptionConfirmation"}', reason="confirmation")
    rejected.save(world.sqs, world.stack, tmp_path, None, world.told.append)
    [file] = tmp_path.iterdir()
    file.write_text("\n", encoding="utf-8")
    counts = rejected.send(world.sqs, world.stack, tmp_path, world.told.append)
    assert counts == {"given up": 1}
    assert world.left(dead) == world.left(world.stack.events_queue_url) == []


def test_an_array_of_which_one_would_be_rejected_is_not_sent(world: World, tmp_path: Path) -> None:
    world.send(world.stack.events_dead_letter_queue_url, "x", reason="not_json")
    [one] = of_dead_letters(world)
    good = REJECTED.replace('""', '"a@example.com"')
    (tmp_path / f"{one.id}.json").write_text(f"[{good},{REJECTED}]", encoding="utf-8")
    counts = rejected.send(world.sqs, world.stack, tmp_path, world.told.append)
    assert counts == {"still rejected": 1}


def test_a_corrected_message_keeps_its_first_arrival_and_its_group(
    world: World, tmp_path: Path
) -> None:
    dead = world.stack.events_dead_letter_queue_url
    attributes: Any = {
        "reason": {"DataType": "String", "StringValue": "invalid_field"},
        ARRIVED_AT: {"DataType": "Number", "StringValue": "1766313000000"},
    }
    world.sqs.send_message(
        QueueUrl=dead, MessageBody=REJECTED, MessageAttributes=attributes, MessageGroupId="acc_1"
    )
    [one] = of_dead_letters(world)
    text = REJECTED.replace('""', '"a@example.com"')
    (tmp_path / f"{one.id}.json").write_text(text, encoding="utf-8")
    assert rejected.send(world.sqs, world.stack, tmp_path, world.told.append) == {"sent again": 1}
    [again] = world.receive(world.stack.events_queue_url)
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
