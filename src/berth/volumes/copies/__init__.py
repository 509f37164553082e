"""Copies of volumes on this machine: clones, which are volumes, and snapshots, which are kept with their volume."""
