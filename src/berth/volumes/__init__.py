"""Persistent data: volumes, and the mounts that bring them and other sources into containers."""
