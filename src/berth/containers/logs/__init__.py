"""What containers printed, as their monitors wrote it down: entries (pure), reading, following."""
