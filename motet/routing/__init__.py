"""Routing: which model should answer, learned from outcomes. Pure functions over tables."""
