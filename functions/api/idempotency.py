"""`Idempotency-Key`: a call that makes something answers the same again, for 24 hours.

Only what succeeded is kept: an error says what to correct, and the corrected call may come with the
same key, unless an earlier try of it may have been done. What is kept is bound to the API key that
made the call, so that nobody else is shown the secrets in it, another key of the same account
included. It is kept sealed under that API key's text, which we do not have: a reader of the table
finds no key and no secret.

A call that ended without an answer may have made something. Its ids, secrets and times follow from
a seed, which is written before anything else: the repeated call makes the same things, and finds
those that are there.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
import time
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.event_handler import (
    APIGatewayHttpResolver,
    Response,
    content_types,
)
from aws_lambda_powertools.event_handler.middlewares import BaseMiddlewareHandler

from api import errors
from api.requests import current_call
from webhooks.domain import seed as seeds
from webhooks.ports import StoredResponse
from webhooks.services.api_keys import bearer_token

if TYPE_CHECKING:
    from collections.abc import Callable

    from aws_lambda_powertools.event_handler.middlewares import NextMiddleware
    from aws_lambda_powertools.utilities.data_classes import APIGatewayProxyEventV2

HEADER = "Idempotency-Key"
REPLAYED_HEADER = "Idempotency-Replayed"
METHODS = frozenset({"POST", "PUT"})
"""The methods of the calls that make something."""

_ANSWER = "kept answer"
_SEED = "seed of a call"
_KEY = re.compile(r"[!-~]{1,255}", re.ASCII)


class IdempotencyMiddleware(BaseMiddlewareHandler[APIGatewayHttpResolver]):
    """Answers a creating call once for each `Idempotency-Key`: the last of the middlewares."""

    def __init__(self, serialize: Callable[[Any], str]) -> None:
        """Keep answers as `serialize` writes them."""
        self._serialize = serialize

    def handler(
        self, app: APIGatewayHttpResolver, next_middleware: NextMiddleware
    ) -> Response[Any]:
        """Answer as the first time, or for the first time."""
        call = current_call(app)
        event = app.current_event
        key = event.headers.get(HEADER)
        method = event.http_method.upper()
        if key is None or call.key is None or method not in METHODS:
            return next_middleware(app)
        if not _KEY.fullmatch(key):
            raise errors.validation_failed(
                [errors.problem(HEADER, "Use 1 to 255 visible ASCII characters, without spaces.")]
            )

        api_key = bearer_token(event.headers["authorization"])
        sealer = call.services.sealer
        fingerprint = _fingerprint(event)
        # What is sealed for one record opens in no other.
        record = (call.key.account_id, call.key.id, method, event.path, key)
        text = seeds.new_text(time.time_ns(), secrets.token_bytes(seeds.KEY_BYTES))
        new_seed = sealer.seal(api_key, _SEED, record, text)

        def answer(sealed_seed: str) -> StoredResponse:
            repeated = sealed_seed != new_seed
            found = sealer.unseal(api_key, _SEED, record, sealed_seed) if repeated else text
            call.seed = seeds.of_text(found, sealer.derive, repeated=repeated)
            response = next_middleware(app)
            body = sealer.seal(api_key, _ANSWER, record, self._serialize(response.body))
            return StoredResponse(response.status_code, body, final=call.final)

        kept = call.services.idempotency_store.get_or_create(
            record,
            fingerprint,
            answer,
            seed=new_seed,
            undecided=lambda error: errors.as_api_error(error).status >= 500,
            remaining_ms=call.remaining_ms,
        )
        # In the day after an update there may be plain ones: JSON, as no sealed one is.
        plain = kept.body.startswith("{")
        body = kept.body if plain else sealer.unseal(api_key, _ANSWER, record, kept.body)
        return Response(
            status_code=kept.status,
            content_type=content_types.APPLICATION_JSON,
            body=body,
            headers={REPLAYED_HEADER: "true"} if kept.replayed else {},
        )


def _fingerprint(event: APIGatewayProxyEventV2) -> str:
    body = event.body or ""
    # A body that is not text has been refused by now wherever a body means anything.
    raw = base64.b64decode(body) if event.is_base64_encoded else body.encode(errors="replace")
    return hashlib.sha256(raw).hexdigest()
