"""Evaluation: many programs on many rows, beside self-consistency of the same compute."""
