"""The whole stack on one machine, made from the template. Never part of what is deployed."""
