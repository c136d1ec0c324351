"""What of grading runs inside the sandbox; it imports nothing else of motet."""
