"""The text of our nftables table and of each change to it. Pure: same input, same text.

The rules are few and constant; what varies are elements of sets and maps, so a packet and a change cost the same
with one network or thousands. Nothing is ever read back: the table is rebuilt whole from records.
"""

from collections.abc import Iterable
from ipaddress import ip_address
from typing import Final, NamedTuple


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


class Forward(NamedTuple):
    """One published port."""

    protocol: str
    host_ip: str
    #: 0 = none: it is reached at the container's own address.
    host_port: int
    address: str
    port: int


#: The rules. `iifname` in postrouting is known to the kernel since 5.7; bridged packets have none there.
RULES: Final = """\
table inet {table} {{
	set bridges {{ type ifname; }}
	set within {{ type ifname . ifname; }}
	set internal {{ type ifname; }}
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
	map sources4 {{ type ifname : ipv4_addr; }}
	map sources6 {{ type ifname : ipv6_addr; }}
	map ports_any {{ type inet_proto . inet_service : ipv4_addr . inet_service; }}
	map ports_at {{ type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; }}
	map ports6_any {{ type inet_proto . inet_service : ipv6_addr . inet_service; }}
	map ports6_at {{ type ipv6_addr . inet_proto . inet_service : ipv6_addr . inet_service; }}
	set itself {{ type ipv4_addr . ipv4_addr; }}
	set itself6 {{ type ipv6_addr . ipv6_addr; }}

	chain early {{
		type filter hook prerouting priority raw; policy accept;
		iifname @bridges ip daddr 127.0.0.0/8 drop comment "bridges route loopback addresses for publishing only"
	}}
	chain publish {{
		dnat ip to ip daddr . meta l4proto . th dport map @ports_at
		dnat ip to meta l4proto . th dport map @ports_any
		ip6 daddr ::1 return comment "IPv6 has no way from loopback to a bridge: the proxy listens there"
		ip6 saddr fe80::/10 return comment "nor from one link to an address of another"
		dnat ip6 to ip6 daddr . meta l4proto . th dport map @ports6_at
		dnat ip6 to meta l4proto . th dport map @ports6_any
	}}
	chain remote {{
		type nat hook prerouting priority dstnat; policy accept;
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
		snat ip to iifname map @sources4
		snat ip6 to iifname map @sources6
		meta nfproto ipv4 iifname @masquerading4 masquerade
		meta nfproto ipv6 iifname @masquerading6 masquerade
	}}
	chain forward {{
		type filter hook forward priority filter; policy accept;
		iifname . oifname @within accept
		iifname @internal drop
		oifname @internal drop
		ct state established,related accept
		oifname @bridges ct status dnat accept
		oifname @direct4 ip daddr . meta l4proto . th dport @published4 accept
		oifname @direct6 ip6 daddr . meta l4proto . th dport @published6 accept
		iifname . oifname @trusted ip daddr . meta l4proto . th dport @published4 accept
		iifname . oifname @trusted ip6 daddr . meta l4proto . th dport @published6 accept
		oifname @routed4 ip protocol icmp accept
		oifname @routed6 meta l4proto ipv6-icmp accept
		meta nfproto ipv4 oifname @open4 iifname != @bridges accept
		meta nfproto ipv6 oifname @open6 iifname != @bridges accept
		oifname @bridges drop comment "containers' own addresses are nobody's from outside"
	}}
}}
"""


def whole(table: str, bridges: Iterable[BridgePolicy], forwards: Iterable[Forward]) -> str:
    """Return the transaction that makes the table exactly this, whatever it was; what is connected stays connected."""
    fresh = f"table inet {table} {{}}\ndelete table inet {table}\n" + RULES.format(table=table)
    return fresh + "".join(add_bridge(table, one) for one in bridges) + publish(table, forwards)


def gone(table: str) -> str:
    """Return the transaction that removes the table."""
    return f"table inet {table} {{}}\ndelete table inet {table}\n"


def _elements(policy: BridgePolicy) -> list[tuple[str, str, str]]:
    link = f'"{policy.link}"'
    found = [("bridges", link, "")]
    if policy.icc:
        found.append(("within", f"{link} . {link}", ""))
    if policy.internal:
        return [*found, ("internal", link, "")]
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
    """Return the elements of published ports: set or map, key, value (empty in sets), no doubles, in a fixed order."""
    found: dict[tuple[str, str, str], None] = {}
    for one in sorted(forwards):
        is_six = ":" in one.address
        family = "6" if is_six else ""
        found[f"published{family or 4}", f"{one.address} . {one.protocol} . {one.port}", ""] = None
        if not one.host_port:
            continue
        found[f"itself{family}", f"{one.address} . {one.address}", ""] = None
        key, target = f"{one.protocol} . {one.host_port}", f"{one.address} . {one.port}"
        if ip_address(one.host_ip).is_unspecified:
            found[f"ports{family}_any", key, target] = None
        else:
            found[f"ports{family}_at", f"{one.host_ip} . {key}", target] = None
    return list(found)


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
