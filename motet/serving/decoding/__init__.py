"""Decoding rules: their formulas, and how they travel to an engine."""
