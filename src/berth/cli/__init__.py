"""The `berth` command: Docker's verbs, flags, output and exit codes, over the HTTP API only.

Start-up time is a feature: a command imports what it needs and nothing else, so modules here avoid dataclasses, typing,
argparse, asyncio and msgspec.
"""
