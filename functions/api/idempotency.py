"""`Idempotency-Key`: a repeated creating call gets the first call's response, for 24 hours.

Only successful responses are stored. An error asks for a correction, and the corrected call may use
the same key, unless an earlier try may have taken effect. A stored response belongs to the API key
that made the call: other keys, even of the same account, cannot read the secrets in it. It is
sealed under the text of that API key, which we do not store, so a reader of the table finds no key
and no secret.

A call that ended without a response may have created something. All its ids, secrets and times
follow from a seed, which is stored before anything else. The repeated call therefore creates the
same things, and finds those already there.
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
"""The methods of creating calls."""

_ANSWER = "kept answer"
_SEED = "seed of a call"
_KEY = re.compile(r"[!-~]{1,255}", re.ASCII)


class IdempotencyMiddleware(BaseMiddlewareHandler[APIGatewayHttpResolver]):
    """Runs a creating call once for each `Idempotency-Key`; the last of the middlewares.

    `serialize` writes a response's body as the API sends it.
    """

    def __init__(self, serialize: Callable[[Any], str]) -> None:
        self._serialize = serialize

    def handler(
        self, app: APIGatewayHttpResolver, next_middleware: NextMiddleware
    ) -> Response[Any]:
        """Return an earlier call's stored response, or make the call and store its response."""
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
        # A value sealed for one record cannot be unsealed for another.
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
        # For a day after the update to sealing, stored responses may still be plain JSON. A sealed
        # one never begins with a brace.
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
    # Bodies that are not text were refused earlier, on every route that reads a body.
    raw = base64.b64decode(body) if event.is_base64_encoded else body.encode(errors="replace")
    return hashlib.sha256(raw).hexdigest()
