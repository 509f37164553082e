"""`berth network links` and `map`, and the columns of `network ls` that Docker has not."""

from __future__ import annotations

import sys

from berth.cli.command import Command
from berth.cli.flags import Flag, Parsed
from berth.cli.formatting import FORMAT_LIST, print_rows
from berth.cli.natural import natural_key

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from berth.cli.formatting import Columns
    from berth.cli.session import Session

    Record = dict[str, Any]


def extra_columns() -> Columns:
    """Return the fields of a network that `join_extra` has filled."""
    return {
        "Subnet": ("SUBNET", lambda net: ", ".join(net["Berth"]["Subnets"])),
        "Containers": ("CONTAINERS", lambda net: str(len(net["Berth"]["Containers"]))),
        "Free": ("FREE", lambda net: str(net["Berth"]["Free"]) if net["Berth"]["Subnets"] else ""),
    }


def join_extra(session: Session, networks: list[Record]) -> None:
    """Put what the engine knows beyond Docker's API under the key ``Berth`` of each network."""
    known = {one["Id"]: one for one in session.client.get("/berth/networks")}
    nothing: Record = {"Subnets": [], "Containers": [], "Free": 0}
    for net in networks:
        net["Berth"] = known.get(net["Id"], nothing)


def _size(count: int) -> str:
    from berth.cli.human import size

    return size(count)


def published(ports: list[Record]) -> str:
    """Print where a container's ports are reached; an address that stands for all of the host's is left out."""
    return ", ".join(dict.fromkeys(_published(port) for port in ports))


def _published(port: Record) -> str:
    host = f"[{port['HostIp']}]" if ":" in port["HostIp"] else port["HostIp"]
    at = "" if host in ("0.0.0.0", "[::]") else f"{host}:"  # noqa: S104  compared, not bound
    return f"{at}{port['HostPort']}->{port['Port']}/{port['Protocol']}"


def link_columns() -> Columns:
    """Return the fields of a container's link."""
    counted = ("RxBytes", "TxBytes")
    return {
        "Container": ("CONTAINER", lambda row: row["Name"]),
        "ID": ("CONTAINER ID", lambda row: row["Id"][:12]),
        "Network": ("NETWORK", lambda row: row["Network"]),
        "Link": ("LINK", lambda row: row["Link"]),
        "Address": ("ADDRESS", lambda row: ", ".join(one for one in (row["IPv4"], row["IPv6"]) if one)),
        "MAC": ("MAC", lambda row: row["MAC"]),
        "HostLink": ("HOST LINK", lambda row: row["HostLink"]),
        "Bridge": ("BRIDGE", lambda row: row["Bridge"]),
        "State": ("STATE", lambda row: "up" if row["IsUp"] else "down"),
        "Ports": ("PORTS", lambda row: published(row["Ports"])),
        "RxTx": ("RX / TX", lambda row: " / ".join(_size(row["Counters"][key]) for key in counted)),
        "Dropped": ("DROPPED", lambda row: str(row["Counters"]["RxDropped"] + row["Counters"]["TxDropped"])),
    }


_LINKS_TABLE = (
    "{{.Container}}\t{{.Link}}\t{{.Address}}\t{{.HostLink}}\t{{.Bridge}}\t{{.Network}}\t{{.State}}\t{{.RxTx}}\t"
    "{{.Dropped}}\t{{.Ports}}"
)


def _links(session: Session, parsed: Parsed) -> None:
    wanted = set(parsed.args)
    rows = [
        {**member, "Network": net["Name"], "Bridge": net["Bridge"]}
        for net in session.client.get("/berth/networks")
        for member in net["Containers"]
        if member["HostLink"] and (not wanted or net["Name"] in wanted or net["Id"] in wanted)
    ]
    rows.sort(key=lambda row: (natural_key(row["Name"]), row["Link"]))
    print_rows(rows, link_columns(), parsed.text("format"), default=_LINKS_TABLE, kind="*network.linkContext")


LINKS = Command(
    "[OPTIONS] [NETWORK...]",
    _links,
    (Flag("format", "", "string", FORMAT_LIST),),
    most=None,
    long="Show which link of the host belongs to which container, its bridge, what passed it, and its published ports.",
)


# -- the map --------------------------------------------------------------------------------------------------


def tree(networks: list[Record]) -> str:
    """Draw networks and their containers as a tree."""
    lines = ["host"]
    shown = sorted(networks, key=lambda net: (net["Driver"] != "bridge", natural_key(net["Name"])))
    for at, net in enumerate(shown):
        last = at == len(shown) - 1
        lines.append(f"{'└─' if last else '├─'} {_network_line(net)}")
        stem = "   " if last else "│  "
        members = sorted(net["Containers"], key=lambda one: natural_key(one["Name"]))
        width = max((len(one["Name"]) for one in members), default=0)
        for index, member in enumerate(members):
            branch = "└─" if index == len(members) - 1 else "├─"
            lines.append(f"{stem}{branch} {_member_line(member, width)}")
    return "\n".join(lines)


def _network_line(net: Record) -> str:
    if net["Driver"] != "bridge":
        return f"{net['Name']} ({net['Driver']})"
    marks = [word for word, on in (("internal", net["Internal"]), ("no icc", _closed(net))) if on]
    said = f"  [{', '.join(marks)}]" if marks else ""
    return f"{net['Name']}  {', '.join(net['Subnets'])}  {net['Bridge']}{said}"


def _closed(net: Record) -> bool:
    return any("icc off" in line for line in net["Policy"])


def _member_line(member: Record, width: int) -> str:
    addresses = ", ".join(one.partition("/")[0] for one in (member["IPv4"], member["IPv6"]) if one)
    link = f"{member['Link']}={member['HostLink']}" if member["HostLink"] else ""
    ports = f"  {published(member['Ports'])}" if member["Ports"] else ""
    state = "" if member["State"] == "running" else f"  ({member['State']})"
    return f"{member['Name']:<{width}}  {addresses}  {link}{ports}{state}".rstrip()


def _map(session: Session, parsed: Parsed) -> None:
    networks = session.client.get("/berth/networks")
    target = parsed.text("svg")
    if not target:
        session.line(tree(networks))
        return
    from berth.cli.drawing import svg

    text = svg(networks)
    if target == "-":
        sys.stdout.write(text)
        return
    with open(target, "w", encoding="utf-8") as out:
        out.write(text)


MAP = Command(
    "[OPTIONS]",
    _map,
    (Flag("svg", "", "string", "Write a picture to this file ('-' for standard output) instead of a tree"),),
)
