"""The commands that take a while: followed to their end, with their progress, and interrupted."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import requests

from cli import commands
from cli.progress import Progress
from support import samples
from unit.cli.api_wire import WEBHOOK
from unit.terminal import Terminal
from webhooks.domain.delivery import FailureReason, Outcome
from webhooks.domain.health import Health
from webhooks.domain.jobs.check import CheckRequest
from webhooks.domain.jobs.erasure import ErasureStatus
from webhooks.domain.jobs.replay import ReplayStatus
from webhooks.domain.timestamps import to_text
from webhooks.domain.webhook import Secrets

if TYPE_CHECKING:
    from collections.abc import Callable

    from unit.cli.api_wire import Wire

SINCE = "2025-12-21T00:00:00Z"


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Act once at each wait of a command, in order."""

    def plan(*steps: Callable[[], None]) -> None:
        left = list(steps)
        monkeypatch.setattr(time, "sleep", lambda _: left.pop(0)() if left else None)

    return plan


def advance(wire: Wire, results: list[bool], status: ReplayStatus | None = None) -> None:
    """Let the only replay send deliveries, and end it."""
    store = wire.on_fakes.replay_store
    [before] = store.jobs.values()
    after = before.advanced("0", results, before.updated_at_ms)
    if status is not None:
        after = after.ended(status, before.updated_at_ms)
    assert store.save(before, after)


@pytest.mark.parametrize(("results", "code"), [([True, True], 0), ([True, False], 1)])
def test_a_replay_is_followed_and_fails_where_not_everything_arrived(
    wire: Wire,
    meanwhile: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
    results: list[bool],
    code: int,
) -> None:
    completed = ReplayStatus.COMPLETED
    meanwhile(lambda: advance(wire, [True]), lambda: advance(wire, results, completed))
    replay = ["replay", WEBHOOK.id, "--since", SINCE, "--status", "exhausted", "--json"]
    assert commands.main(replay) == code
    shown, told = capsys.readouterr()
    ended = json.loads(shown)
    assert (ended["status"], ended["sent"], ended["statuses"]) == ("completed", 3, ["exhausted"])
    assert "0 sent: 0 arrived, 0 failed; events up to" in told
    assert commands.main(["replays", WEBHOOK.id]) == 0
    assert ended["id"] in capsys.readouterr().out


def test_a_replay_that_is_not_waited_for_is_cancelled(
    wire: Wire, capsys: pytest.CaptureFixture[str]
) -> None:
    replay = ["replay", WEBHOOK.id, "--since", SINCE, "--no-wait", "--json"]
    assert commands.main(replay) == 0
    started = json.loads(capsys.readouterr().out)
    assert commands.main(["cancel", WEBHOOK.id, started["id"], "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["status"] == "cancelled"


def test_ctrl_c_ends_the_following_and_not_the_replay(
    wire: Wire, meanwhile: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    meanwhile(interrupt)
    assert commands.main(["replay", WEBHOOK.id, "--since", SINCE]) == 130
    [replay] = wire.on_fakes.replay_store.jobs.values()
    assert replay.running
    assert f"The job continues: {replay.id}." in capsys.readouterr().err


def test_an_api_that_is_away_for_a_moment_does_not_end_the_following(
    wire: Wire, meanwhile: Callable[..., None]
) -> None:
    def away(times: int) -> Callable[[], None]:
        return lambda: wire.failures.extend([requests.ConnectionError()] * times)

    completed = ReplayStatus.COMPLETED
    meanwhile(
        away(2), lambda: None, lambda: None, lambda: None, lambda: advance(wire, [], completed)
    )
    assert commands.main(["replay", WEBHOOK.id, "--since", SINCE]) == 0
    meanwhile(away(99))
    assert commands.main(["replay", WEBHOOK.id, "--since", SINCE]) == 1


@pytest.mark.parametrize(
    ("status", "code"), [(ErasureStatus.COMPLETED, 0), (ErasureStatus.FAILED, 1)]
)
def test_an_erasure_is_followed_to_its_end(
    wire: Wire,
    meanwhile: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
    status: ErasureStatus,
    code: int,
) -> None:
    store = wire.on_fakes.erasure_store

    def end() -> None:
        [before] = store.jobs.values()
        assert store.save(before, before.ended(status, before.updated_at_ms))

    meanwhile(end)
    assert commands.main(["erase", "an+na@example.com"]) == code
    shown, told = capsys.readouterr()
    assert status in shown
    assert told == ("0 deliveries examined, 0 erased; a second pass follows after 90 seconds\n")
    assert wire.calls[0] == "DELETE /api/v1/recipients/an%2Bna%40example.com"


def test_a_webhook_is_edited_and_what_is_not_given_stays(
    wire: Wire, capsys: pytest.CaptureFixture[str]
) -> None:
    edit = ["edit", WEBHOOK.id, "--events", "email.sent", "--description", "Mine", "--json"]
    assert commands.main(edit) == 0
    changed = json.loads(capsys.readouterr().out)
    assert (changed["url"], changed["events"]) == (WEBHOOK.url, ["email.sent"])
    assert changed["description"] == "Mine"
    assert commands.main(["show", WEBHOOK.id]) == 0
    assert "health.state" in capsys.readouterr().out


def answered(unsigned: Outcome) -> dict[CheckRequest, Outcome]:
    """Return the answers of a receiver that refuses forged requests, but accepts unsigned ones."""
    accepted = Outcome(status_code=200, duration_ms=3)
    refused = Outcome(FailureReason.HTTP_STATUS, 401, duration_ms=3)
    return {
        **{probe: accepted if probe.genuine else refused for probe in CheckRequest},
        CheckRequest.UNSIGNED: unsigned,
    }


@pytest.mark.parametrize(
    ("unsigned", "code"),
    [(Outcome(FailureReason.HTTP_STATUS, 403), 0), (Outcome(status_code=204), 1)],
)
def test_a_check_is_waited_for_and_fails_where_the_receiver_is_not_verified(
    wire: Wire,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    unsigned: Outcome,
    code: int,
) -> None:
    store = wire.on_fakes.check_store

    def complete(_: float) -> None:
        """Complete the check while the command waits for it."""
        [check] = store.jobs.values()
        store.save(check, check.completed(answered(unsigned), check.created_at_ms))

    monkeypatch.setattr(time, "sleep", complete)
    assert commands.main(["check", WEBHOOK.id]) == code
    shown = capsys.readouterr().out
    [line] = [line for line in shown.splitlines() if line.startswith("unsigned ")]
    assert line.split()[1:3] == ["refused", str(unsigned.status_code)]
    assert ("failed" in line) is bool(code)
    store.jobs.clear()
    assert commands.main(["check", WEBHOOK.id, "--json"]) == code
    assert json.loads(capsys.readouterr().out)["verified"] is not bool(code)


def test_a_check_during_a_pause_says_where_its_report_will_be(
    wire: Wire, capsys: pytest.CaptureFixture[str]
) -> None:
    until_ms = time.time_ns() // 1_000_000 + 20_000
    paused = replace(WEBHOOK, health=Health(not_before_ms=until_ms))
    wire.on_fakes.webhooks.add(paused, Secrets(samples.SECRET))
    assert commands.main(["check", WEBHOOK.id]) == 1
    [check] = wire.on_fakes.check_store.jobs.values()
    told = capsys.readouterr().err
    assert to_text(until_ms) in told
    assert f"GET /api/v1/webhooks/{WEBHOOK.id}/checks/{check.id}" in told


def test_a_check_that_could_not_be_made_fails(
    wire: Wire, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store = wire.on_fakes.check_store

    def fail(_: float) -> None:
        [check] = store.jobs.values()
        store.save(check, check.failed("webhook_deleted", check.created_at_ms))

    monkeypatch.setattr(time, "sleep", fail)
    assert commands.main(["check", WEBHOOK.id]) == 1
    assert "webhook_deleted" in capsys.readouterr().out


@pytest.mark.parametrize("tty", [True, False])
def test_progress_keeps_to_one_line_of_a_terminal_and_is_rare_elsewhere(*, tty: bool) -> None:
    stream: Any = Terminal(tty=tty)
    seconds = iter(range(0, 100, 4))
    progress = Progress(stream, clock=lambda: next(seconds))
    for number in range(5):
        progress.tell(f"{number}\n done")
    progress.end()
    if tty:
        assert stream.text.count("\r\033[K") == 6
        assert "\n" not in stream.text
    else:
        assert "\033" not in stream.text
        assert 1 < len(stream.text.splitlines()) < 5
