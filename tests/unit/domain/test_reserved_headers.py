"""Reserved headers, set by a server or by us alone: families, by the words of a name."""

from __future__ import annotations

import pytest

from webhooks.domain.reserved_headers import is_reserved

FAMILIES = {
    "client address": """
        X-Forwarded-For X-Forwarded-Host X-Forwarded Forwarded Forwarded-For X-Forward-For
        X-Original-Forwarded-For X-Vercel-Forwarded-For X-Real-IP X-RealIP True-Client-IP
        CF-Connecting-IP CF-Connecting-IPv6 CF-Pseudo-IPv4 Fastly-Client-IP Fly-Client-IP
        DO-Connecting-IP X-Client-IP X-ClientIP X-Cluster-Client-IP X-Azure-ClientIP
        X-Azure-SocketIP X-Originating-IP X-Remote-IP X-Remote-Addr Remote-Addr X-ProxyUser-Ip
        X-Original-Remote-Addr WL-Proxy-Client-IP Proxy-Client-IP Client-IP X-Appengine-User-IP
        X-Envoy-External-Address Ali-CDN-Real-IP Cdn-Src-Ip X-Nf-Client-Connection-Ip
        Incap-Client-IP X-Sucuri-ClientIP X-BB-IP CloudFront-Viewer-Address X-Client-Port
        X-Remote-Host X-Client-Host X-Source-IP X-Real-Port X-User-IP X-Coming-From X-Host-IP
        CF-IPCountry X-Vercel-IP-Country X-Vercel-IP-City X-AppEngine-Country
        X-AppEngine-CityLatLong CloudFront-Viewer-Country CloudFront-Viewer-Country-Region
        X-GeoIP-Country-Code X-Geo-Country X-Client-Geo-Location X-Nginx-Real-Client
        X-Original-Client CF-Connecting-Client
    """,
    "original url": """
        X-Original-URL X-Rewrite-URL X-Original-URI X-Original-Host X-Original-Method
        X-Original-Path X-Waws-Unencoded-Url X-Rewrite-Path X-Override-URL X-HTTP-DestinationURL
        X-Url-Scheme X-Scheme X-Host X-HTTP-Host-Override X-Script-Name X-Envoy-Original-Path
        X-Envoy-Original-Dst-Host Request-Uri X-Request-Uri Base-Url X-Request-Path
        Front-End-Https Destination X-Path-Info X-Original-Query X-Proto Original-URL Rewrite-Url
        X-Server-Name X-Orig-URL X-Orig-Host X-Real-URL X-Proxy-URL X-Proxy-Host X-Replaced-Path
        X-Original-Args X-Middleware-Rewrite X-Invoke-Path X-Auth-Request-Redirect CF-Visitor
    """,
    "method override and early data": """
        X-HTTP-Method-Override X-HTTP-Method X-Method-Override X-Method HTTP-Method-Override
        X-HTTPMethodOverride Method-Override Early-Data X-HTTP-Verb X-Verb-Override _method
    """,
    "tracing": """
        traceparent tracestate traceresponse baggage b3 X-B3-TraceId X-B3-Sampled uber-trace-id
        uberctx-a sentry-trace X-Cloud-Trace-Context X-Amzn-Trace-Id X-Datadog-Trace-Id
        X-Datadog-Sampling-Priority X-Ot-Span-Context ot-tracer-traceid newrelic X-Newrelic-Id
        X-Instana-T sw8 sw8-correlation elastic-apm-traceparent X-Trace-Id X-Span-Id
        grpc-trace-bin x-client-trace-id X-Dynatrace X-Honeycomb-Trace eagleeye-traceid
        X-Request-Id Request-Id X-Correlation-Id Correlation-Context X-RequestId X-Trace
        X-Amzn-TraceId X-Amzn-RequestId x-ms-request-id x-ms-client-request-id
        x-ms-correlation-request-id Request-Context X-Kong-Request-Id Fly-Request-Id CF-Ray
        X-Amz-Cf-Id X-Azure-Ref X-ARR-LOG-ID X-Varnish X-Vercel-Id jaeger-debug-id
        singularityheader x-dtpc
    """,
    "conditions and ranges": """
        Range If-Match If-None-Match If-Modified-Since If-Unmodified-Since If-Range If
        Request-Range If-Schedule-Tag-Match Unless-Modified-Since
    """,
    "ours, framing, next hop, sender": """
        Authorization Cookie Content-Length Host Connection TE Trailer Trailers Transfer-Encoding
        Upgrade Via Proxy Proxy-Connection Accept Accept-Encoding Date Expect User-Agent
        webhook-id X-SendComms-Foo Keep-Alive HTTP2-Settings X-Client-Cert Client-Cert
        X-Bluecoat-Via Max-Forwards CDN-Loop
        Client-Cert-Chain X-SSL-Client-Cert SSL-Client-Verify X-ARR-ClientCert
        X-Forwarded-Client-Cert Remote-User X-Remote-User Content-MD5
    """,
}
FREE = """
    X-Team X-Api-Key Api-Key X-Custom X-Region X-Tenant-Id X-Environment X-Env
    X-Webhook-Token X-Webhook-Secret X-Auth-Token X-Token X-Source X-Origin Origin Referer
    X-Customer-Id X-Account X-Membership X-Ship X-Owner CF-Access-Client-Id
    CF-Access-Client-Secret x-vercel-protection-bypass x-functions-key
    Ocp-Apim-Subscription-Key X-Goog-Api-Key X-Shop X-Tip X-Email-Address X-Partnership
    X-Product X-Gitlab-Token X-Hub-Signature Accept-Language Cache-Control Priority Prefer
    X-Client X-Client-Id X-Client-Name X-Client-Version X-User X-User-Id X-Route
    X-Routing-Key X-Queue X-Channel X-Correlation X-Notify X-Ifood X-Iffy X-Order-Id
    X-Transaction-Id X-Service X-Version X-Request-Source X-Project X-Org X-Support X-Report
    X-Import X-Export X-Transport X-Airport-Code X-Passport Contents Hostname Accepts Webhook
    X-Traceability X-Arrangement X-Debug X-Namespace X-Workspace X-Marketspace
    x-ngrok-skip-browser-warning Bypass-Tunnel-Reminder DD-API-KEY X-Honeycomb-Team
    X-Sender-Name X-Stage X-Otter X-Ot Authorization-Token X-Authorization X-Webhook-Url-Id
    X-Callback-Url X-Site-Host X-Tracking-Number X-Override-Policy X-Ssl X-Embrace X-Rawdata
    X-Http-Token X-Lifespan X-Workspan X-Makespan X-Country X-Region-Code X-City X-Client-Region
    X-Store-Location X-Delivery-Country X-Shipping-City X-Zip-Country X-Equip-Location
    X-Trip-City X-Customer-Location X-Origin-Verify X-Origin-Secret X-Edge-Secret
    X-Pomerium-Authorization X-IBM-Client-Id X-IBM-Client-Secret X-3scale-Proxy-Secret-Token
    X-Tyk-Authorization X-Gravitee-Api-Key Kong-Admin-Token X-Wsse X-Mashape-Key X-Rapidapi-Key
    X-Rapidapi-Host aeg-sas-key Fastly-Key X-Azure-FDID X-Hasura-Admin-Secret ce-id ce-source
    Private-Token X-Parse-Application-Id X-Scope-OrgID Uptrace-Dsn Signoz-Access-Token
    Lightstep-Access-Token X-Verbose X-Sent-Via X-New-Visitor X-Order-Context X-Visitor-Segment
"""


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_a_family_is_reserved_in_every_case_and_spelling(family: str) -> None:
    for name in family.split():
        spellings = (
            name,
            name.lower(),
            name.upper(),
            name.replace("-", "_"),
            name.replace("-", "."),
        )
        assert [one for one in spellings if not is_reserved(one)] == []


def test_what_lets_a_delivery_in_or_only_looks_alike_is_free() -> None:
    assert [name for name in FREE.split() if is_reserved(name)] == []
