"""The cost of an event as the tables grow: with other accounts' webhooks, and with its own."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, Any

from benchmarks.scenarios import LogMeter, bench, tables
from benchmarks.units import read_units
from support import samples
from support.receiver import Receiver
from webhooks.adapters.dynamodb import item_keys, webhook_items

if TYPE_CHECKING:
    from webhooks.adapters.dynamodb.item_keys import Item

IN_THE_TABLE = (1, 10, 1_000, 100_000)
OF_THE_ACCOUNT = (1, 10, 50, 1_000)


def webhook_item(number: int, account_id: str) -> Item:
    """Return a webhook's item in the table."""
    webhook = samples.webhook(number, account_id=account_id)
    return webhook_items.webhook_item(webhook, samples.SECRET)


def in_the_table(webhooks: int) -> dict[str, float]:
    """Return an event's units with this many webhooks in the table, one of them its own."""
    # moto's own table, in this process: filling it through its API would take minutes.
    from moto.dynamodb.models import dynamodb_backends

    logs = LogMeter()
    with contextlib.redirect_stdout(logs), bench(logs) as metered, Receiver() as receiver:
        metered.register(receiver, 1)
        table = dynamodb_backends["123456789012"]["us-east-1"].get_table("WebhooksTable")
        for number in range(2, webhooks + 1):
            table.put_item(webhook_item(number, f"acc_{number}"))
        metered.take()
        metered.dispatch(1)
        units = metered.take()
        return {"read_units": units.read_units, "write_units": units.write_units}


def of_the_account(webhooks: int) -> dict[str, float]:
    """Return the units of finding an account's webhooks, all of which are read."""
    size = webhooks * item_keys.item_size(webhook_item(1, "acc_1"))
    return {"read_units": read_units(size, consistent=True)}


def measure() -> dict[str, Any]:
    """Return both costs, by the number of webhooks."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    tables()
    return {
        "in the table": {str(number): in_the_table(number) for number in IN_THE_TABLE},
        "of the account": {str(number): of_the_account(number) for number in OF_THE_ACCOUNT},
    }
