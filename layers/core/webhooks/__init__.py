"""The core of SendComms Webhooks: rules, services and adapters that the three functions share."""

VERSION = "1.0.0"
"""The product's version, by semantic versioning; `make release` sets it here and in the files that
`ops/release.py` lists."""
