"""What the name server can be told. `Serve` carries three descriptors beside it (`model.Sockets`). Pure records."""

from typing import Final

import msgspec

from berth.networks.dns.model import NamedEndpoint, ServeConfig

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


class Recent(msgspec.Struct, frozen=True, tag="recent", tag_field="op"):
    """Ask for a container's last queries, those numbered beyond `after`; the reply's body is `report.Asked`s."""

    seq: int
    container_id: str
    after: int = 0


class Numbers(msgspec.Struct, frozen=True, tag="numbers", tag_field="op"):
    """Ask for the numbers of containers with sockets, in order, those greater than `after`: `report.Sums`s."""

    seq: int
    after: str = ""


class Servers(msgspec.Struct, frozen=True, tag="servers", tag_field="op"):
    """Ask how the servers outside do: `report.Outside`s."""

    seq: int


class Begin(msgspec.Struct, frozen=True, tag="begin", tag_field="op"):
    """What follows describes everything anew, unseen by containers until `Commit`."""

    seq: int


class Commit(msgspec.Struct, frozen=True, tag="commit", tag_field="op"):
    """Swap in what was described since `Begin`; close the sockets of containers not in it."""

    seq: int


class Quit(msgspec.Struct, frozen=True, tag="quit", tag_field="op"):
    """End the process."""

    seq: int


Request = Serve | Configure | Forget | Up | Down | Serving | Recent | Numbers | Servers | Begin | Commit | Quit


_DECODER: Final = msgspec.json.Decoder(Request)


def decode(packet: bytes) -> Request:
    """Read a request. Raises msgspec.DecodeError."""
    request: Request = _DECODER.decode(packet)
    return request
