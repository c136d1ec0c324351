"""vLLM: its server's processes, the engine in this process, and what runs inside its step."""
