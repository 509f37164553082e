"""The text of our nftables table and of each change to it. Pure: same input, same text.

The rules are few and constant; what varies are elements of sets and maps, so a packet and a change cost the same
with one network or thousands. Nothing is ever read back: the table is rebuilt whole from records.
"""

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_address, ip_network
from itertools import groupby
from typing import Final, NamedTuple

#: One bit of a packet's mark: our own rules accept it. It is there from our forward chain to the end of all forward
#: chains, for one rule in other tools' chains to go by, and taken off again before the packet leaves.
PASS_MARK: Final = 0x0200_0000


class FamilyPolicy(NamedTuple):
    """What one bridge network may do with one IP version."""

    #: What leaves gets the host's address.
    masquerade: bool = True
    #: Fixed address instead of the outgoing link's.
    source: str = ""
    #: Unpublished ports may be reached from outside too (gateway mode nat-unprotected).
    open: bool = False
    #: Containers' own addresses are used outside, where published ports are reached (gateway mode routed).
    routed: bool = False


class BridgePolicy(NamedTuple):
    """What one bridge network may do."""

    link: str
    #: Its containers may talk to each other.
    icc: bool = True
    #: Nothing enters or leaves.
    internal: bool = False
    #: Published ports may be reached at containers' own addresses from these links,
    trusted: tuple[str, ...] = ()
    #: or from everywhere.
    direct: bool = False
    ipv4: FamilyPolicy = FamilyPolicy()
    ipv6: FamilyPolicy = FamilyPolicy()
    #: What leaves is refused unless `allowed` has it.
    guarded: bool = False
    #: Destinations as ``address . protocol . port``, each a value or a range, none overlapping another.
    allowed: tuple[str, ...] = ()


class Forward(NamedTuple):
    """One published port."""

    protocol: str
    host_ip: str
    #: 0 = none: it is reached at the container's own address.
    host_port: int
    address: str
    port: int
    #: Only these subnets may use it; empty for everybody.
    sources: tuple[str, ...] = ()


class Hole(NamedTuple):
    """What a link lets through between two containers of a network that are kept apart: connections to one port."""

    source: str
    target: str
    protocol: str
    port: int


#: Sets that the name server fills, with what names resolve to: not the daemon's to put back.
NAMED: Final = ("named4", "named6", "named_any4", "named_any6")

#: The rules. `iifname` in postrouting is known to the kernel since 5.7; bridged packets have none there.
#: The forward chain comes before all others', so that what it accepts can carry a mark they may go by.
RULES: Final = """\
table inet {table} {{
	set bridges {{ type ifname; }}
	set within {{ type ifname . ifname; }}
	set internal {{ type ifname; counter; }}
	set closed {{ type ifname; counter; }}
	set guarded {{ type ifname; }}
	set denied {{ type ifname; counter; }}
	set allowed4 {{ type ifname . ipv4_addr . inet_proto . inet_service; flags interval; }}
	set allowed6 {{ type ifname . ipv6_addr . inet_proto . inet_service; flags interval; }}
	set masquerading4 {{ type ifname; }}
	set masquerading6 {{ type ifname; }}
	set open4 {{ type ifname; }}
	set open6 {{ type ifname; }}
	set routed4 {{ type ifname; }}
	set routed6 {{ type ifname; }}
	set direct4 {{ type ifname; }}
	set direct6 {{ type ifname; }}
	set trusted {{ type ifname . ifname; }}
	set published4 {{ type ipv4_addr . inet_proto . inet_service; }}
	set published6 {{ type ipv6_addr . inet_proto . inet_service; }}
	set named4 {{ type ifname . ipv4_addr . inet_proto . inet_service; flags timeout; }}
	set named6 {{ type ifname . ipv6_addr . inet_proto . inet_service; flags timeout; }}
	set named_any4 {{ type ifname . ipv4_addr; flags timeout; }}
	set named_any6 {{ type ifname . ipv6_addr; flags timeout; }}
	map sources4 {{ type ifname : ipv4_addr; }}
	map sources6 {{ type ifname : ipv6_addr; }}
	map ports_any {{ type inet_proto . inet_service : ipv4_addr . inet_service; }}
	map ports_at {{ type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; }}
	map ports6_any {{ type inet_proto . inet_service : ipv6_addr . inet_service; }}
	map ports6_at {{ type ipv6_addr . inet_proto . inet_service : ipv6_addr . inet_service; }}
	map spans_any {{ type inet_proto . inet_service : ipv4_addr; flags interval; }}
	map spans_at {{ type ipv4_addr . inet_proto . inet_service : ipv4_addr; flags interval; }}
	map spans6_any {{ type inet_proto . inet_service : ipv6_addr; flags interval; }}
	map spans6_at {{ type ipv6_addr . inet_proto . inet_service : ipv6_addr; flags interval; }}
	set itself {{ type ipv4_addr . ipv4_addr; }}
	set itself6 {{ type ipv6_addr . ipv6_addr; }}
	set limited {{ type ipv4_addr . inet_proto . inet_service; }}
	set limited6 {{ type ipv6_addr . inet_proto . inet_service; }}
	set linked {{ type ipv4_addr . ipv4_addr . inet_proto . inet_service; }}
	set welcome {{ type ipv4_addr . inet_proto . inet_service . ipv4_addr; flags interval; }}
	set welcome6 {{ type ipv6_addr . inet_proto . inet_service . ipv6_addr; flags interval; }}

	chain early {{
		type filter hook prerouting priority raw; policy accept;
		iifname @bridges ip daddr 127.0.0.0/8 drop comment "bridges route loopback addresses for publishing only"
	}}
	chain publish {{
		dnat ip to ip daddr . meta l4proto . th dport map @ports_at
		dnat ip to ip daddr . meta l4proto . th dport map @spans_at
		dnat ip to meta l4proto . th dport map @ports_any
		dnat ip to meta l4proto . th dport map @spans_any
		ip6 daddr ::1 return comment "IPv6 has no way from loopback to a bridge: the proxy listens there"
		ip6 saddr fe80::/10 return comment "nor from one link to an address of another"
		dnat ip6 to ip6 daddr . meta l4proto . th dport map @ports6_at
		dnat ip6 to ip6 daddr . meta l4proto . th dport map @spans6_at
		dnat ip6 to meta l4proto . th dport map @ports6_any
		dnat ip6 to meta l4proto . th dport map @spans6_any
	}}
	chain remote {{
		type nat hook prerouting priority dstnat; policy accept;
		iifname != "lo" ip daddr 127.0.0.0/8 return comment "a neighbour's packet must not pass for one of this machine"
		fib daddr type local jump publish
	}}
	chain local {{
		type nat hook output priority -100; policy accept;
		fib daddr type local jump publish
	}}
	chain leaving {{
		type nat hook postrouting priority srcnat; policy accept;
		oifname @bridges ip saddr 127.0.0.0/8 masquerade
		ip saddr . ip daddr @itself ct status dnat masquerade comment "a container that meets its own published port"
		ip6 saddr . ip6 daddr @itself6 ct status dnat masquerade
		ip saddr . ip daddr . meta l4proto . th dport @linked return
		snat ip to iifname map @sources4
		snat ip6 to iifname map @sources6
		meta nfproto ipv4 iifname @masquerading4 masquerade
		meta nfproto ipv6 iifname @masquerading6 masquerade
	}}
	chain egress {{
		iifname . ip daddr . meta l4proto . th dport @allowed4 return
		iifname . ip6 daddr . meta l4proto . th dport @allowed6 return
		iifname . ip daddr . meta l4proto . th dport @named4 return
		iifname . ip6 daddr . meta l4proto . th dport @named6 return
		iifname . ip daddr @named_any4 return
		iifname . ip6 daddr @named_any6 return
		iifname @denied reject with icmpx type admin-prohibited
	}}
	chain limits {{
		ip daddr . meta l4proto . th dport . ip saddr @welcome return
		ip6 daddr . meta l4proto . th dport . ip6 saddr @welcome6 return
		oifname @closed drop comment "published for others only"
	}}
	chain pass {{
		oifname @bridges meta mark set meta mark | {mark:#x} accept
		iifname != @bridges accept
		oifname "docker*" accept comment "what enters Docker's bridges is Docker's to say"
		oifname "br-*" accept
		meta mark set meta mark | {mark:#x} accept
	}}
	chain forward {{
		type filter hook forward priority filter - 5; policy accept;
		iifname . oifname @within goto pass
		iifname @internal drop
		oifname @internal drop
		iifname @bridges oifname @bridges fib saddr . iif oif missing drop comment "a third's address"
		ct state established,related goto pass
		iifname @bridges ip saddr . ip daddr . meta l4proto . th dport @linked goto pass
		iifname @guarded jump egress
		ip daddr . meta l4proto . th dport @limited jump limits
		ip6 daddr . meta l4proto . th dport @limited6 jump limits
		oifname @bridges ct status dnat goto pass
		oifname @direct4 ip daddr . meta l4proto . th dport @published4 goto pass
		oifname @direct6 ip6 daddr . meta l4proto . th dport @published6 goto pass
		iifname . oifname @trusted ip daddr . meta l4proto . th dport @published4 goto pass
		iifname . oifname @trusted ip6 daddr . meta l4proto . th dport @published6 goto pass
		oifname @routed4 ip protocol icmp goto pass
		oifname @routed6 meta l4proto ipv6-icmp goto pass
		meta nfproto ipv4 oifname @open4 iifname != @bridges goto pass
		meta nfproto ipv6 oifname @open6 iifname != @bridges goto pass
		oifname @closed drop comment "containers' own addresses are nobody's from outside"
		goto pass
	}}
	chain inward {{
		type filter hook input priority filter - 5; policy accept;
		iifname != @guarded accept
		ct state established,related accept
		icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit }} accept
		jump egress
	}}
	chain unmark {{
		type filter hook postrouting priority raw; policy accept;
		oifname @bridges icmp type redirect drop comment "there is no shorter way between those that are kept apart"
		meta mark & {mark:#x} == {mark:#x} meta mark set meta mark & {unmark:#x}
	}}
}}
"""


def whole(table: str, bridges: Iterable[BridgePolicy], forwards: Iterable[Forward]) -> str:
    """Return the transaction that makes the table exactly this, whatever it was; what is connected stays connected."""
    rules = RULES.format(table=table, mark=PASS_MARK, unmark=0xFFFF_FFFF ^ PASS_MARK)
    return gone(table) + rules + "".join(add_bridge(table, one) for one in bridges) + publish(table, forwards)


def gone(table: str) -> str:
    """Return the transaction that removes the table."""
    return f"table inet {table} {{}}\ndelete table inet {table}\n"


def anchor(name: str) -> str:
    """Return the transaction that makes a table whose only worth is to be there; see who asks for it."""
    hooks = (
        "prerouting priority dstnat",
        "input priority 100",
        "output priority -100",
        "postrouting priority srcnat",
    )
    chains = "".join(
        f"\tchain {hook.split()[0]} {{ type nat hook {hook}; policy accept; ct state new counter; }}\n"
        for hook in hooks
    )
    return f"table {name} {{\n\tflags owner\n{chains}}}\n"


def _elements(policy: BridgePolicy) -> list[tuple[str, str, str]]:
    link = f'"{policy.link}"'
    found = [("bridges", link, "")]
    if policy.icc:
        found.append(("within", f"{link} . {link}", ""))
    if policy.internal:
        return [*found, ("internal", link, "")]
    found.append(("closed", link, ""))
    if policy.guarded:
        found += [("guarded", link, ""), ("denied", link, "")]
        found += [("allowed6" if ":" in one else "allowed4", f"{link} . {one}", "") for one in policy.allowed]
    found += [("trusted", f'"{other}" . {link}', "") for other in policy.trusted]
    for version, own in ((4, policy.ipv4), (6, policy.ipv6)):
        if own.masquerade and not own.routed:
            where = "sources" if own.source else "masquerading"
            found.append((f"{where}{version}", link, own.source))
        if own.open:
            found.append((f"open{version}", link, ""))
        if own.routed:
            found.append((f"routed{version}", link, ""))
        if own.routed or policy.direct:
            found.append((f"direct{version}", link, ""))
    return found


def add_bridge(table: str, policy: BridgePolicy) -> str:
    """Return the commands that put a bridge under its policy."""
    return "".join(
        f"add element inet {table} {where} {{ {key}{f' : {value}' if value else ''} }}\n"
        for where, key, value in _elements(policy)
    )


def remove_bridge(table: str, policy: BridgePolicy) -> str:
    """Return the commands that take it out again; repeatable."""
    return add_bridge(table, policy) + "".join(
        f"delete element inet {table} {where} {{ {key} }}\n" for where, key, _ in _elements(policy)
    )


def _published(forwards: Iterable[Forward]) -> list[tuple[str, str, str]]:
    """Return the elements of published ports: set or map, key, value (empty in sets), no doubles, in a fixed order.

    Ports in a row that keep their number are led by one element, however many they are.
    """
    found: dict[tuple[str, str, str], None] = {}
    for _, numbered in groupby(enumerate(sorted(forwards)), key=_row):
        ports = [one for _, one in numbered]
        for one in ports:
            _doors(found, one)
        first, last = ports[0], ports[-1]
        if not first.host_port:
            continue
        six = "6" if ":" in first.address else ""
        found[f"itself{six}", f"{first.address} . {first.address}", ""] = None
        is_row = len(ports) > 1
        key = f"{first.protocol} . {first.host_port}" + (f"-{last.host_port}" if is_row else "")
        target = first.address if is_row else f"{first.address} . {first.port}"
        kind = f"spans{six}" if is_row else f"ports{six}"
        if ip_address(first.host_ip).is_unspecified:
            found[f"{kind}_any", key, target] = None
        else:
            found[f"{kind}_at", f"{first.host_ip} . {key}", target] = None
    return list(found)


def _doors(found: dict[tuple[str, str, str], None], one: Forward) -> None:
    """Add what is to be known of the container's own port: that it is published, and for whom."""
    is_six = ":" in one.address
    door = f"{one.address} . {one.protocol} . {one.port}"
    found[f"published{6 if is_six else 4}", door, ""] = None
    if one.sources:
        family = "6" if is_six else ""
        found[f"limited{family}", door, ""] = None
        for subnet in disjoint(one.sources, 6 if is_six else 4):
            found[f"welcome{family}", f"{door} . {subnet}", ""] = None


def _row(numbered: tuple[int, Forward]) -> tuple[object, ...]:
    """Return what ports in a row have in common: counting along, they differ by nothing."""
    place, one = numbered
    if one.host_port != one.port:
        return (place,)  # the kernel cannot shift a range: it stands alone
    return one.protocol, one.host_ip, one.address, one.sources, one.host_port - place


def disjoint(subnets: Iterable[str], version: int) -> list[str]:
    """Return the subnets of one IP version without overlaps: an interval set takes none."""
    parsed = [ip_network(one) for one in subnets]
    if version == 4:
        return [str(one) for one in collapse_addresses(one for one in parsed if isinstance(one, IPv4Network))]
    return [str(one) for one in collapse_addresses(one for one in parsed if isinstance(one, IPv6Network))]


def _grouped(verb: str, table: str, elements: Iterable[tuple[str, str]]) -> str:
    groups: dict[str, list[str]] = {}
    for where, element in elements:
        groups.setdefault(where, []).append(element)
    return "".join(
        f"{verb} element inet {table} {where} {{ {', '.join(found)} }}\n" for where, found in sorted(groups.items())
    )


def publish(table: str, forwards: Iterable[Forward]) -> str:
    """Return the commands that publish ports; empty for none."""
    elements = _published(forwards)
    return _grouped("add", table, ((where, f"{key} : {value}" if value else key) for where, key, value in elements))


def unpublish(table: str, forwards: Iterable[Forward]) -> str:
    """Return the commands that take published ports back; repeatable."""
    forwards = list(forwards)
    elements = _published(forwards)
    return publish(table, forwards) + _grouped("delete", table, ((where, key) for where, key, _ in elements))


def link(table: str, opened: Iterable[Hole]) -> str:
    """Return the commands that let connections between linked containers through; empty for none."""
    return _grouped("add", table, (("linked", element) for element in _holes(opened)))


def unlink(table: str, opened: Iterable[Hole]) -> str:
    """Return the commands that take that back; repeatable."""
    opened = list(opened)
    return link(table, opened) + _grouped("delete", table, (("linked", element) for element in _holes(opened)))


def _holes(opened: Iterable[Hole]) -> list[str]:
    return [f"{one.source} . {one.target} . {one.protocol} . {one.port}" for one in sorted(set(opened))]


#: Name of the table in a container's namespace that leads queries to the name server's sockets.
RESOLVER_TABLE: Final = "berth_resolver"


def resolver_redirect(address: str, udp_port: int, tcp_port: int) -> str:
    """Return the transaction, for a container's namespace, that leads port 53 of `address` to other ports."""
    return (
        f"table ip {RESOLVER_TABLE} {{}}\ndelete table ip {RESOLVER_TABLE}\n"
        f"table ip {RESOLVER_TABLE} {{\n"
        "\tchain queries {\n"
        "\t\ttype nat hook output priority -100; policy accept;\n"
        f"\t\tip daddr {address} udp dport 53 dnat to {address}:{udp_port}\n"
        f"\t\tip daddr {address} tcp dport 53 dnat to {address}:{tcp_port}\n"
        "\t}\n}\n"
    )
