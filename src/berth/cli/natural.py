"""Natural order of names: ``web2`` before ``web10``. Pure."""

from __future__ import annotations


def natural_key(text: str) -> list[tuple[int, int, str]]:
    """Return a sort key that compares runs of digits as numbers."""
    key: list[tuple[int, int, str]] = []
    at = 0
    while at < len(text):
        end = at
        if text[at].isdecimal():
            while end < len(text) and text[end].isdecimal():
                end += 1
            key.append((0, int(text[at:end]), ""))
        else:
            while end < len(text) and not text[end].isdecimal():
                end += 1
            key.append((1, 0, text[at:end]))
        at = end
    return key
