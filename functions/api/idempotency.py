"""`Idempotency-Key`: a call that makes something answers the same again, for 24 hours.

Only what succeeded is kept: an error says what to correct, and the corrected call may come with the
same key. What is kept is bound to the API key that made the call, so that nobody else is shown the
secrets in it, another key of the same account included. It is kept sealed under that API key's
text, which we do not have: whoever reads the table finds no key and no secret.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.event_handler import (
    APIGatewayHttpResolver,
    Response,
    content_types,
)
from aws_lambda_powertools.event_handler.middlewares import BaseMiddlewareHandler

from api import errors
from api.requests import current_call
from webhooks.domain.sealing import NONCE_BYTES, seal, unseal
from webhooks.ports import KeptAnswer
from webhooks.services.keyring import bearer_token

if TYPE_CHECKING:
    from collections.abc import Callable

    from aws_lambda_powertools.event_handler.middlewares import NextMiddleware
    from aws_lambda_powertools.utilities.data_classes import APIGatewayProxyEventV2

HEADER = "Idempotency-Key"
REPLAYED_HEADER = "Idempotency-Replayed"
_KEY = re.compile(r"[!-~]{1,255}", re.ASCII)


class AnswerOnce(BaseMiddlewareHandler[APIGatewayHttpResolver]):
    """Makes the answer to a POST once for each `Idempotency-Key`: the last of the middlewares."""

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
        if key is None or call.key is None or event.http_method.upper() != "POST":
            return next_middleware(app)
        if not _KEY.fullmatch(key):
            raise errors.validation_failed(
                [errors.problem(HEADER, "Use 1 to 255 visible ASCII characters, without spaces.")]
            )

        api_key = bearer_token(event.headers["authorization"])

        def answer() -> KeptAnswer:
            response = next_middleware(app)
            text = self._serialize(response.body)
            sealed = seal(api_key, text, secrets.token_bytes(NONCE_BYTES))
            return KeptAnswer(response.status_code, sealed, final=call.final)

        kept = call.services.kept_answers.once(
            (call.key.account_id, call.key.id, "POST", event.path, key),
            _fingerprint(event),
            answer,
            remaining_ms=call.remaining_ms,
        )
        return Response(
            status_code=kept.status,
            content_type=content_types.APPLICATION_JSON,
            # In the day after an update there may be plain ones: JSON, as no sealed one is.
            body=kept.body if kept.body.startswith("{") else unseal(api_key, kept.body),
            headers={REPLAYED_HEADER: "true"} if kept.replayed else {},
        )


def _fingerprint(event: APIGatewayProxyEventV2) -> str:
    body = event.body or ""
    # A body that is not text has been refused by now wherever a body means anything.
    raw = base64.b64decode(body) if event.is_base64_encoded else body.encode(errors="replace")
    return hashlib.sha256(raw).hexdigest()
