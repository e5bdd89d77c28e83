"""The core of SendComms Webhooks: rules, services and adapters that the three functions share."""
