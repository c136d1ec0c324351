"""Engines: what serves tokens."""
