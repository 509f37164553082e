"""Compose: from files to a model, from a model and what runs to operations, and their execution through the Engine API.

It knows the engine only through `berth.client`, so it serves any Docker daemon. Nothing heavy is imported here or
below:
a command that has nothing to do is expected to answer within tens of milliseconds.
"""
