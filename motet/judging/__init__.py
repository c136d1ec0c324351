"""Judging: statistics of verdicts, against people and against each other. Pure functions."""
