"""The command that publishes an event: it prints the number of webhooks that get the event."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from cli import commands
from support import samples
from unit.cli.api_wire import WEBHOOK
from webhooks.domain.webhook import Secrets

if TYPE_CHECKING:
    import pytest

    from unit.cli.api_wire import Wire

OTHER = samples.webhook(2, account_id="acme")


def test_publishing_tells_to_how_many_webhooks_the_event_goes(
    wire: Wire, capsys: pytest.CaptureFixture[str]
) -> None:
    on_fakes = wire.on_fakes
    on_fakes.webhooks.add(replace(WEBHOOK, events=("*",)), Secrets(samples.SECRET))
    on_fakes.webhooks.add(replace(OTHER, events=("email.sent",)), Secrets(samples.SECRET))
    to = ["--to", "r@example.com", "--subject", "Hello"]
    assert commands.main(["publish", "email.sent", *to]) == 0
    shown = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert (shown["status"], shown["webhooks"]) == ("accepted", "2")
    assert commands.main(["publish", "email.opened", *to, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["webhooks"] == 1
    _, message = on_fakes.events.messages[0]
    assert json.loads(message)["data"] == {"to": "r@example.com", "subject": "Hello"}
