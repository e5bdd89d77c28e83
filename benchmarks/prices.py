"""AWS's list prices for us-east-1 on arm64: the first tier, without any free share."""

from __future__ import annotations

from typing import NamedTuple

REGION = "us-east-1"
AS_OF = "2025"
"""The year of these prices. They change now and then: check the pages before quoting a bill."""


class Price(NamedTuple):
    """Dollars for one unit, and the page with the price."""

    dollars: float
    page: str


_DYNAMODB = "aws.amazon.com/dynamodb/pricing/on-demand"
_LAMBDA = "aws.amazon.com/lambda/pricing"

PRICES = {
    "write unit": Price(0.625e-6, _DYNAMODB),
    "read unit": Price(0.125e-6, _DYNAMODB),
    "SQS request": Price(0.40e-6, "aws.amazon.com/sqs/pricing"),
    "SQS request with a group": Price(0.10e-6, "aws.amazon.com/sqs/pricing"),
    "state transition": Price(25e-6, "aws.amazon.com/step-functions/pricing"),
    "Express execution": Price(1e-6, "aws.amazon.com/step-functions/pricing"),
    "Express GB-hour, first 1,000": Price(0.06, "aws.amazon.com/step-functions/pricing"),
    "Express GB-hour, next 4,000": Price(0.03, "aws.amazon.com/step-functions/pricing"),
    "Express GB-hour, from 5,000": Price(0.01642, "aws.amazon.com/step-functions/pricing"),
    "EventBridge event": Price(1e-6, "aws.amazon.com/eventbridge/pricing"),
    "invocation": Price(0.20e-6, _LAMBDA),
    "GB-millisecond": Price(0.0133334e-6, _LAMBDA),
    "log byte": Price(0.50e-9, "aws.amazon.com/cloudwatch/pricing"),
    "alarm metric": Price(0.10, "aws.amazon.com/cloudwatch/pricing"),
    "custom metric": Price(0.30, "aws.amazon.com/cloudwatch/pricing"),
    "dashboard": Price(3.00, "aws.amazon.com/cloudwatch/pricing"),
    "KMS key": Price(1.00, "aws.amazon.com/kms/pricing"),
    "KMS request": Price(3e-6, "aws.amazon.com/kms/pricing"),
    "byte to the internet": Price(0.09e-9, "aws.amazon.com/ec2/pricing/on-demand"),
    "GB-month stored": Price(0.25, _DYNAMODB),
    "GB-month recoverable": Price(0.20, _DYNAMODB),
}

CPU_MEMORY_MB = 1769
"""The memory at which a function has one whole virtual CPU; less memory gives a share of it
("Configure Lambda function memory" in AWS's developer guide).
"""


def dollars(unit: str, count: float) -> float:
    """Return the dollars of this many units."""
    return PRICES[unit].dollars * count


def lambda_dollars(memory_mb: int, milliseconds: float) -> float:
    """Return the dollars of a function's time with this memory, without its invocations."""
    return dollars("GB-millisecond", milliseconds * memory_mb / 1024)


def billed_milliseconds(cpu_milliseconds: float, memory_mb: int) -> float:
    """Return the milliseconds that this work on a whole CPU takes with the memory's share."""
    return cpu_milliseconds * max(1.0, CPU_MEMORY_MB / memory_mb)
