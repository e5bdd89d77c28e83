"""The running local stack against its own OpenAPI document, with schemathesis and two accounts.

All checks, from one seed: no 5xx, no undocumented status, header, content type or shape, no call
without a key, nothing usable after its deletion, and no account's data read by the other.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.receiver import Receiver
from support.stack import Stack, checkout

if TYPE_CHECKING:
    from support.stack import Account

SEED = 20251221
SECONDS = 60
HOOKS = Path(__file__).with_name("hooks.py")

# A body may fit its schema and still break a rule that no schema can hold (a host that is not
# public, times in the wrong order): such a 422 is as documented as a success.
CONFIG = """
seed = {seed}
max-time = {seconds}
hooks = "{hooks}"
continue-on-failure = true
workers = 1
request-timeout = 30

[generation]
max-examples = 15
database = "none"

[auth.wfc]
path = "{keys}"
peers = ["acme", "globex"]

[checks.positive_data_acceptance]
expected-statuses = ["2xx", 401, 403, 404, 409, 422, 429]

# A body over its limit is refused by its size, whatever else is wrong with it; never with a 5xx.
[checks.negative_data_rejection]
expected-statuses = [400, 401, 403, 404, 405, 409, 413, 415, 422, 429]
"""


def own_key_id(account: Account) -> str:
    keys = account.call("GET", "/api/v1/api-keys").data
    return str(keys[0]["id"])


def something_to_read(account: Account, url: str) -> None:
    """Give an account deliveries, which no call makes at once."""
    path = f"/api/v1/webhooks/{account.register(url)['id']}/test"
    for event in ("email.sent", "email.bounced"):
        assert account.call("POST", path, json={"event": event}).status == 202


@pytest.mark.timeout(SECONDS * 5)
def test_the_stack_answers_as_its_document_says(tmp_path: Path) -> None:
    (tmp_path / "checkout").mkdir()
    with Stack(checkout(tmp_path / "checkout")) as stack, Receiver() as receiver:
        accounts = [stack.account("acme"), stack.account("globex")]
        headers = [
            {
                "name": account.id,
                "fixedHeaders": [{"name": "Authorization", "value": f"Bearer {account.key}"}],
            }
            for account in accounts
        ]
        keys = tmp_path / "keys.json"
        keys.write_text(json.dumps({"auth": headers}), encoding="utf-8")
        (tmp_path / "schemathesis.toml").write_text(
            CONFIG.format(seed=SEED, seconds=SECONDS, hooks=HOOKS, keys=keys), encoding="utf-8"
        )
        for account in accounts:
            something_to_read(account, receiver.url)
        url = stack.outputs["ApiUrl"].rstrip("/")
        own = ",".join(map(own_key_id, accounts))
        run = subprocess.run(
            [sys.executable, "-m", "schemathesis.cli", "run", f"{url}/api/v1/openapi.json"],
            cwd=tmp_path,
            env={**os.environ, "CONFORMANCE_KEY_IDS": own, "PYTHONWARNINGS": ""},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SECONDS * 4,
            check=False,
        )
        print(run.stdout)
        assert run.returncode == 0, run.stdout
