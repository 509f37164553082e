"""What the port proxy can be told. Pure records.

`Hold` carries one descriptor beside it, the reply to `Fetch` too.
"""

from typing import Final

import msgspec


class Target(msgspec.Struct, frozen=True):
    """Where what comes in on a port is sent."""

    address: str
    port: int


class Hold(msgspec.Struct, frozen=True, tag="hold", tag_field="op"):
    """Take over a bound socket (listening, if TCP) under a key; with a target pass on what comes in, else only hold it.

    A key that is known gets the new socket and target; connections under way go on.
    """

    seq: int
    key: str
    target: Target | None = None


class Release(msgspec.Struct, frozen=True, tag="release", tag_field="op"):
    """Close a socket and everything that came in by it."""

    seq: int
    key: str


class Fetch(msgspec.Struct, frozen=True, tag="fetch", tag_field="op"):
    """Ask for a copy of a held socket."""

    seq: int
    key: str


class Holding(msgspec.Struct, frozen=True, tag="holding", tag_field="op"):
    """Ask for the keys held, in order, those greater than `after`."""

    seq: int
    after: str = ""


class Quit(msgspec.Struct, frozen=True, tag="quit", tag_field="op"):
    """End the process."""

    seq: int


Request = Hold | Release | Fetch | Holding | Quit

_DECODER: Final = msgspec.json.Decoder(Request)


def decode(packet: bytes) -> Request:
    """Read a request. Raises msgspec.DecodeError."""
    request: Request = _DECODER.decode(packet)
    return request
