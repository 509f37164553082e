"""The variables that tell a container of those it is linked to (``--link``), as Docker names them. Pure."""

from collections.abc import Iterable, Sequence

from berth.networks.model import Linked

#: Variables of the other container that are its own business.
_PRIVATE = ("HOME", "PATH")


def environment(name: str, linked: Linked, theirs: Sequence[str]) -> list[str]:
    """Return what the container `name` is told of another, whose own variables are `theirs`."""
    alias = linked.alias.upper().replace("-", "_")
    ports = sorted(_parsed(linked.exposed_ports), key=lambda port: (port[0], port[1] != "tcp"))
    found = []
    if ports:
        found.append(f"{alias}_PORT={_url(linked.address, *ports[0])}")
    for number, protocol in ports:
        about = f"{alias}_PORT_{number}_{protocol.upper()}"
        found += [
            f"{about}={_url(linked.address, number, protocol)}",
            f"{about}_ADDR={linked.address}",
            f"{about}_PORT={number}",
            f"{about}_PROTO={protocol}",
        ]
    for first, last, protocol in _rows(ports):
        about = f"{alias}_PORT_{first}_{protocol.upper()}"
        found += [
            f"{about}_START={_url(linked.address, first, protocol)}",
            f"{about}_PORT_START={first}",
            f"{about}_END={_url(linked.address, last, protocol)}",
            f"{about}_PORT_END={last}",
        ]
    found.append(f"{alias}_NAME=/{name}/{linked.alias}")
    given = (entry for entry in theirs if "=" in entry and entry.partition("=")[0] not in _PRIVATE)
    return [*found, *(f"{alias}_ENV_{entry}" for entry in given)]


def _parsed(exposed: Iterable[str]) -> set[tuple[int, str]]:
    return {(int(text.partition("/")[0]), text.partition("/")[2].lower() or "tcp") for text in exposed}


def _url(address: str, number: int, protocol: str) -> str:
    return f"{protocol}://{address}:{number}"


def _rows(ports: Iterable[tuple[int, str]]) -> list[tuple[int, int, str]]:
    """Return the rows of two ports or more that follow each other, as first, last, protocol."""
    rows: list[tuple[int, int, str]] = []
    for number, protocol in sorted(ports, key=lambda port: (port[1], port[0])):
        if rows and rows[-1][2] == protocol and rows[-1][1] == number - 1:
            rows[-1] = (rows[-1][0], number, protocol)
        else:
            rows.append((number, number, protocol))
    return [row for row in rows if row[0] != row[1]]
