"""The gateway: a router behind an OpenAI-compatible HTTP endpoint."""
