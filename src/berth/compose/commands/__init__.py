"""The commands: each takes the session and its parsed flags, and returns the exit code."""
