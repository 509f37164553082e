"""What a program outside the daemon uses to talk to it: the HTTP API, and nothing else.

Imported by every `berth …` command, so nothing here may import slow modules: asyncio, msgspec, dataclasses, typing,
http.client.
"""
