"""Trains one run, from its spec to its record."""
