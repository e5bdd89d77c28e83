"""AWS's models of its services, which botocore reads from the disk: once in a process."""

from __future__ import annotations

import functools

import botocore.loaders
import botocore.session


def read_once() -> None:
    """Give all sessions one reader of models, which keeps them.

    Each session would read them anew, which takes 90 ms for a client of DynamoDB.
    """
    botocore.session.create_loader = functools.cache(botocore.loaders.create_loader)
