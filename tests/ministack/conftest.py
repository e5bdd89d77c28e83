"""An engine and a deployed stack for each file, an account and a receiver for each test."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from ministack.engine import Engine
from support.receiver import Receiver

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.stack import Account


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with Engine() as engine:
        yield engine
        assert engine.denied == []


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


def new_account(engine: Engine) -> Account:
    """Return an account that no other test uses, with a key."""
    return engine.stack.account(f"acc_{uuid4().hex}")


@pytest.fixture
def account(deployed: Engine) -> Account:
    return new_account(deployed)
