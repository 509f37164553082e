"""Kinds of volumes: where the data is and how it gets to a path of this machine."""
