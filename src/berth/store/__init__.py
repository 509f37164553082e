"""Records on disk and in memory."""
