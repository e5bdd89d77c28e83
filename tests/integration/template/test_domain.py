"""The API's own domain: its parameters, its certificate and its addresses."""

from __future__ import annotations

import pytest

from local import template
from support.translated_template import resources


@pytest.mark.parametrize("name", ["api.example.com", "a-b.c-d.example.co", "xn--bcher-kva.example"])
def test_a_domain_name_is_taken(name: str) -> None:
    loaded = template.load(parameters={"DomainName": name})
    assert loaded["Parameters"]["DomainName"]["Default"] == name


@pytest.mark.parametrize(
    "name", ["https://api.example.com", "api.example.com/", "API.example.com", "a"]
)
def test_a_malformed_domain_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="domain name"):
        template.load(parameters={"DomainName": name})


def test_the_domain_is_made_with_its_certificate_and_leads_to_the_api() -> None:
    domain, mapping = resources()["ApiDomain"], resources()["ApiMapping"]
    record = resources()["ApiRecord"]
    assert (domain["Condition"], mapping["Condition"]) == ("HasDomain", "HasDomain")
    assert record["Condition"] == "HasHostedZone"
    assert mapping["Properties"] == {
        "ApiId": {"Ref": "HttpApi"},
        "DomainName": {"Ref": "ApiDomain"},
        "Stage": {"Ref": "HttpApiApiGatewayDefaultStage"},
    }
    [configuration] = domain["Properties"]["DomainNameConfigurations"]
    assert configuration["CertificateArn"] == {"Ref": "CertificateArn"}
    assert configuration["SecurityPolicy"] == "TLS_1_2"
    target = record["Properties"]["AliasTarget"]
    assert target["DNSName"] == {"Fn::GetAtt": ["ApiDomain", "RegionalDomainName"]}


def test_the_api_and_its_domain_are_reached_by_ipv4_and_ipv6() -> None:
    body = resources()["HttpApi"]["Properties"]["Body"]
    [server] = body["servers"]
    assert server["x-amazon-apigateway-endpoint-configuration"] == {"ipAddressType": "dualstack"}
    assert set(body["paths"]) == {route.path for route in template.routes(template.read())}
    [configuration] = resources()["ApiDomain"]["Properties"]["DomainNameConfigurations"]
    assert configuration["IpAddressType"] == "dualstack"
    ipv4, ipv6 = resources()["ApiRecord"], resources()["ApiIpv6Record"]
    assert ipv4["Properties"]["Type"] == "A"
    assert ipv6 == {**ipv4, "Properties": {**ipv4["Properties"], "Type": "AAAA"}}


def test_the_outputs_give_the_address_to_use() -> None:
    outputs = template.load()["Outputs"]
    for name, path in (("ApiUrl", ""), ("DashboardUrl", "/dashboard")):
        condition, own, given = outputs[name]["Value"]["Fn::If"]
        assert (condition, own) == ("HasDomain", {"Fn::Sub": f"https://${{DomainName}}{path}"})
        assert ".execute-api." in given["Fn::Sub"]
        assert given["Fn::Sub"].endswith(f"${{AWS::URLSuffix}}{path}")


def test_a_domain_without_its_certificate_is_refused_before_anything_is_made() -> None:
    rules = template.load()["Rules"]
    [assertion] = rules["DomainNeedsCertificate"]["Assertions"]
    assert assertion["Assert"] == {"Fn::Not": [{"Fn::Equals": [{"Ref": "CertificateArn"}, ""]}]}
    assert rules["DomainNeedsCertificate"]["RuleCondition"] == {
        "Fn::Not": [{"Fn::Equals": [{"Ref": "DomainName"}, ""]}]
    }
