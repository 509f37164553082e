"""Containers: their records, their life from create to remove, and what is attached to them."""
