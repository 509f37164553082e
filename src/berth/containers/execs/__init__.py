"""Commands in running containers."""
