"""The documents' own commands, executed."""

from __future__ import annotations

import json
import os
import re
import subprocess
from typing import TYPE_CHECKING, Any

from support.slowness import seconds
from support.stack import ROOT

if TYPE_CHECKING:
    from support.stack import Account, Stack


def run_commands(document: str, stack: Stack, account: Account, **variables: str) -> list[Any]:
    """Run each `sh` block of a document with an account's key; returns the answers."""
    text = (ROOT / "docs" / document).read_text(encoding="utf-8")
    environment = {
        **os.environ,
        "API": stack.outputs["ApiUrl"],
        "KEY": account.key,
        **variables,
    }
    return [
        json.loads(
            subprocess.check_output(["sh", "-c", block], env=environment, timeout=seconds(30))
        )
        for block in re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    ]
