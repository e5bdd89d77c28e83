"""The AWS account and the region that a command would change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import boto3
from botocore import exceptions
from botocore.config import Config

if TYPE_CHECKING:
    from typing import NoReturn

_MISSING = (
    exceptions.NoCredentialsError,
    exceptions.PartialCredentialsError,
    exceptions.CredentialRetrievalError,
    exceptions.ProfileNotFound,
)
_SIGNED_OUT = (exceptions.SSOError, exceptions.TokenRetrievalError)
_UNREACHABLE = (exceptions.ConnectionError, exceptions.HTTPClientError)

_EXPIRED_CODES = {"ExpiredToken", "ExpiredTokenException", "RequestExpired"}
_REFUSED_CODES = {
    "AuthFailure",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}

_SIGN_IN = (
    "sign in with `aws sso login` or `aws configure`, or export AWS_ACCESS_KEY_ID, "
    "AWS_SECRET_ACCESS_KEY and, for temporary ones, AWS_SESSION_TOKEN"
)


class CredentialsError(Exception):
    """AWS does not accept the caller's credentials; the message says what to do."""


@dataclass(frozen=True)
class Caller:
    """The caller's identity according to AWS."""

    account: str
    """Twelve digits."""
    arn: str
    region: str

    @property
    def partition(self) -> str:
        """The group of regions that share ARNs and consoles: `aws`, `aws-cn`, `aws-us-gov`."""
        return self.arn.split(":")[1]


def caller() -> Caller:
    """Return the caller's identity, asked of AWS. Raises CredentialsError.

    Valid credentials suffice: GetCallerIdentity needs no permission.
    """
    region = ""
    try:
        session = boto3.Session()
        region = session.region_name or ""
        if not region:
            msg = (
                "no region is set: export AWS_DEFAULT_REGION, for example eu-central-1, "
                "or run `aws configure set region eu-central-1`"
            )
            raise CredentialsError(msg)
        identity = session.client("sts", config=Config(connect_timeout=10)).get_caller_identity()
    except (exceptions.BotoCoreError, exceptions.ClientError) as error:
        _explain(error, region)
    return Caller(identity["Account"], identity["Arn"], region)


def _explain(error: exceptions.BotoCoreError | exceptions.ClientError, region: str) -> NoReturn:
    code = str(error.response["Error"]["Code"]) if isinstance(error, exceptions.ClientError) else ""
    if isinstance(error, _MISSING):
        msg = f"there are no AWS credentials ({error}): {_SIGN_IN}"
    elif isinstance(error, _SIGNED_OUT) or code in _EXPIRED_CODES:
        msg = f"the AWS credentials have expired: {_SIGN_IN}"
    elif code in _REFUSED_CODES:
        msg = (
            f"AWS refuses the credentials in {region} ({code}): check AWS_PROFILE and "
            "AWS_ACCESS_KEY_ID, and that the account has enabled this region"
        )
    elif isinstance(error, _UNREACHABLE):
        msg = f"AWS cannot be reached in {region}: check the region's name, and the network"
    else:
        msg = f"AWS cannot identify the credentials: {error}"
    raise CredentialsError(msg) from error
