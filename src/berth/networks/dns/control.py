"""The language of the control socket: one JSON value a packet (SOCK_SEQPACKET), answered in order by a `Reply`.

`Serve` carries three descriptors beside it (`model.Sockets`). Pure records, used by server and client alike.
"""

from typing import Final

import msgspec

from berth.networks.dns.model import NamedEndpoint, ServeConfig

#: Largest packet, bytes: well below the kernel's default send buffer (net.core.wmem_default, 212,992).
PACKET_LIMIT: Final = 65_536
#: How many ids one reply to `Serving` holds: 64 characters each stay below PACKET_LIMIT.
IDS_A_PAGE: Final = 500
#: Descriptors that come with `Serve`.
FDS: Final = 3


class Serve(msgspec.Struct, frozen=True, tag="serve", tag_field="op"):
    """Take over three sockets and serve the container on them."""

    seq: int
    config: ServeConfig


class Configure(msgspec.Struct, frozen=True, tag="configure", tag_field="op"):
    """Change how a container is served. Between `Begin` and `Commit`: this container is to be kept."""

    seq: int
    config: ServeConfig


class Forget(msgspec.Struct, frozen=True, tag="forget", tag_field="op"):
    """Close a container's sockets and drop its endpoints."""

    seq: int
    container_id: str


class Up(msgspec.Struct, frozen=True, tag="up", tag_field="op"):
    """An endpoint's names hold from now on."""

    seq: int
    endpoint: NamedEndpoint


class Down(msgspec.Struct, frozen=True, tag="down", tag_field="op"):
    """A container's names on a network are gone."""

    seq: int
    container_id: str
    network_id: str


class Serving(msgspec.Struct, frozen=True, tag="serving", tag_field="op"):
    """Ask for the ids with sockets, in order, those greater than `after`."""

    seq: int
    after: str = ""


class Begin(msgspec.Struct, frozen=True, tag="begin", tag_field="op"):
    """What follows describes everything anew, unseen by containers until `Commit`."""

    seq: int


class Commit(msgspec.Struct, frozen=True, tag="commit", tag_field="op"):
    """Swap in what was described since `Begin`; close the sockets of containers not in it."""

    seq: int


class Quit(msgspec.Struct, frozen=True, tag="quit", tag_field="op"):
    """End the process."""

    seq: int


Request = Serve | Configure | Forget | Up | Down | Serving | Begin | Commit | Quit


class Reply(msgspec.Struct, frozen=True, omit_defaults=True):
    """Answer to the request with this `seq`."""

    seq: int
    error: str | None = None
    ids: tuple[str, ...] = ()
    pid: int = 0


encode = msgspec.json.Encoder().encode
decode_request = msgspec.json.Decoder(Request).decode
decode_reply = msgspec.json.Decoder(Reply).decode
