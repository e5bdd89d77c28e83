"""`webhooks rotate` while the overlap of an earlier rotation runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli import commands
from unit.cli.api_wire import WEBHOOK

if TYPE_CHECKING:
    import pytest

    from unit.cli.api_wire import Wire


def test_a_rotation_within_an_overlap_is_made_where_it_is_forced(
    wire: Wire, capsys: pytest.CaptureFixture[str]
) -> None:
    assert commands.main(["rotate", WEBHOOK.id]) == 0
    before = wire.on_fakes.webhooks.destination("acme", WEBHOOK.id)
    assert commands.main(["rotate", WEBHOOK.id]) == 1
    refused = capsys.readouterr().err
    assert "overlap of the last rotation is running" in refused
    assert "Add --force" in refused
    assert wire.on_fakes.webhooks.destination("acme", WEBHOOK.id) == before
    assert commands.main(["rotate", WEBHOOK.id, "--force"]) == 0
    shown = capsys.readouterr().out
    destination = wire.on_fakes.webhooks.destination("acme", WEBHOOK.id)
    assert destination is not None
    assert before is not None
    assert destination.secrets.previous == before.secrets.current
    assert "no longer signs requests" in shown
