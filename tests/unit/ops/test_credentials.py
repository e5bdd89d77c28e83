"""The account's identity: the message of a deployment where AWS does not know the caller."""

from __future__ import annotations

from typing import Any

import botocore.client
import pytest
from botocore.exceptions import (
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    SSOTokenLoadError,
    TokenRetrievalError,
)
from moto import mock_aws

from ops.credentials import Caller, CredentialsError, caller

REGION = "eu-central-1"


@pytest.fixture(autouse=True)
def signed_in(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/dev/null")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)


@mock_aws
def test_the_caller_has_an_account_a_region_and_a_partition() -> None:
    who = caller()
    assert (who.account, who.region, who.partition) == ("123456789012", REGION, "aws")
    china = Caller("1", "arn:aws-cn:sts::1:assumed-role/deployer/me", "cn-north-1")
    assert china.partition == "aws-cn"


def test_without_a_region_it_says_where_to_set_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    with pytest.raises(CredentialsError, match="no region is set: export AWS_DEFAULT_REGION"):
        caller()


def test_without_credentials_it_says_how_to_sign_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(CredentialsError, match=r"no AWS credentials .*aws sso login"):
        caller()
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with pytest.raises(CredentialsError, match=r"no AWS credentials .*aws sso login"):
        caller()
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(CredentialsError, match=r"profile \(nobody\)"):
        caller()


def refused(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "in AWS's words"}}, "GetCallerIdentity")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (refused("ExpiredToken"), "have expired: sign in"),
        (refused("ExpiredTokenException"), "have expired: sign in"),
        (SSOTokenLoadError(profile_name="x", error_msg="x"), "have expired: sign in"),
        (TokenRetrievalError(provider="sso", error_msg="x"), "have expired: sign in"),
        (refused("InvalidClientTokenId"), f"refuses the credentials in {REGION} .*enabled this"),
        (refused("SignatureDoesNotMatch"), "refuses the credentials in .*AWS_PROFILE"),
        (EndpointConnectionError(endpoint_url="x"), f"cannot be reached in {REGION}: check"),
        (ConnectTimeoutError(endpoint_url="x"), f"cannot be reached in {REGION}: check"),
        (refused("InternalFailure"), "cannot identify .*in AWS's words"),
    ],
)
def test_each_refusal_says_what_to_do(
    error: Exception, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_call: Any) -> None:
        raise error

    monkeypatch.setattr(botocore.client.BaseClient, "_make_api_call", refuse)
    with pytest.raises(CredentialsError, match=told):
        caller()
