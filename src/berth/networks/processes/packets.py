"""The frame of every control language: a JSON value a packet (SOCK_SEQPACKET), each request has a `Reply`. Pure."""

from typing import Final, NamedTuple, Protocol

import msgspec

#: Largest packet, bytes: well below the kernel's default send buffer (net.core.wmem_default, 212,992).
PACKET_LIMIT: Final = 65_536
#: How many ids one reply holds: 64 characters each stay below PACKET_LIMIT.
IDS_A_PAGE: Final = 500
#: Descriptors one packet carries at most.
FDS_A_PACKET: Final = 3


class Request(Protocol):
    """A record of a control language."""

    @property
    def seq(self) -> int:
        """Number that the reply carries."""
        ...


class Reply(msgspec.Struct, frozen=True, omit_defaults=True):
    """Answer to the request with this `seq`; 0 for a request that could not be read."""

    seq: int
    error: str | None = None
    ids: tuple[str, ...] = ()
    #: Whatever else the request asks for; its shape is the language's own.
    body: object = None


class Answer(NamedTuple):
    """A reply and the descriptors beside it."""

    reply: Reply
    fds: tuple[int, ...] = ()


encode = msgspec.json.Encoder().encode
decode_reply = msgspec.json.Decoder(Reply).decode


def page(ids: list[str], after: str) -> tuple[str, ...]:
    """Return the next ids after `after`, in order, as many as one reply holds."""
    return tuple(sorted(ident for ident in ids if ident > after)[:IDS_A_PAGE])
