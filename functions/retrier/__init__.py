"""The worker under its former name."""
