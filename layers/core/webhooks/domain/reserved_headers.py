"""The names of headers that a customer may not set, as families.

Receivers, and the proxies before them, trust the headers of a delivery. The families are rules on
the words of a name rather than lists, since each proxy, network and tracer has its own names for
the same things. Vendor prefixes are not reserved: Cloudflare's `CF-Access-Client-Id` and Vercel's
`x-vercel-protection-bypass` let a delivery in.
"""

from __future__ import annotations

import re

_PUNCTUATION = re.compile(r"[^0-9a-z]")

_OURS = r"accept|date|user-agent|(?:webhook|x-sendcomms)-.*"
"""The sender's own (contract 2.3). `Content-*` is under `_FRAMING`."""

_FRAMING = r"accept-encoding|content-.*|expect|host|http2-settings|keep-alive|upgrade"
"""Headers that frame the request or its response, or decide where it goes."""

_NEXT_HOP = (
    r"connection|te|trailers?|transfer-encoding|(?:x-)?(?:bluecoat-)?via|proxy(?:-.*)?"
    r"|max-forwards|cdn-loop"
)
"""For the next hop only (RFC 9110, section 7.6.1; RFC 2616, section 13.5.1). CGI turns `Proxy` into
the environment variable `HTTP_PROXY`. `CDN-Loop` (RFC 8586) is how networks detect a request that
goes round."""

_SENDER = r"authorization|cookie2?|(?:.*-)?remote-?(?:user|groups?|name|email)"
"""The sender of a request; a delivery proves it by its signature."""

_CERTIFICATE = r".*client-?(?:cert|verify|dn|s-dn)(?:-.*|ificate.*)?|(?:.*-)?(?:ssl|mtls)-.*"
"""The certificate of a client, as a TLS terminator passes it on (RFC 9440)."""

_WHOSE = (
    r"client|remote|real|source|src|socket|peer|user|viewer|visitor|connecting|connection|external"
    r"|origin|original|originating|true|cluster|proxyuser"
)
_PLACE = (
    r"country(?:-?(?:code|name|region))?|region(?:-?(?:code|name))?|city|continent|location"
    r"|latitude|longitude|citylatlong|lat-?long|postal-?code|time-?zone|metro-?code|asn"
)
"""A network's report of where an address is located."""

_CLIENT_ADDRESS = (
    r"(?:.*-)?forward(?:ed|ing)?(?:-.*)?"
    r"|(?:.*-)?(?:ips?|ip-?v[46]|ip-?addr(?:ess)?|addr|remote-.*)"
    rf"|.*(?:{_WHOSE})-?(?:ips?|ip-?v[46]|ip-?addr(?:ess)?|addr(?:ess)?|host|hostname|port)"
    r"|.*pseudo-?ip-?v[46]|(?:.*-)?coming-from|(?:.*-)?(?:real|original|connecting)-client"
    rf"|(?:.*-)?(?:ip-?|geo-?(?:ip-?)?|viewer-|client-geo-|appengine-)(?:{_PLACE})"
)
"""The origin of a request: `X-Forwarded-For`, `X-Real-IP`, `X-Azure-ClientIP`, `CF-IPCountry` and
similar. Limits by address, allow-lists and logs use it."""

_PARTS = r"ur[il]|uris?|urls?|path|path-info|query|query-?string|host|method|scheme|proto(?:col)?"
_ORIGINAL_URL = (
    rf"(?:.*-)?(?:orig|original|real|rewrite|rewritten|replaced?|override|request|unencoded|raw"
    rf"|destination|http|envoy|proxy|invoke)-?(?:{_PARTS})"
    rf"|(?:x-)?(?:{_PARTS}|url-scheme|script-name|server-name|server-port|base-url|dst-host)"
    r"|(?:.*-)?original-(?:dst-.*|args|to)|front-end-https|destination|(?:.*-)?https?"
    r"|(?:x-)?middleware-(?:rewrite|subrequest)|(?:.*-)?auth-request-redirect|cf-visitor"
)
"""The request before a proxy changed it: `X-Original-URL`, `X-Rewrite-URL`, `X-Host`. Some
frameworks route by it."""

_METHOD_OVERRIDE = r".*override|-?(?:x-)?(?:http-?)?(?:method|verb)(?:-.*)?"
"""`X-HTTP-Method-Override` and similar turn a POST into another request."""

_EARLY_DATA = r"early-data"
"""Marks a request as a possible replay (RFC 8470, section 5.1): a receiver may respond with 425."""

_TRACING = (
    r"(?:.*-)?(?:traces?|tracing|tracer|span)(?:-.*)?|.*trace(?:-?id)?|(?:.*-)?span-?id"
    r"|(?:.*-)?trace(?:parent|state|response|context|flags|bin)|(?:.*-)?baggage"
    r"|(?:x-)?(?:b3|datadog|newrelic|instana|dynatrace|sw[0-9]+)(?:-.*)?|(?:x-)?ot-.*"
    r"|uber(?:ctx)?-.*|jaeger-.*|elastic-apm-.*|singularityheader|x-(?:dtc|dtpc|ruxit)(?:-.*)?"
    r"|(?:.*-)?(?:request|correlation)-?id|(?:.*-)?(?:request|correlation)-context"
    r"|(?:x-)?(?:amz-cf-id|cf-ray|azure-ref|arr-log-id|varnish|vercel-id)"
)
"""A request's trace and id: one value for all deliveries would join them all in one trace, or make
them look like one request."""

_CONDITION = r"if(?:-.*)?|unless-modified-since|(?:request-)?range|accept-ranges"
"""Conditions and ranges (RFC 9110, sections 13.1 and 14.2): a server may skip the request, with
status 412 for instance, or respond with a part."""

_RESERVED = re.compile(
    "|".join(
        f"(?:{family})"
        for family in (
            *(_OURS, _FRAMING, _NEXT_HOP, _SENDER, _CERTIFICATE, _CLIENT_ADDRESS, _ORIGINAL_URL),
            *(_METHOD_OVERRIDE, _EARLY_DATA, _TRACING, _CONDITION),
        )
    ),
    re.ASCII,
)


def is_reserved(name: str) -> bool:
    """Whether a customer may not set this header; the name may be in any case.

    CGI and its successors (WSGI, PHP, Rack) do not distinguish `X-A`, `X_A` and `X.A`; with them a
    header of another spelling would replace ours.
    """
    return _RESERVED.fullmatch(_PUNCTUATION.sub("-", name.lower())) is not None
