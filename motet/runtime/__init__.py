"""The runtime: executes a graph, journals it, and accounts for it."""
