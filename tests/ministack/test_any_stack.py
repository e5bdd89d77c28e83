"""The long form: `make e2e` on a stack that is deployed with its default parameters."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

import pytest

from e2e.guides import free_port
from ministack.engine import STACK

if TYPE_CHECKING:
    from ministack.engine import Engine

LEAST_TESTS = 80


@pytest.mark.timeout(900)
def test_the_tests_of_any_stack_pass(engine: Engine) -> None:
    engine.deploy()
    port = free_port()
    printed = engine.run(
        *(sys.executable, "-m", "pytest", "-q", "-n0", "tests/e2e"),
        E2E_STACK=STACK,
        E2E_API_URL=engine.api_url,
        E2E_RECEIVER=f"http://127.0.0.1:{port}/hook",
        E2E_RECEIVER_PORT=str(port),
    )
    print(printed)
    passed = re.search(r"(\d+) passed", printed)
    assert passed and int(passed[1]) >= LEAST_TESTS, printed
    assert "skipped" not in printed
