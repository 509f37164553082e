"""Identifiers: 64 lower-case hexadecimal characters, and the look-up by what a user typed."""

import re
import secrets
from collections.abc import Iterable
from typing import Final, NewType

ContainerId = NewType("ContainerId", str)
NetworkId = NewType("NetworkId", str)
EndpointId = NewType("EndpointId", str)
ExecId = NewType("ExecId", str)
#: ``sha256:`` and 64 hexadecimal characters: the digest of the image's configuration.
ImageId = NewType("ImageId", str)

#: Characters of the short form that Docker prints.
SHORT_LENGTH: Final = 12

_FULL: Final = re.compile(r"[0-9a-f]{64}\Z")


def new_id() -> str:
    """Make a fresh 64-hex identifier whose short form is never all digits (it may serve as a host name)."""
    while True:
        made = secrets.token_hex(32)
        if not made[:SHORT_LENGTH].isdecimal():
            return made


def short(ident: str) -> str:
    """Return the 12-character form, without a ``sha256:`` prefix."""
    return ident.removeprefix("sha256:")[:SHORT_LENGTH]


def is_full_id(ref: str) -> bool:
    """Tell whether `ref` has the form of a whole identifier."""
    return bool(_FULL.match(ref))


def by_prefix(ref: str, ids: Iterable[str]) -> list[str]:
    """Return every identifier that starts with `ref`; an empty `ref` matches nothing."""
    return [ident for ident in ids if ident.startswith(ref)] if ref else []
