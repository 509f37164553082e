"""Backup and restore of volumes: archives, where they go, when they are made, which stay."""
