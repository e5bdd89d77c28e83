"""The parameters that make alarms and their topic, and the recipients of the alarms."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from local import template
from support.stack import ROOT
from support.translated_template import of_type, translated

TOPIC = "arn:aws:sns:eu-west-1:123456789012:operations"
EMAIL = "ops@example.com"
ALARM_TYPES = {"AWS::CloudWatch::Alarm", "AWS::SNS::Topic"}


def made(**parameters: str) -> dict[str, dict[str, Any]]:
    """Return the alarms and topics of a stack with these parameters."""
    resources = template.existing(template.load(parameters=parameters))["Resources"]
    return {name: one for name, one in resources.items() if one["Type"] in ALARM_TYPES}


def test_alarms_and_their_topic_exist_without_an_address() -> None:
    alarms = set(of_type("AWS::CloudWatch::Alarm")) - {"UndeliveredOperationalEventsAlarm"}
    assert set(made()) == {*alarms, "AlarmTopic"}


def test_the_alarm_of_a_topic_for_operational_events_exists_with_that_topic() -> None:
    both = set(made(OperationalEventsTopicArn=TOPIC))
    assert both - set(made()) == {"UndeliveredOperationalEventsAlarm"}


def test_ones_own_topic_takes_the_place_of_the_stacks() -> None:
    assert set(made()) - set(made(AlarmTopicArn=TOPIC)) == {"AlarmTopic"}


@pytest.mark.parametrize("topic", ["", TOPIC])
def test_alarms_can_be_left_out_all_of_them(topic: str) -> None:
    assert made(Alarms="false", OperationalEventsTopicArn=topic) == {}


def test_only_an_address_is_subscribed() -> None:
    [topic] = of_type("AWS::SNS::Topic").values()
    assert topic["Subscription"] == {
        "Fn::If": [
            "HasAlarmEmail",
            [{"Protocol": "email", "Endpoint": {"Ref": "AlarmEmail"}}],
            {"Ref": "AWS::NoValue"},
        ]
    }


def test_the_topic_is_an_output_wherever_there_are_alarms() -> None:
    output = translated()["Outputs"]["AlarmNotificationsTopicArn"]
    assert output["Condition"] == "HasAlarms"
    [alarm, *_] = of_type("AWS::CloudWatch::Alarm").values()
    assert [output["Value"]] == alarm["AlarmActions"]


def test_the_stacks_topic_can_be_published_to_by_its_own_account() -> None:
    """SNS's default policy allows it; a key of KMS would need a policy for CloudWatch."""
    [topic] = of_type("AWS::SNS::Topic").values()
    assert "KmsMasterKeyId" not in topic
    assert of_type("AWS::SNS::TopicPolicy") == {}


CHOICES = [
    # Alarms, AlarmEmail, AlarmTopicArn, and the rule that refuses them
    ("true", "", "", None),
    ("true", EMAIL, "", None),
    ("true", "", TOPIC, None),
    ("false", "", "", None),
    ("true", EMAIL, TOPIC, "OneAlarmTopic"),
    ("false", EMAIL, "", "AlarmAddressNeedsAlarms"),
    ("false", "", TOPIC, "AlarmAddressNeedsAlarms"),
]


@pytest.mark.parametrize(("alarms", "email", "topic", "refused_by"), CHOICES)
def test_parameters_that_contradict_each_other_are_refused(
    alarms: str, email: str, topic: str, refused_by: str | None
) -> None:
    values = {"Alarms": alarms, "AlarmEmail": email, "AlarmTopicArn": topic}
    refusing = [
        name
        for name, rule in translated()["Rules"].items()
        if "Alarm" in json.dumps(rule) and holds(rule["RuleCondition"], values)
        if not all(holds(one["Assert"], values) for one in rule["Assertions"])
    ]
    assert refusing == ([refused_by] if refused_by else [])


def holds(condition: Any, values: dict[str, str]) -> bool:
    """Evaluate a condition of a rule."""
    match condition:
        case {"Fn::Equals": [{"Ref": str(name)}, str(value)]}:
            return values[name] == value
        case {"Fn::Not": [inner]}:
            return not holds(inner, values)
        case {"Fn::And": list(parts)}:
            return all(holds(part, values) for part in parts)
    pytest.fail(f"a form that is not known here: {condition}")


def test_every_parameter_of_alarms_is_in_their_group() -> None:
    groups = template.read()["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    [group] = [one for one in groups if one["Label"]["default"] == "Alarms"]
    declared = template.read()["Parameters"]
    assert group["Parameters"] == [name for name in declared if name.startswith("Alarm")]


def test_the_page_has_the_policies_that_ones_own_topic_needs() -> None:
    """A topic's: publish for CloudWatch. Its key's: the actions in SNS's guide for AWS services."""
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```json\n(.*?)^```$", page, re.M | re.S)
    topics, keys = map(json.loads, blocks)
    for statement in (topics, keys):
        assert statement["Effect"] == "Allow"
        assert statement["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
        assert statement["Condition"] == {"StringEquals": {"aws:SourceAccount": "123456789012"}}
    assert topics["Action"] == "sns:Publish"
    assert keys["Action"] == ["kms:Decrypt", "kms:GenerateDataKey*"]
