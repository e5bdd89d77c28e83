"""The deploying role may do CloudFormation's acts for the template, and nothing else."""

from __future__ import annotations

import ast
from fnmatch import fnmatchcase
from functools import cache
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore import xform_name

from local import template
from support.stack import ROOT
from unit.repository.deploying_role import (
    LONGEST,
    STACK,
    VALUES,
    characters,
    declared,
    documents,
    handlers,
    keys,
    known,
    resolved,
    statements,
    takes_resource,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PREFIX = STACK[:24]
MOST_CHARACTERS = 6144
"""Of a managed policy, without white space ("IAM and AWS STS quotas")."""

UNUSED: Mapping[str, Mapping[str, str]] = {
    "AWS::DynamoDB::Table": {
        "ContributorInsightsSpecification": "dynamodb:UpdateContributorInsights",
        "ImportSourceSpecification": "dynamodb:DescribeImport dynamodb:ImportTable "
        "logs:CreateLogStream logs:DescribeLogStreams logs:PutLogEvents s3:ListBucket",
        "KinesisStreamSpecification": "dynamodb:DisableKinesisStreamingDestination "
        "dynamodb:EnableKinesisStreamingDestination dynamodb:UpdateKinesisStreamingDestination "
        "kinesis:*",
        "ResourcePolicy": "dynamodb:DeleteResourcePolicy dynamodb:PutResourcePolicy",
        # A table with replicas is copied; these are of AWS::DynamoDB::GlobalTable.
        "Replicas": "dynamodb:*Replica dynamodb:*Item dynamodb:Query dynamodb:Scan "
        "iam:CreateServiceLinkedRole",
    },
    "AWS::IAM::Policy": {"Groups": "iam:*GroupPolicy", "Users": "iam:*UserPolicy"},
    "AWS::IAM::Role": {
        "ManagedPolicyArns": "iam:AttachRolePolicy iam:DetachRolePolicy",
        "PermissionsBoundary": "iam:*RolePermissionsBoundary",
    },
    "AWS::Lambda::Function": {
        "CapacityProviderConfig": "lambda:PassCapacityProvider",
        "CodeSigningConfigArn": "lambda:GetCodeSigningConfig "
        "lambda:DeleteFunctionCodeSigningConfig lambda:PutFunctionCodeSigningConfig",
        "FileSystemConfigs": "elasticfilesystem:* s3files:*",
        "FunctionScalingConfig": "lambda:PutFunctionScalingConfig",
        "KmsKeyArn": "kms:*",
        "PublishToLatestPublished": "lambda:PublishVersion",
        "RecursiveLoop": "lambda:PutFunctionRecursionConfig",
        "RuntimeManagementConfig": "lambda:PutRuntimeManagementConfig",
        "VpcConfig": "ec2:*",
    },
    "AWS::Logs::LogGroup": {
        "BearerTokenAuthenticationEnabled": "logs:PutBearerTokenAuthentication",
        "DataProtectionPolicy": "logs:PutDataProtectionPolicy firehose:TagDeliveryStream",
        "DeletionProtectionEnabled": "logs:PutLogGroupDeletionProtection",
        "FieldIndexPolicies": "logs:*IndexPolicy",
        "KmsKeyId": "logs:*KmsKey",
        "ResourcePolicyDocument": "logs:DeleteResourcePolicy",
    },
    "AWS::SES::ConfigurationSet": {
        f"{group}Options": f"ses:PutConfigurationSet{group}Options"
        for group in (
            *("Archiving", "Delivery", "Reputation", "Sending", "Suppression", "Tracking", "Vdm"),
        )
    },
    "AWS::SES::ConfigurationSetEventDestination": {"KinesisFirehoseDestination": "iam:PassRole"},
    "AWS::SNS::Topic": {
        "DataProtectionPolicy": "sns:PutDataProtectionPolicy",
        "DeliveryStatusLogging": "iam:*Role",
    },
    "AWS::StepFunctions::StateMachine": {"EncryptionConfiguration": "kms:*"},
    "AWS::Lambda::EventSourceMapping": {"KmsKeyArn": "kms:*"},
    "AWS::ApiGatewayV2::Api": {"BodyS3Location": "s3:*"},
    "AWS::ApiGatewayV2::DomainName": {"MutualTlsAuthentication": "s3:*"},
    "AWS::Events::Rule": {"RoleArn": "iam:PassRole"},
}
"""Actions that the schemas list for properties which no resource of the template has."""

BEYOND = {
    "cloudformation:*": "the SAM CLI",
    "s3:*": "SAM's bucket",
    "servicequotas:*": "make deploy, before the build",
    "lambda:GetAccountSettings": "make deploy, before the build",
    "logs:*LogDelivery": "API Gateway and Step Functions, as the role that makes them",
    "logs:ListLogDeliveries": "API Gateway and Step Functions, as the role that makes them",
    "kms:GenerateDataKey*": "DynamoDB, as the role that makes a table",
    "kms:ReEncrypt*": "DynamoDB, as the role that makes a table",
    "iam:CreateServiceLinkedRole": "API Gateway, with the first API of an account",
    "dynamodb:Query": "make destroy",
    "lambda:GetFunctionConcurrency": "make destroy, and make deploy before the build",
    "events:DisableRule": "make destroy and make rollback",
    "events:EnableRule": "make destroy and make rollback",
    "states:DescribeExecution": "make rollback",
    "states:ListExecutions": "make destroy",
    "states:StartExecution": "make rollback, which hands jobs over",
    "states:StopExecution": "make destroy and make rollback",
}
"""Further permissions of the deploying policies, and their users."""

OWN = {
    "AWS::ApiGatewayV2::Api": "apigateway:{region}::/apis/a1b2",
    "AWS::ApiGatewayV2::ApiMapping": "apigateway:{region}::/domainnames/a.example.com/apimappings",
    "AWS::ApiGatewayV2::DomainName": "apigateway:{region}::/domainnames",
    "AWS::ApiGatewayV2::Stage": "apigateway:{region}::/apis/a1b2/stages",
    "AWS::CloudWatch::Alarm": "cloudwatch:{region}:{account}:alarm:{name}",
    "AWS::CloudWatch::Dashboard": "cloudwatch::{account}:dashboard/{name}",
    "AWS::DynamoDB::Table": "dynamodb:{region}:{account}:table/{name}",
    "AWS::Events::Rule": "events:{region}:{account}:rule/{cut}",
    "AWS::IAM::Policy": "iam::{account}:role/{cut}",
    "AWS::IAM::Role": "iam::{account}:role/{cut}",
    "AWS::KMS::Alias": "kms:{region}:{account}:alias/{name}",
    "AWS::KMS::Key": "kms:{region}:{account}:key/0a1b-2c3d",
    "AWS::Lambda::EventInvokeConfig": "lambda:{region}:{account}:function:{cut}",
    "AWS::Lambda::EventSourceMapping": "lambda:{region}:{account}:event-source-mapping:0a1b",
    "AWS::Lambda::Function": "lambda:{region}:{account}:function:{cut}",
    "AWS::Lambda::LayerVersion": "lambda:{region}:{account}:layer:{name}:7",
    "AWS::Lambda::Permission": "lambda:{region}:{account}:function:{cut}",
    "AWS::Logs::LogGroup": "logs:{region}:{account}:log-group:{name}",
    "AWS::Logs::QueryDefinition": "logs:{region}:{account}:query-definition:0a1b",
    "AWS::Route53::RecordSet": "route53:::hostedzone/Z1",
    "AWS::SES::ConfigurationSet": "ses:{region}:{account}:configuration-set/{stack}",
    "AWS::SES::ConfigurationSetEventDestination": "ses:{region}:{account}:"
    "configuration-set/{stack}",
    "AWS::SNS::Topic": "sns:{region}:{account}:{name}",
    "AWS::SQS::Queue": "sqs:{region}:{account}:{cut}",
    "AWS::SQS::QueuePolicy": "sqs:{region}:{account}:{cut}",
    "AWS::StepFunctions::StateMachine": "states:{region}:{account}:stateMachine:{name}",
}
"""ARNs of the stack's resources: `cut` is a name of CloudFormation's, of up to 64 or 80."""

OTHERS = {
    "iam": "iam::{account}:role/{cut}",
    "kms": "kms:{region}:{account}:key/0a1b-2c3d",
    "lambda": "lambda:{region}:{account}:function:{cut}",
    "logs": "logs:{region}:{account}:log-group:{name}",
    "route53": "route53:::hostedzone/Z1",
    "s3": "s3:::aws-sam-cli-managed-default-samclisourcebucket-0a1b/0a1b.template",
}
"""The ARNs of a service's action on another service's resource."""

NAMES = ("LogGroupName", "LayerName", "Name", "AliasName", "DashboardName", "StateMachineName")
STAR = {"route53:GetChange", "lambda:CreateEventSourceMapping"}
"""A change of Route 53 has an ARN that is unknown before; a mapping is made with a condition."""


@cache
def resources() -> Mapping[str, dict[str, Any]]:
    """Return all resources of the template, under all conditions."""
    found: dict[str, dict[str, Any]] = template.load()["Resources"]
    return found


def types() -> list[str]:
    return sorted({resource["Type"] for resource in resources().values()})


def deploying() -> list[Any]:
    return [one for one in statements() if one.policy != "OperatingPolicy"]


def unused(resource_type: str, action: str) -> bool:
    return any(
        fnmatchcase(action, pattern)
        for patterns in UNUSED.get(resource_type, {}).values()
        for pattern in patterns.split()
    )


def needed(resource_type: str) -> list[str]:
    return sorted(
        action
        for action in handlers(resource_type)
        if known(action) and not unused(resource_type, action)
    )


def name_of(logical_id: str, properties: Mapping[str, Any]) -> str:
    """Return the name that the template gives a resource, or CloudFormation's."""
    for key in NAMES:
        match properties.get(key):
            case {"Fn::Sub": str(text)}:
                return text.replace("${AWS::StackName}", STACK).removeprefix("alias/")
            case {"Ref": "AWS::StackName"}:
                return STACK
            case str(text):
                return text
    return f"{STACK}-{logical_id}-1GRP3N0TVA1LD"


def arns(resource_type: str, action: str) -> Iterator[str]:
    """Yield the ARNs on which the stack's resources of a type need an action."""
    service = action.partition(":")[0]
    pattern = OWN[resource_type]
    if not pattern.startswith(f"{service}:"):
        pattern = OTHERS[service]
    if action == "lambda:GetLayerVersion":
        pattern = "lambda:{region}:{account}:layer:CoreLayer:7"
    region, account = VALUES["AWS::Region"], VALUES["AWS::AccountId"]
    for logical_id, resource in resources().items():
        if resource["Type"] == resource_type:
            cut = f"{PREFIX}-{logical_id[:24]}-1GRP3N0TVA1LD"
            name = name_of(logical_id, resource.get("Properties", {}))
            arn = pattern.format(region=region, account=account, name=name, cut=cut, stack=STACK)
            yield f"arn:{VALUES['AWS::Partition']}:{arn}"


@pytest.mark.parametrize("resource_type", types())
def test_every_action_of_cloudformations_schemas_is_allowed(resource_type: str) -> None:
    missing = [
        (action, arn)
        for action in needed(resource_type)
        for arn in (
            arns(resource_type, action) if takes_resource(action) and action not in STAR else "*"
        )
        if not any(one.allows(action, arn) for one in deploying())
    ]
    assert missing == []


def test_the_schemas_are_those_of_cloudformation() -> None:
    assert {"sqs:CreateQueue", "sqs:DeleteQueue", "sqs:TagQueue"} <= handlers("AWS::SQS::Queue")
    assert len(types()) == len(OWN)
    assert all(handlers(resource_type) for resource_type in types())


@pytest.mark.parametrize("resource_type", sorted(UNUSED))
def test_what_is_left_out_is_of_properties_that_the_template_does_not_have(
    resource_type: str,
) -> None:
    of_type = [one for one in resources().values() if one["Type"] == resource_type]
    assert of_type
    present = {key for one in of_type for key in keys(one.get("Properties", {}))}
    assert present & {*UNUSED[resource_type]} == set()
    listed = handlers(resource_type)
    for patterns in UNUSED[resource_type].values():
        for pattern in patterns.split():
            assert any(fnmatchcase(action, pattern) for action in listed), pattern


def test_nothing_is_allowed_that_nobody_needs() -> None:
    needs = {action.lower() for one in types() for action in needed(one)}
    stale = {
        action
        for one in deploying()
        for action in one.actions
        if action.lower() not in needs
        and not any(fnmatchcase(action, pattern) for pattern in BEYOND)
    }
    assert stale == set()
    for pattern, reader in BEYOND.items():
        assert any(fnmatchcase(action, pattern) for one in deploying() for action in one.actions), (
            reader
        )


@pytest.mark.parametrize("policy", documents())
def test_a_policy_is_within_iams_size_for_the_longest_names(policy: str) -> None:
    assert characters(documents(LONGEST)[policy]) <= MOST_CHARACTERS


def test_roles_are_passed_to_the_services_that_take_them_and_to_no_other() -> None:
    [passing] = [one for one in deploying() if "iam:PassRole" in one.actions]
    services = {
        service
        for resource in resources().values()
        if resource["Type"] == "AWS::IAM::Role"
        for one in resource["Properties"]["AssumeRolePolicyDocument"]["Statement"]
        for service in [one["Principal"]["Service"]]
    }
    assert {*passing.conditions["StringEquals"]["iam:PassedToService"]} == services
    assert passing.resources == (f"arn:aws-cn:iam::123456789012:role/{PREFIX}*",)


def test_logs_are_delivered_by_the_actions_that_the_machines_own_role_has() -> None:
    [delivering] = [
        one
        for policy in resources()["RetryStateMachineRole"]["Properties"]["Policies"]
        for one in policy["PolicyDocument"]["Statement"]
        if "logs:CreateLogDelivery" in one.get("Action", [])
    ]
    for action in delivering["Action"]:
        assert any(one.allows(action, "*") for one in deploying()), action


def test_the_template_is_transformed_by_the_macro_that_is_allowed() -> None:
    macro = template.read()["Transform"]
    service, version = macro.removeprefix("AWS::").split("-", 1)
    [transform] = [one for one in statements() if one.sid == "Transform"]
    assert transform.resources == (
        f"arn:aws-cn:cloudformation:cn-north-1:aws:transform/{service}-{version}",
    )


def test_keys_are_used_through_dynamodb_and_deleted_by_the_stacks_own_tag() -> None:
    by_sid = {one.sid: one for one in statements()}
    for sid in ("TheirKey", "Encrypted"):
        [(operator, condition)] = by_sid[sid].conditions.items()
        assert (operator, [*condition]) == ("StringLike", ["kms:ViaService"])
        assert fnmatchcase("dynamodb.cn-north-1.amazonaws.com", condition["kms:ViaService"])
    assert "kms:CreateGrant" in by_sid["TheirKey"].actions
    tag = by_sid["KeyDeletion"].conditions["StringEquals"]
    samconfig = (ROOT / "samconfig.toml").read_text(encoding="utf-8")
    assert f'"project={tag["aws:ResourceTag/project"]}"' in samconfig


COMMANDS = (
    *("deployment", "preflight", "rollback"),
    *("api_key", "ses_account", "redrive", "rejected"),
)
SERVICES = {
    "cloudformation": "cloudformation",
    "dynamodb": "dynamodb",
    "events": "events",
    "lambda": "lambda",
    "service-quotas": "servicequotas",
    "sqs": "sqs",
    "stepfunctions": "states",
}


def modules() -> set[str]:
    """Return the modules of `ops` behind the commands on a deployed stack."""
    left, found = [*COMMANDS], set[str]()
    while left:
        name = left.pop()
        if name not in found and (ROOT / "ops" / f"{name}.py").exists():
            found.add(name)
            left += imported(name)
    return found


def parsed(name: str) -> ast.Module:
    return ast.parse((ROOT / "ops" / f"{name}.py").read_text(encoding="utf-8"))


def imported(name: str) -> Iterator[str]:
    for node in ast.walk(parsed(name)):
        if isinstance(node, ast.ImportFrom) and node.module == "ops":
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and str(node.module).startswith("ops."):
            yield str(node.module).split(".")[1]


def called(name: str) -> Iterator[str]:
    """Yield the names of calls to boto3's clients, and of all other calls."""
    for node in ast.walk(parsed(name)):
        match node:
            case ast.Call(func=ast.Attribute(attr="get_paginator"), args=[ast.Constant(value=v)]):
                yield str(v)
            case ast.Call(func=ast.Attribute(attr=attribute)):
                yield attribute


def test_the_commands_may_make_every_call_that_they_make() -> None:
    operations: dict[str, set[str]] = {}
    for service, prefix in SERVICES.items():
        client = boto3.client(service, region_name="us-east-1")  # type: ignore[call-overload]
        for operation in client.meta.service_model.operation_names:
            operations.setdefault(xform_name(operation), set()).add(f"{prefix}:{operation}")
    calls = {call for name in modules() for call in called(name)} & {*operations}
    assert {"describe_stacks", "get_account_settings", "start_message_move_task"} <= calls
    allowed = {action for one in statements() for action in one.actions}
    refused = [
        call
        for call in sorted(calls)
        # A batch needs the permission of one.
        if not {action.removesuffix("Batch") for action in operations[call]} & allowed
    ]
    assert refused == []


def test_github_is_trusted_for_one_environment_of_one_repository() -> None:
    role = resolved(declared()["Resources"]["GitHubRole"]["Properties"], VALUES)
    [trust] = role["AssumeRolePolicyDocument"]["Statement"]
    assert trust["Condition"] == {
        "StringEquals": {
            "token.actions.githubusercontent.com:aud": "sts.amazonaws.com",
            "token.actions.githubusercontent.com:sub": "repo:acme/webhooks:environment:dev",
        }
    }
    assert [one["Ref"] for one in role["ManagedPolicyArns"]] == [*documents()]
