"""The process: constructs everything, starts and stops it in order."""
