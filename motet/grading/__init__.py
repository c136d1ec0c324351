"""Grading: whether an answer is right. Pure functions, and a sandbox for code."""
