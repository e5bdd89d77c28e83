"""An account's quotas against a stack's parameters: the shortfalls, and their remedy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from benchmarks import machines
from local import template
from ops.quotas import CALL_SECONDS, DEFAULT_CONCURRENCY, TRANSITIONS, WORKERS, shortfalls

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ops.quotas import Shortfall

STARTS = "StartExecution throttle token refill rate per second"
EXPRESS_STARTS = "StartExecution throttle token refill rate per second for Express"
TRANSITION = "StateTransition throttle token refill rate per second"
DEFAULTS = {
    "apigateway": {"L-8A5B8E43": ("Throttle rate", 10_000), "L-CDF5615A": ("Throttle burst", 5000)},
    "states": {
        "L-1": (STARTS, 150),
        "L-2": ("StartExecution throttle token bucket size", 800),
        "L-3": (TRANSITION, 800),
        "L-4": (EXPRESS_STARTS, 6000),
        "L-5": ("StopExecution throttle token refill rate per second", 25),
    },
}


class Account:
    """An AWS account's answers about quotas, in botocore's shapes; it stands for a session too.

    `test_the_fake_speaks_as_aws_does` holds the shapes against botocore's models.
    """

    def __init__(
        self,
        concurrency: int = 1000,
        applied: Mapping[str, float] | None = None,
        defaults: Mapping[str, Mapping[str, tuple[str, float]]] = DEFAULTS,
        refuses: Mapping[str, Exception] | None = None,
    ) -> None:
        self.concurrency = concurrency
        self.applied = applied or {}
        self.defaults = defaults
        self.refuses = refuses or {}

    def client(self, _service: str, **_options: Any) -> Account:
        return self

    def _refuse(self, operation: str) -> None:
        if operation in self.refuses:
            raise self.refuses[operation]

    def get_account_settings(self) -> dict[str, Any]:
        self._refuse("get_account_settings")
        limit = {"ConcurrentExecutions": 1000, "UnreservedConcurrentExecutions": self.concurrency}
        return {"AccountLimit": limit, "AccountUsage": {"FunctionCount": 3}}

    def get_paginator(self, operation: str) -> _Paginator:
        self._refuse(operation)
        return _Paginator(self, operation)


class _Paginator:
    def __init__(self, account: Account, operation: str) -> None:
        self._account = account
        self._operation = operation

    def paginate(self, ServiceCode: str) -> Iterator[dict[str, Any]]:
        applied = self._account.applied
        for code, (name, default) in self._account.defaults[ServiceCode].items():
            quota = {"QuotaCode": code, "QuotaName": name, "Value": float(default)}
            if self._operation == "list_aws_default_service_quotas":
                yield {"Quotas": [quota]}
            elif code in applied:
                yield {"Quotas": [quota | {"Value": float(applied[code])}]}


def parameters(**named: str) -> dict[str, str]:
    declared = template.read()["Parameters"]
    return {name: str(one["Default"]) for name, one in declared.items()} | named


def compared(account: Account, **named: str) -> tuple[list[Shortfall], list[str]]:
    told: list[str] = []
    return shortfalls(account, parameters(**named), told.append), told  # type: ignore[arg-type]


def test_an_account_with_awss_defaults_has_nothing_too_small() -> None:
    assert compared(Account()) == ([], [])


def test_a_new_accounts_concurrency_leaves_the_api_half_of_it() -> None:
    [found], told = compared(Account(concurrency=10))
    assert told == []
    calls = round(int(parameters()["ApiRate"]) * CALL_SECONDS)
    assert (found.has, found.needs) == (10, 50 + calls + WORKERS)
    assert (found.raise_to, found.parameters) == (DEFAULT_CONCURRENCY, "DispatcherConcurrency=5")
    assert not found.fatal


@pytest.mark.parametrize(
    ("concurrency", "fitting"), [(3, "2"), (10, "5"), (40, "20"), (60, "40"), (69, "49")]
)
def test_what_fits_is_within_the_template_and_leaves_room(concurrency: int, fitting: str) -> None:
    [found], _ = compared(Account(concurrency=concurrency))
    assert found.parameters == f"DispatcherConcurrency={fitting}"
    assert int(fitting) >= template.read()["Parameters"]["DispatcherConcurrency"]["MinValue"]
    assert int(fitting) < concurrency


def test_dispatchers_that_fit_already_are_left_as_they_are() -> None:
    [found], _ = compared(Account(concurrency=10), DispatcherConcurrency="5")
    assert found.parameters == ""
    assert found.raise_to == DEFAULT_CONCURRENCY
    assert not compared(Account(concurrency=70))[0]


def test_more_dispatchers_than_awss_default_have_their_own_number() -> None:
    [found], _ = compared(Account(), DispatcherConcurrency="1000")
    assert found.raise_to == found.needs == 1020
    assert found.parameters == "DispatcherConcurrency=980"


def test_an_account_without_room_for_a_call_cannot_have_the_stack() -> None:
    [found], _ = compared(Account(concurrency=2))
    assert found.fatal


def test_a_rate_above_the_regions_is_named_with_the_one_that_fits() -> None:
    account = Account(applied={"L-8A5B8E43": 2500, "L-CDF5615A": 1250})
    assert compared(account) == ([], [])
    rate, burst = compared(account, ApiRate="4000", ApiBurst="2000", DispatcherConcurrency="2")[0][
        -2:
    ]
    assert (rate.has, rate.raise_to, rate.parameters) == (2500, 4000, "ApiRate=2500")
    # AWS raises no burst.
    assert (burst.has, burst.raise_to, burst.parameters) == (1250, None, "ApiBurst=1250")


def test_step_functions_are_compared_with_awss_defaults_in_the_region() -> None:
    found, told = compared(Account(applied={"L-1": 100, "L-2": 1, "L-3": 90, "L-4": 50, "L-5": 1}))
    assert told == []
    # Bucket sizes and calls that the stack does not make are left out.
    assert [(one.code, one.has, one.raise_to) for one in found] == [
        ("L-1", 100, 150),
        ("L-4", 50, 6000),
        ("L-3", 90, 800),
    ]
    assert "30 later attempts" in found[-1].why


def test_a_later_attempt_makes_the_transitions_that_are_said() -> None:
    machine = machines.definition("retry")
    once, twice = (
        machines.states_entered(machine, [*again, "done"]) for again in (["wait"], ["wait"] * 2)
    )
    assert len(twice) - len(once) == TRANSITIONS


@pytest.mark.parametrize(
    "refusal",
    [
        ClientError({"Error": {"Code": "AccessDeniedException", "Message": "not allowed."}}, "X"),
        EndpointConnectionError(endpoint_url="https://servicequotas.example.com"),
    ],
)
def test_quotas_that_cannot_be_looked_at_are_named_and_the_rest_is_compared(
    refusal: Exception,
) -> None:
    listing = {"list_service_quotas": refusal}
    [found], told = compared(Account(concurrency=10, refuses=listing))
    assert found.service == "lambda"
    assert [line.split(" quotas were not compared: ")[0] for line in told] == [
        "API Gateway's",
        "Step Functions'",
    ]
    assert not any(line.endswith("..") for line in told)
    found_without_lambda, told = compared(Account(refuses={"get_account_settings": refusal}))
    assert (found_without_lambda, len(told)) == ([], 1)


def test_a_quota_that_has_another_name_is_not_taken_for_sufficient_in_silence() -> None:
    states = {"L-1": (STARTS, 150), "L-3": ("Transitions", 800)}
    account = Account(applied={"L-1": 100}, defaults=DEFAULTS | {"states": states})
    found, told = compared(account)
    assert told == [
        "Step Functions' quotas were not compared: Service Quotas does not list StateTransition."
    ]
    assert [one.code for one in found] == ["L-1"]
    _, told = compared(Account(defaults=DEFAULTS | {"apigateway": {}}))
    assert "L-8A5B8E43" in told[0]


def lines(partition: str, region: str, account: Account, **named: str) -> str:
    [found] = compared(account, **named)[0]
    return "\n".join(found.lines(partition, region, "prod"))


def test_it_says_what_to_raise_to_what_and_where() -> None:
    text = lines("aws", "eu-central-1", Account(concurrency=10))
    assert text.startswith("Lambda, concurrent executions: 10, and 70 needed.\n")
    assert (
        "Raise it to 1,000 at https://eu-central-1.console.aws.amazon.com/servicequotas/home/"
        "services/lambda/quotas/L-B99A9384:" in text
    )
    assert (
        "aws service-quotas request-service-quota-increase --region eu-central-1"
        " --service-code lambda --quota-code L-B99A9384 --desired-value 1000\n" in text
    )
    assert text.endswith(
        '  Until then: make deploy STAGE=prod PARAMETERS="DispatcherConcurrency=5"'
    )


@pytest.mark.parametrize(
    ("partition", "region", "console"),
    [
        ("aws-cn", "cn-north-1", " at https://cn-north-1.console.amazonaws.cn/"),
        ("aws-us-gov", "us-gov-west-1", " at https://us-gov-west-1.console.amazonaws-us-gov.com/"),
        ("aws-iso", "us-iso-east-1", "Raise it to 1,000:"),
    ],
)
def test_each_partition_has_a_console_of_its_own(partition: str, region: str, console: str) -> None:
    text = lines(partition, region, Account(concurrency=10))
    assert console in text
    assert "amazon.com" not in text


def test_a_quota_that_aws_never_raises_has_no_request() -> None:
    text = lines("aws", "eu-south-1", Account(applied={"L-CDF5615A": 1250}), ApiBurst="2000")
    assert "request-service-quota-increase" not in text
    assert text.endswith('  With this quota: make deploy STAGE=prod PARAMETERS="ApiBurst=1250"')


def test_the_fake_speaks_as_aws_does() -> None:
    def output(service: str, operation: str) -> Any:
        client = boto3.client(service, region_name="us-east-1")  # type: ignore[call-overload]
        return client.meta.service_model.operation_model(operation).output_shape

    limit = output("lambda", "GetAccountSettings").members["AccountLimit"].members
    assert {*Account().get_account_settings()["AccountLimit"]} <= {*limit}
    for operation in ("ListServiceQuotas", "ListAWSDefaultServiceQuotas"):
        quota = output("service-quotas", operation).members["Quotas"].member.members
        assert {"QuotaCode", "QuotaName", "Value"} <= {*quota}
    client = boto3.client("service-quotas", region_name="us-east-1")
    assert client.can_paginate("list_service_quotas")
    assert client.can_paginate("list_aws_default_service_quotas")


def test_no_function_takes_more_memory_than_a_new_account_has() -> None:
    # "Lambda quotas": new accounts have reduced memory too, 3,008 MB.
    functions = template.of_type(template.load(), "AWS::Lambda::Function").values()
    assert max(function["Properties"]["MemorySize"] for function in functions) <= 3008
    assert not [one for one in functions if "ReservedConcurrentExecutions" in one["Properties"]]
