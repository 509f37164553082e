"""Things every other package may use. Imports nothing of ours."""
