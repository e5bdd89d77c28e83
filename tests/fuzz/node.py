"""A process of Node.js that answers questions in batches."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Sequence

_ORACLE = Path(__file__).parents[1] / "fuzz" / "oracle.js"


class Node:
    """`oracle.js`, running from the beginning of its `with` block."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            ["node", str(_ORACLE)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def ask(self, question: str, texts: Sequence[str]) -> list[Any]:
        """Return Node's answer to one question about each text: null if it throws.

        `restringify` is the body after the contract's receiver, `host` the host that a URL names.
        """
        assert self._process.stdin
        assert self._process.stdout
        # Escaped to ASCII and back, so that no encoding on the way changes the text.
        self._process.stdin.write(json.dumps([question, *texts]) + "\n")
        self._process.stdin.flush()
        answers: list[Any] = json.loads(self._process.stdout.readline())
        assert len(answers) == len(texts)
        return answers
