"""The text of our nftables table and of each change to it. Pure: same input, same text.

The rules are few and constant; what varies are elements of sets and maps, so a packet and a change cost the same
with one network or thousands. Nothing is ever read back: the table is rebuilt whole from records.
"""

from collections.abc import Iterable
from ipaddress import ip_address
from typing import Final, NamedTuple


class BridgePolicy(NamedTuple):
    """What one bridge network may do."""

    link: str
    #: Its containers may talk to each other.
    icc: bool = True
    #: What leaves gets the host's address.
    masquerade: bool = True
    #: Nothing enters or leaves.
    internal: bool = False
    #: Fixed address instead of the outgoing link's.
    source: str = ""
    #: Unpublished ports may be reached from outside too (gateway mode nat-unprotected or routed).
    open: bool = False


class Forward(NamedTuple):
    """One published port."""

    protocol: str
    host_ip: str
    host_port: int
    address: str
    port: int


#: The rules. `iifname` in postrouting is known to the kernel since 5.7; bridged packets have none there.
RULES: Final = """\
table inet {table} {{
	set bridges {{ type ifname; }}
	set within {{ type ifname . ifname; }}
	set internal {{ type ifname; }}
	set masquerading {{ type ifname; }}
	set unprotected {{ type ifname; }}
	map sources {{ type ifname : ipv4_addr; }}
	map ports_any {{ type inet_proto . inet_service : ipv4_addr . inet_service; }}
	map ports_at {{ type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; }}
	set itself {{ type ipv4_addr . ipv4_addr; }}

	chain early {{
		type filter hook prerouting priority raw; policy accept;
		iifname @bridges ip daddr 127.0.0.0/8 drop comment "bridges route loopback addresses for publishing only"
	}}
	chain publish {{
		dnat ip to ip daddr . meta l4proto . th dport map @ports_at
		dnat ip to meta l4proto . th dport map @ports_any
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
		meta nfproto ipv4 snat to iifname map @sources
		iifname @masquerading masquerade
	}}
	chain forward {{
		type filter hook forward priority filter; policy accept;
		iifname . oifname @within accept
		iifname @internal drop
		oifname @internal drop
		ct state established,related accept
		oifname @bridges ct status dnat accept
		oifname @unprotected accept
		oifname @bridges drop
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
    if policy.internal:
        found.append(("internal", link, ""))
    if policy.icc:
        found.append(("within", f"{link} . {link}", ""))
    if policy.masquerade and not policy.internal:
        found.append(("sources", link, policy.source) if policy.source else ("masquerading", link, ""))
    if policy.open and not policy.internal:
        found.append(("unprotected", link, ""))
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


def _by_map(forwards: Iterable[Forward]) -> dict[str, list[tuple[str, str]]]:
    maps: dict[str, list[tuple[str, str]]] = {}
    for one in sorted(forwards):
        everywhere = ip_address(one.host_ip).is_unspecified
        key = f"{one.protocol} . {one.host_port}"
        target = f"{one.address} . {one.port}"
        where, key = ("ports_any", key) if everywhere else ("ports_at", f"{one.host_ip} . {key}")
        maps.setdefault(where, []).append((key, target))
    return maps


def _loops(forwards: Iterable[Forward]) -> str:
    return ", ".join(f"{address} . {address}" for address in sorted({one.address for one in forwards}))


def publish(table: str, forwards: Iterable[Forward]) -> str:
    """Return the commands that publish ports; empty for none."""
    forwards = list(forwards)
    loops = f"add element inet {table} itself {{ {_loops(forwards)} }}\n" if forwards else ""
    return loops + "".join(
        f"add element inet {table} {where} {{ {', '.join(f'{key} : {target}' for key, target in pairs)} }}\n"
        for where, pairs in _by_map(forwards).items()
    )


def unpublish(table: str, forwards: Iterable[Forward]) -> str:
    """Return the commands that take published ports back; repeatable."""
    forwards = list(forwards)
    loops = f"delete element inet {table} itself {{ {_loops(forwards)} }}\n" if forwards else ""
    return (
        publish(table, forwards)
        + loops
        + "".join(
            f"delete element inet {table} {where} {{ {', '.join(key for key, _ in pairs)} }}\n"
            for where, pairs in _by_map(forwards).items()
        )
    )


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
