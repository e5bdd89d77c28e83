"""The template's connection with Amazon SES, which only a parameter makes."""

from __future__ import annotations

import re

import pytest

from support.translated_template import every_allowed_statement, properties, translated

SES_DETAIL_TYPES = {
    "send": "Email Sent",
    "delivery": "Email Delivered",
    "bounce": "Email Bounced",
    "complaint": "Email Complaint Received",
    "open": "Email Opened",
    "click": "Email Clicked",
    "deliveryDelay": "Email Delivery Delayed",
    "reject": "Email Rejected",
    "renderingFailure": "Email Rendering Failed",
    "subscription": "Email Subscribed",
}
"""The types' names in an event destination, and their names on EventBridge (AWS's guides)."""


def test_ses_is_connected_only_where_that_was_asked_for() -> None:
    names = ("SesConfigurationSet", "SesEventDestination", "SesRule")
    conditions = {translated()["Resources"][name]["Condition"] for name in names}
    conditions.add(translated()["Outputs"]["SesConfigurationSetName"]["Condition"])

    assert conditions == {"ConnectsSes"}
    assert translated()["Conditions"]["ConnectsSes"] == {
        "Fn::Equals": [{"Ref": "ConnectSes"}, "true"]
    }
    assert translated()["Parameters"]["ConnectSes"]["Default"] == "false"


def test_ses_publishes_every_type_and_the_rule_takes_each_of_them() -> None:
    destination = properties("SesEventDestination")
    assert destination["ConfigurationSetName"] == {"Ref": "SesConfigurationSet"}
    published = destination["EventDestination"]
    assert published["Enabled"] is True
    assert set(published["MatchingEventTypes"]) == set(SES_DETAIL_TYPES)
    bus = published["EventBridgeDestination"]["EventBusArn"]["Fn::Sub"]
    assert bus.endswith(":event-bus/default")
    rule = properties("SesRule")
    assert rule["EventPattern"]["source"] == ["aws.ses"]
    assert set(rule["EventPattern"]["detail-type"]) == set(SES_DETAIL_TYPES.values())
    assert "EventBusName" not in rule


@pytest.mark.parametrize("text", ["", "X-Order-Id", "X-Order-Id,List-Id", ",".join(["A"] * 20)])
def test_the_pattern_of_headers_takes_names(text: str) -> None:
    pattern = translated()["Parameters"]["SesHeaders"]["AllowedPattern"]
    assert re.fullmatch(pattern, text)


@pytest.mark.parametrize("text", ["X Order", "X:Order", ",", "A,", "A, B", "É", ",".join("A" * 21)])
def test_the_pattern_of_headers_takes_nothing_else(text: str) -> None:
    pattern = translated()["Parameters"]["SesHeaders"]["AllowedPattern"]
    assert not re.fullmatch(pattern, text)


def test_the_rule_for_ses_goes_by_the_configuration_sets_of_this_stack() -> None:
    assert properties("SesConfigurationSet")["Name"] == {"Ref": "AWS::StackName"}
    own, others = properties("SesRule")["EventPattern"]["resources"]

    assert own["Fn::Sub"].endswith(":configuration-set/${AWS::StackName}")
    # Without the underscore the stack `mail` would receive messages for the stack `mail-dev`.
    assert others == {"prefix": {"Fn::Sub": own["Fn::Sub"] + "_"}}


def test_what_the_rule_for_ses_cannot_send_waits_with_the_rejected_events() -> None:
    [target] = properties("SesRule")["Targets"]
    assert target["Arn"] == {"Fn::GetAtt": ["EventsQueue", "Arn"]}
    assert target["DeadLetterConfig"] == {"Arn": {"Fn::GetAtt": ["EventsDeadLetterQueue", "Arn"]}}
    allowed = {statement["Sid"]: statement for _, statement in every_allowed_statement()}
    statement = allowed["SesRuleDeadLetters"]

    assert statement["Principal"] == {"Service": "events.amazonaws.com"}
    assert statement["Action"] == "sqs:SendMessage"
    assert statement["Resource"] == {"Fn::GetAtt": ["EventsDeadLetterQueue", "Arn"]}
    assert statement["Condition"] == {
        "ArnEquals": {"aws:SourceArn": {"Fn::GetAtt": ["SesRule", "Arn"]}}
    }


def test_only_the_stacks_own_rule_may_publish_where_ses_is_connected() -> None:
    allowed = {statement["Sid"]: statement for _, statement in every_allowed_statement()}
    statement = allowed["PublishSesEvents"]
    condition, services, otherwise = statement["Principal"]["Service"]["Fn::If"]
    assert (condition, services) == ("ConnectsSes", ["events.amazonaws.com"])
    assert otherwise == ["sns.amazonaws.com", "events.amazonaws.com"]
    condition, sources, otherwise = statement["Condition"]["ArnLike"]["aws:SourceArn"]["Fn::If"]

    assert (condition, sources) == ("ConnectsSes", [{"Fn::GetAtt": ["SesRule", "Arn"]}])
    assert all(":${AWS::AccountId}:" in source["Fn::Sub"] for source in otherwise)
