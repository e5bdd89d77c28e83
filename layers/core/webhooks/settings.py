"""The settings of a function, read once from its environment, at its first use."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from webhooks.domain.account import ACCOUNT_ID_RULE, is_account_id
from webhooks.domain.retry import (
    DEFAULT_RECOVERY_SCHEDULE,
    DEFAULT_SCHEDULE,
    SHORT_DELAY_SECONDS,
    parse_schedule,
)

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Settings:
    """The values that the template sets for a function. Values that a function does not use are
    empty.

    No setting here can loosen the address guard, and none may be added that does.
    """

    webhooks_table: str = ""
    deliveries_table: str = ""
    api_keys_table: str = ""
    idempotency_table: str = ""
    events_queue_url: str = ""
    events_dead_letter_queue_url: str = ""
    retry_state_machine_arn: str = ""
    short_retry_state_machine_arn: str = ""
    job_state_machine_arn: str = ""
    retry_schedule: tuple[float, ...] = DEFAULT_SCHEDULE
    recovery_schedule: tuple[float, ...] = DEFAULT_RECOVERY_SCHEDULE
    short_delay_seconds: float = SHORT_DELAY_SECONDS
    recovery_rate: int = 50
    retention_days: int = 30
    max_webhooks_per_account: int = 50
    replay_rate: int = 10
    max_replays_per_day: int = 50
    max_webhooks_per_host: int = 20
    max_tests_per_hour: int = 60
    max_resends_per_hour: int = 600
    max_enables_per_hour: int = 60
    max_erasures_per_day: int = 100
    max_calls_per_minute: int = 3_000
    max_events_per_minute: int = 60_000
    max_requests_per_host: int = 200
    docs_page: bool = True
    default_account_id: str = "default"
    ses_headers: tuple[str, ...] = ()
    cursor_key: bytes = field(default=b"", repr=False)
    domain_name: str = ""
    stack_name: str = ""
    aws_endpoint_url: str | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """Read the settings; ValueError names the wrong variable and its rule."""
        default = cls()

        def integer(name: str, fallback: int) -> int:
            text = environment.get(name) or str(fallback)
            if not text.isdecimal() or int(text) < 1:
                msg = f"{name} must be a whole number from 1"
                raise ValueError(msg)
            return int(text)

        def limit(name: str, fallback: int) -> int:
            text = environment.get(name) or str(fallback)
            return 0 if text == "0" else integer(name, fallback)

        def schedule(name: str, fallback: tuple[float, ...]) -> tuple[float, ...]:
            text = environment.get(name)
            return parse_schedule(text) if text else fallback

        return cls(
            webhooks_table=environment.get("WEBHOOKS_TABLE", ""),
            deliveries_table=environment.get("DELIVERIES_TABLE", ""),
            api_keys_table=environment.get("API_KEYS_TABLE", ""),
            idempotency_table=environment.get("IDEMPOTENCY_TABLE", ""),
            events_queue_url=environment.get("EVENTS_QUEUE_URL", ""),
            events_dead_letter_queue_url=environment.get("EVENTS_DEAD_LETTER_QUEUE_URL", ""),
            retry_state_machine_arn=environment.get("RETRY_STATE_MACHINE_ARN", ""),
            short_retry_state_machine_arn=environment.get("SHORT_RETRY_STATE_MACHINE_ARN", ""),
            job_state_machine_arn=environment.get("JOB_STATE_MACHINE_ARN", ""),
            retry_schedule=schedule("RETRY_SCHEDULE", default.retry_schedule),
            recovery_schedule=schedule("RECOVERY_SCHEDULE", default.recovery_schedule),
            recovery_rate=integer("RECOVERY_RATE", default.recovery_rate),
            retention_days=integer("RETENTION_DAYS", default.retention_days),
            max_webhooks_per_account=integer(
                "MAX_WEBHOOKS_PER_ACCOUNT", default.max_webhooks_per_account
            ),
            replay_rate=integer("REPLAY_RATE", default.replay_rate),
            max_replays_per_day=integer("MAX_REPLAYS_PER_DAY", default.max_replays_per_day),
            max_webhooks_per_host=integer("MAX_WEBHOOKS_PER_HOST", default.max_webhooks_per_host),
            max_tests_per_hour=integer("MAX_TESTS_PER_HOUR", default.max_tests_per_hour),
            max_resends_per_hour=integer("MAX_RESENDS_PER_HOUR", default.max_resends_per_hour),
            max_enables_per_hour=integer("MAX_ENABLES_PER_HOUR", default.max_enables_per_hour),
            max_erasures_per_day=integer("MAX_ERASURES_PER_DAY", default.max_erasures_per_day),
            max_calls_per_minute=integer("MAX_CALLS_PER_MINUTE", default.max_calls_per_minute),
            max_events_per_minute=limit("MAX_EVENTS_PER_MINUTE", default.max_events_per_minute),
            max_requests_per_host=limit("MAX_REQUESTS_PER_HOST", default.max_requests_per_host),
            docs_page=environment.get("DOCS_PAGE") != "false",
            default_account_id=_account_id(
                "DEFAULT_ACCOUNT_ID",
                environment.get("DEFAULT_ACCOUNT_ID") or default.default_account_id,
            ),
            ses_headers=_names(environment.get("SES_HEADERS", "")),
            cursor_key=environment.get("CURSOR_KEY", "").encode(),
            domain_name=environment.get("DOMAIN_NAME", ""),
            stack_name=environment.get("STACK_NAME", ""),
            aws_endpoint_url=environment.get("AWS_ENDPOINT_URL") or None,
        )


def _account_id(name: str, text: str) -> str:
    if not is_account_id(text):
        msg = f"{name}: an account's id {ACCOUNT_ID_RULE}"
        raise ValueError(msg)
    return text


def _names(text: str) -> tuple[str, ...]:
    return tuple(filter(None, (name.strip() for name in text.split(","))))
