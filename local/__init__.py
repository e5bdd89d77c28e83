"""The whole stack on one machine, built from the template. Never part of a deployment."""
