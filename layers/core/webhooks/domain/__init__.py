"""The rules as pure functions over values. Imports the standard library only."""
