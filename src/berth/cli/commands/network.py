"""`berth network …`: create, ls, rm, connect, disconnect."""

from __future__ import annotations

from berth.cli.command import Command
from berth.cli.errors import CommandFailed
from berth.cli.flags import Flag, Parsed
from berth.cli.formatting import FORMAT_LIST, filters_of, label_lookup, labels_text, print_rows
from berth.cli.natural import natural_key
from berth.cli.pairs import check_label, pairs
from berth.cli.pools import ipam
from berth.client.errors import ApiError
from berth.client.http import part

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from berth.cli.formatting import Columns
    from berth.cli.session import Session

_DEFAULT_TABLE = "{{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}"


def _yes(value: object) -> str:
    return "true" if value else "false"


def columns(*, full: bool) -> Columns:
    """Return the fields of a network in a list."""
    return {
        "ID": ("NETWORK ID", lambda net: net["Id"] if full else net["Id"][:12]),
        "Name": ("NAME", lambda net: net["Name"]),
        "Driver": ("DRIVER", lambda net: net["Driver"]),
        "Scope": ("SCOPE", lambda net: net["Scope"]),
        "IPv4": ("IPV4", lambda net: _yes(net.get("EnableIPv4", False))),
        "IPv6": ("IPV6", lambda net: _yes(net.get("EnableIPv6"))),
        "Internal": ("INTERNAL", lambda net: _yes(net.get("Internal"))),
        "Labels": ("LABELS", lambda net: labels_text(net.get("Labels"))),
        "Label": ("", lambda net: label_lookup(net.get("Labels"))),
        "CreatedAt": ("CREATED AT", _created),
    }


def _created(net: dict[str, Any]) -> str:
    from berth.base.units import go_time

    return go_time(net.get("Created", ""))


def _more(parsed: Parsed) -> list[str]:
    """Return the fields of ours that are asked for: only then the engine counts members and addresses."""
    form = parsed.text("format")
    return [name for name in ("Subnet", "Containers", "Free") if parsed.flag(name.lower()) or f".{name}" in form]


def _list(session: Session, parsed: Parsed) -> None:
    networks = session.client.get("/networks", {"filters": filters_of(parsed)})
    networks.sort(key=lambda net: natural_key(net["Name"]))
    full = parsed.flag("no-trunc")
    fields, table = columns(full=full), _DEFAULT_TABLE
    if more := _more(parsed):
        from berth.cli.commands.network_see import extra_columns, join_extra

        join_extra(session, networks)
        fields = fields | extra_columns()
        table += "".join(f"\t{{{{.{name}}}}}" for name in more)
    print_rows(
        networks,
        fields,
        parsed.text("format"),
        default=table,
        quiet="{{.ID}}" if parsed.flag("quiet") else "",
        kind="*network.networkContext",
    )


def _options(parsed: Parsed) -> dict[str, str]:
    """Return the driver's options; the policy of what may leave has flags of its own."""
    options = pairs(parsed.list("opt"))
    if parsed.text("egress"):
        options["berth.egress"] = parsed.text("egress")
    if parsed.list("allow"):
        options["berth.egress.allow"] = ",".join(parsed.list("allow"))
    return options


def _create(session: Session, parsed: Parsed) -> None:
    name = parsed.args[0]
    body: dict[str, Any] = {
        "Name": name,
        "Driver": parsed.text("driver"),
        "Scope": parsed.text("scope"),
        "IPAM": ipam(parsed),
        "Internal": parsed.flag("internal"),
        "Attachable": parsed.flag("attachable"),
        "Ingress": parsed.flag("ingress"),
        "ConfigOnly": parsed.flag("config-only"),
        "Options": _options(parsed),
        "Labels": pairs(parsed.list("label")),
    }
    if parsed.text("config-from"):
        body["ConfigFrom"] = {"Network": parsed.text("config-from")}
    if parsed.given("ipv4"):
        body["EnableIPv4"] = parsed.flag("ipv4")
    if parsed.given("ipv6"):
        body["EnableIPv6"] = parsed.flag("ipv6")
    if session.client.api_version() < (1, 44):
        body["CheckDuplicate"] = True
    answer = session.client.post("/networks/create", None, body)
    if answer.get("Warning"):
        session.warn(f"WARNING: {answer['Warning']}")
    session.line(answer["Id"])


def _remove(session: Session, parsed: Parsed) -> int:
    if not parsed.flag("force"):
        return session.each(parsed.args, lambda name: session.client.delete(f"/networks/{part(name)}"))
    status = 0
    for name in parsed.args:
        try:
            session.client.delete(f"/networks/{part(name)}")
        except ApiError as error:
            if error.status != 404:
                session.warn(f"Error response from daemon: {error.message}")
                status = 1
        else:
            session.line(name)
    return status


def _connect(session: Session, parsed: Parsed) -> None:
    network, container = parsed.args
    endpoint: dict[str, Any] = {}
    addresses: dict[str, Any] = {
        key: value
        for key, value in (
            ("IPv4Address", parsed.text("ip")),
            ("IPv6Address", parsed.text("ip6")),
            ("LinkLocalIPs", parsed.list("link-local-ip")),
        )
        if value
    }
    if addresses:
        endpoint["IPAMConfig"] = addresses
    if parsed.list("alias"):
        endpoint["Aliases"] = parsed.list("alias")
    if parsed.list("link"):
        endpoint["Links"] = [link if ":" in link else f"{link}:{link}" for link in parsed.list("link")]
    if parsed.list("driver-opt"):
        for option in parsed.list("driver-opt"):
            if "=" not in option:
                raise CommandFailed("invalid key/value pair format in driver options")
        endpoint["DriverOpts"] = pairs(parsed.list("driver-opt"))
    if parsed.number("gw-priority"):
        endpoint["GwPriority"] = parsed.number("gw-priority")
    session.client.post(
        f"/networks/{part(network)}/connect", None, {"Container": container, "EndpointConfig": endpoint}
    )


def _disconnect(session: Session, parsed: Parsed) -> None:
    network, container = parsed.args
    session.client.post(
        f"/networks/{part(network)}/disconnect", None, {"Container": container, "Force": parsed.flag("force")}
    )


LS = Command(
    "[OPTIONS]",
    _list,
    (
        Flag("quiet", "q", "bool", "Only display network IDs"),
        Flag("no-trunc", "", "bool", "Do not truncate the output"),
        Flag("format", "", "string", FORMAT_LIST),
        Flag("filter", "f", "filter", 'Provide filter values (e.g. "driver=bridge")'),
        Flag("subnet", "", "bool", "Show the subnets of each network"),
        Flag("containers", "", "bool", "Show how many running containers each network has"),
        Flag("free", "", "bool", "Show how many addresses each network has left"),
    ),
)

CREATE = Command(
    "[OPTIONS] NETWORK",
    _create,
    (
        Flag("driver", "d", "string", "Driver to manage the Network", default="bridge"),
        Flag("opt", "o", "map", "Set driver specific options", shown="map[]"),
        Flag("label", "", "list", "Set metadata on a network", check=check_label),
        Flag("internal", "", "bool", "Restrict external access to the network"),
        Flag("ipv4", "", "bool", "Enable or disable IPv4 address assignment", default=True),
        Flag("ipv6", "", "bool", "Enable or disable IPv6 address assignment"),
        Flag("attachable", "", "bool", "Enable manual container attachment"),
        Flag("ingress", "", "bool", "Create swarm routing-mesh network"),
        Flag("scope", "", "string", "Control the network's scope"),
        Flag("config-only", "", "bool", "Create a configuration only network"),
        Flag("config-from", "", "string", "The network from which to copy the configuration"),
        Flag("ipam-driver", "", "string", "IP Address Management Driver", default="default"),
        Flag("subnet", "", "strings", "Subnet in CIDR format that represents a network segment"),
        Flag("ip-range", "", "strings", "Allocate container ip from a sub-range"),
        Flag("gateway", "", "strings", "IPv4 or IPv6 Gateway for the master subnet"),
        Flag("aux-address", "", "map", "Auxiliary IPv4 or IPv6 addresses used by Network driver", shown="map[]"),
        Flag("ipam-opt", "", "map", "Set IPAM driver specific options", shown="map[]"),
        Flag("egress", "", "string", 'What may leave the network: "allow" (all) or "deny" (only what --allow names)'),
        Flag(
            "allow",
            "",
            "strings",
            'Let out to ADDRESS[/PREFIX][:PORT[-PORT]][/tcp|/udp] or dns:NAME[:PORT], with "--egress deny"',
        ),
    ),
    least=1,
    most=1,
)

RM = Command(
    "NETWORK [NETWORK...]",
    _remove,
    (Flag("force", "f", "bool", "Do not error if the network does not exist"),),
    least=1,
    most=None,
)

CONNECT = Command(
    "[OPTIONS] NETWORK CONTAINER",
    _connect,
    (
        Flag("ip", "", "string", 'IPv4 address (e.g., "172.30.100.104")'),
        Flag("ip6", "", "string", 'IPv6 address (e.g., "2001:db8::33")'),
        Flag("link", "", "list", "Add link to another container"),
        Flag("alias", "", "strings", "Add network-scoped alias for the container"),
        Flag("link-local-ip", "", "strings", "Add a link-local address for the container"),
        Flag("driver-opt", "", "strings", "driver options for the network"),
        Flag(
            "gw-priority",
            "",
            "int",
            "Highest gw-priority provides the default gateway. Accepts positive and negative values.",
        ),
    ),
    least=2,
    most=2,
)

DISCONNECT = Command(
    "[OPTIONS] NETWORK CONTAINER",
    _disconnect,
    (Flag("force", "f", "bool", "Force the container to disconnect from a network"),),
    least=2,
    most=2,
)
