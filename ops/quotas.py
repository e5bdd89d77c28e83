"""The quotas of an AWS account, compared with the needs of a stack's parameters.

A new AWS account has less than AWS's defaults: 10 concurrent executions of Lambda instead of 1,000
("Lambda quotas" in its guide), and fewer state transitions of Step Functions ("Step Functions
service quotas"). The deployment succeeds, but under load the stack is slow or its API fails.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import boto3

LEAST_DISPATCHERS = 2
"""Lambda's smallest maximum for an event source ("Configuring scaling behavior")."""

DEFAULT_CONCURRENCY = 1_000
CALL_SECONDS = 0.1
"""The longest call to the API, cold starts excluded."""
WORKERS = 10
"""Concurrency for later attempts, jobs and the sweep; many failing receivers need more."""
TRANSITIONS = 3
"""Transitions of a later attempt, at most: `statemachines/retry.asl.yaml`."""

_CONCURRENCY = ("lambda", "L-B99A9384", "Lambda, concurrent executions")
_RATE = ("apigateway", "L-8A5B8E43", "API Gateway, requests a second")
_BURST = ("apigateway", "L-CDF5615A", "API Gateway, requests at once")
_OPERATIONS = {
    "StartExecution": "Retries, replays and recoveries that begin per second. Above it the sweep "
    "starts them, minutes late.",
    "StateTransition": "{attempts:,.0f} later attempts per second, at three transitions each. "
    "Above it executions wait, and retries are late.",
}
_CONSOLES = {
    "aws": "console.aws.amazon.com",
    "aws-cn": "console.amazonaws.cn",
    "aws-us-gov": "console.amazonaws-us-gov.com",
}


@dataclass(frozen=True)
class Shortfall:
    """A quota below the need of the parameters."""

    service: str
    code: str
    name: str
    has: float
    needs: float
    why: str
    raise_to: float | None = None
    """The value to request; None for a quota that AWS does not raise."""
    parameters: str = ""
    """Parameters, as `Name=value`, that fit the current quota."""
    fatal: bool = False
    """Whether the stack cannot work with the quota."""

    def lines(self, partition: str, region: str, stage: str) -> list[str]:
        """Return the fault, its consequence and its remedy."""
        said = [f"{self.name}: {self.has:,.0f}, and {self.needs:,.0f} needed.", f"  {self.why}"]
        if self.raise_to is not None:
            said += [
                f"  Raise it to {self.raise_to:,.0f}{self._console(partition, region)}:",
                "    aws service-quotas request-service-quota-increase --region "
                f"{region} --service-code {self.service} --quota-code {self.code} "
                f"--desired-value {self.raise_to:.0f}",
            ]
        if self.parameters:
            begin = "Until then" if self.raise_to is not None else "With this quota"
            said.append(f'  {begin}: make deploy STAGE={stage} PARAMETERS="{self.parameters}"')
        return said

    def _console(self, partition: str, region: str) -> str:
        if partition not in _CONSOLES:
            return ""
        path = f"servicequotas/home/services/{self.service}/quotas/{self.code}"
        return f" at https://{region}.{_CONSOLES[partition]}/{path}"


class _UnknownQuotaError(Exception):
    """Service Quotas does not list a quota; the message names it."""


def shortfalls(
    session: boto3.Session, parameters: Mapping[str, str], tell: Callable[[str], None]
) -> list[Shortfall]:
    """Compare all quotas that a stack's parameters need with the account's.

    A quota that cannot be read, because of a missing permission or because the region has no
    Service Quotas, is reported to `tell` and counts as sufficient.
    """
    config = Config(connect_timeout=10, read_timeout=20, retries={"max_attempts": 3})
    quotas = session.client("service-quotas", config=config)
    looks: Mapping[str, Callable[[], Iterator[Shortfall]]] = {
        "Lambda's": lambda: _concurrency(session.client("lambda", config=config), parameters),
        "API Gateway's": lambda: _requests(_Quotas(quotas, "apigateway"), parameters),
        "Step Functions'": lambda: _executions(_Quotas(quotas, "states")),
    }
    found: list[Shortfall] = []
    for service, look in looks.items():
        try:
            found += look()
        except (BotoCoreError, ClientError, _UnknownQuotaError) as error:
            tell(f"{service} quotas were not compared: {str(error).rstrip('.: ')}.")
    return found


def _concurrency(client: Any, parameters: Mapping[str, str]) -> Iterator[Shortfall]:
    has = client.get_account_settings()["AccountLimit"]["UnreservedConcurrentExecutions"]
    dispatchers = int(parameters["DispatcherConcurrency"])
    calls = math.ceil(float(parameters["ApiRate"]) * CALL_SECONDS)
    needs = dispatchers + calls + WORKERS
    if has >= needs:
        return
    # Half of a small account's concurrency is for the API and the retries, which need it in a
    # burst.
    fitting = max(LEAST_DISPATCHERS, has // 2, has - calls - WORKERS)
    yield Shortfall(
        *_CONCURRENCY,
        has=has,
        needs=needs,
        why=(
            f"{dispatchers:,} for dispatchers (DispatcherConcurrency), {calls:,} for calls "
            f"(ApiRate), {WORKERS} for retries and jobs. All functions of the account share "
            "them: in a burst of events, calls to the API fail and retries are late."
        ),
        raise_to=max(DEFAULT_CONCURRENCY, needs),
        parameters=f"DispatcherConcurrency={fitting}" if fitting < dispatchers else "",
        fatal=has <= LEAST_DISPATCHERS,
    )


def _requests(quotas: _Quotas, parameters: Mapping[str, str]) -> Iterator[Shortfall]:
    rate, rate_quota = float(parameters["ApiRate"]), quotas.value(_RATE[1])
    if rate > rate_quota:
        yield Shortfall(
            *_RATE,
            has=rate_quota,
            needs=rate,
            why="All APIs of the account share them; ApiRate cannot be reached.",
            raise_to=rate,
            parameters=f"ApiRate={rate_quota:.0f}",
        )
    burst, burst_quota = float(parameters["ApiBurst"]), quotas.value(_BURST[1])
    if burst > burst_quota:
        yield Shortfall(
            *_BURST,
            has=burst_quota,
            needs=burst,
            why="All APIs of the account share them; ApiBurst cannot be reached. AWS derives it "
            "from the requests a second.",
            parameters=f"ApiBurst={burst_quota:.0f}",
        )


def _executions(quotas: _Quotas) -> Iterator[Shortfall]:
    """Compare with AWS's defaults in the region, because no parameter limits the retries.

    The quota of Express machines' starts has a name with the same beginning, and is compared too.
    """
    missing = []
    for operation, why in _OPERATIONS.items():
        rates = quotas.named(rf"{operation}\b.*refill rate")
        if not rates:
            missing.append(operation)
        for code, name, has, default in rates:
            if has < default:
                yield Shortfall(
                    "states",
                    code,
                    f"Step Functions, {name}",
                    has=has,
                    needs=default,
                    why=why.format(attempts=has / TRANSITIONS),
                    raise_to=default,
                )
    if missing:
        msg = f"Service Quotas does not list {' and '.join(missing)}"
        raise _UnknownQuotaError(msg)


class _Quotas:
    """A service's quotas in an account and region, with AWS's defaults."""

    def __init__(self, client: Any, service: str) -> None:
        self._service = service
        self._defaults = {
            quota["QuotaCode"]: quota
            for page in client.get_paginator("list_aws_default_service_quotas").paginate(
                ServiceCode=service
            )
            for quota in page.get("Quotas", [])
        }
        # A quota that never had another value than the default may be absent here.
        self._applied = {
            quota["QuotaCode"]: quota["Value"]
            for page in client.get_paginator("list_service_quotas").paginate(ServiceCode=service)
            for quota in page.get("Quotas", [])
        }

    def value(self, code: str) -> float:
        """Return the applied value of a quota. Raises _UnknownQuotaError."""
        if code not in self._defaults and code not in self._applied:
            msg = f"Service Quotas does not list {code} of {self._service}"
            raise _UnknownQuotaError(msg)
        return float(self._applied.get(code, self._defaults.get(code, {}).get("Value")))

    def named(self, pattern: str) -> list[tuple[str, str, float, float]]:
        """Return code, name, value and AWS's default of all quotas whose names match."""
        return [
            (code, quota["QuotaName"], self.value(code), float(quota["Value"]))
            for code, quota in self._defaults.items()
            if re.match(pattern, quota["QuotaName"], re.IGNORECASE)
        ]
