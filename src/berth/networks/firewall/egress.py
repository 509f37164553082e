"""What a network may reach outside: its options → destinations that overlap nowhere. Pure.

``berth.egress=deny`` refuses what leaves a network but for ``berth.egress.allow``, a list of entries separated by
commas or spaces: ``ADDRESS[/PREFIX][:PORT[-PORT]][/tcp|/udp]``, IPv6 in brackets where a port follows. Without a port
every protocol may be used, without a protocol TCP and UDP. ``dns:NAME[:PORT][/tcp|/udp]`` is what a name, or with
``*.`` every name below it, resolves to when a container asks.
"""

import re
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, IPv6Address, ip_network
from itertools import pairwise
from typing import Final, NamedTuple

from berth.base.units import MAX_PORT
from berth.networks.dns.model import Permit
from berth.networks.errors import BadOption

MODE: Final = "berth.egress"
ALLOW: Final = "berth.egress.allow"
MODES: Final = ("allow", "deny")
#: Protocol numbers (IANA): those that have ports, and all.
TCP: Final = (6, 6)
UDP: Final = (17, 17)
ANY: Final = (0, 255)
_PROTOCOLS: Final = {"tcp": (TCP,), "udp": (UDP,), None: (TCP, UDP)}
_EVERY_PORT: Final = (0, MAX_PORT)
_ENTRY: Final = re.compile(
    r"(?:\[(?P<six>[0-9a-fA-F:.]+(?:/\d{1,3})?)\]|(?P<four>[0-9.]+(?:/\d{1,2})?)"
    r"|(?P<bare>[0-9a-fA-F:]*:[0-9a-fA-F:.]*(?:/\d{1,3})?))"
    r"(?::(?P<first>\d{1,5})(?:-(?P<last>\d{1,5}))?)?(?:/(?P<protocol>tcp|udp))?"
)

#: How an entry for names begins.
NAME: Final = "dns:"
#: Characters of a name (RFC 1035, section 2.3.4).
MAX_NAME: Final = 253
_NAMED: Final = re.compile(
    r"dns:(?P<pattern>(?:\*\.)?[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*\.?)(?::(?P<port>\d{1,5}))?(?:/(?P<protocol>tcp|udp))?"
)

Range = tuple[int, int]


class Allowed(NamedTuple):
    """One entry: addresses, protocols and ports as inclusive ranges of numbers."""

    version: int
    addresses: Range
    protocols: tuple[Range, ...]
    ports: Range


class Named(NamedTuple):
    """One entry for a name: itself, or ``*.`` and what all it fits end with; port 0 for everything."""

    pattern: str
    protocols: tuple[str, ...] = ()
    port: int = 0


class Egress(NamedTuple):
    """What a network may reach."""

    deny: bool = False
    allowed: tuple[Allowed, ...] = ()
    named: tuple[Named, ...] = ()


def parse(options: Mapping[str, str]) -> Egress:
    """Read a network's options. Raises `BadOption`, naming the entry that is wrong."""
    mode = options.get(MODE, "allow")
    if mode not in MODES:
        raise BadOption(f"failed to parse {MODE} value: {mode} (one of {', '.join(MODES)})")
    texts = entries(options)
    allowed = tuple(_entry(text) for text in texts if not text.startswith(NAME))
    named = tuple(_named(text) for text in texts if text.startswith(NAME))
    if texts and mode == "allow":
        raise BadOption(f"{ALLOW} needs {MODE}=deny: everything is allowed")
    return Egress(mode == "deny", allowed, named)


def entries(options: Mapping[str, str]) -> list[str]:
    """Return the entries of what is allowed, as they were written."""
    return [text for text in re.split(r"[,\s]+", options.get(ALLOW, "")) if text]


def check(options: Mapping[str, str], driver: str, *, internal: bool) -> None:
    """Refuse a policy that is malformed or could not be kept. Raises `BadOption`."""
    if parse(options).deny and driver != "bridge":
        raise BadOption(
            f"{MODE}=deny is for bridge networks: what leaves a {driver} network passes no rule of the host"
        )
    if parse(options).deny and internal:
        raise BadOption(f"{MODE} and internal do not go together: nothing leaves an internal network")


def _entry(text: str) -> Allowed:
    match = _ENTRY.fullmatch(text)
    if match is None:
        raise _bad(text, "an address or subnet, then :PORT or :PORT-PORT, then /tcp or /udp")
    try:
        network = ip_network(match["six"] or match["four"] or match["bare"])
    except ValueError as exc:
        raise _bad(text, str(exc)) from None
    addresses = int(network.network_address), int(network.broadcast_address)
    if match["first"] is None:
        protocols = _PROTOCOLS[match["protocol"]] if match["protocol"] else (ANY,)
        return Allowed(network.version, addresses, protocols, _EVERY_PORT)
    first = int(match["first"])
    last = int(match["last"] or first)
    if not 0 < first <= last <= MAX_PORT:
        raise _bad(text, f"ports are 1 to {MAX_PORT}, the smaller first")
    return Allowed(network.version, addresses, _PROTOCOLS[match["protocol"]], (first, last))


def _named(text: str) -> Named:
    match = _NAMED.fullmatch(text)
    if match is None or len(match["pattern"]) > MAX_NAME:
        raise _bad(text, "dns:NAME or dns:*.NAME, then :PORT, then /tcp or /udp")
    pattern = match["pattern"].lower().rstrip(".")
    if match["port"] is None:
        if match["protocol"]:
            raise _bad(text, "a protocol needs a port")
        return Named(pattern)
    if not 0 < int(match["port"]) <= MAX_PORT:
        raise _bad(text, f"ports are 1 to {MAX_PORT}")
    return Named(pattern, (match["protocol"],) if match["protocol"] else ("tcp", "udp"), int(match["port"]))


def permits(options: Mapping[str, str], table: str, link: str) -> tuple[Permit, ...]:
    """Return what the name server is to let a network reach."""
    return tuple(
        Permit(one.pattern, table, link, protocol, one.port)
        for one in parse(options).named
        for protocol in one.protocols or ("",)
    )


def _bad(text: str, reason: str) -> BadOption:
    return BadOption(f"failed to parse {ALLOW} value: {text} ({reason})")


def destinations(allowed: Iterable[Allowed]) -> tuple[str, ...]:
    """Return the entries as ``address . protocol . port`` of an interval set, none overlapping another."""
    found: list[str] = []
    wanted = list(allowed)
    for version in (4, 6):
        found += _of_version([one for one in wanted if one.version == version], version)
    return tuple(found)


def _of_version(entries: list[Allowed], version: int) -> Iterable[str]:
    cuts = sorted({cut for one in entries for cut in (one.addresses[0], one.addresses[1] + 1)})
    pieces: list[tuple[Range, tuple[tuple[Range, Range], ...]]] = []
    for low, high in pairwise(cuts):
        boxes = _boxes([one for one in entries if one.addresses[0] <= low and high - 1 <= one.addresses[1]])
        if pieces and pieces[-1][1] == boxes and pieces[-1][0][1] == low - 1:
            pieces[-1] = (pieces[-1][0][0], high - 1), boxes
        elif boxes:
            pieces.append(((low, high - 1), boxes))
    for addresses, boxes in pieces:
        for protocol, ports in boxes:
            yield f"{_span(addresses, version)} . {_numbers(protocol)} . {_numbers(ports)}"


def _boxes(entries: list[Allowed]) -> tuple[tuple[Range, Range], ...]:
    """Return what may be used at the same addresses, as protocols and ports that do not overlap."""
    if any(protocol == ANY for one in entries for protocol in one.protocols):
        return ((ANY, _EVERY_PORT),)
    found: list[tuple[Range, Range]] = []
    for protocol in (TCP, UDP):
        merged: list[Range] = []
        for first, last in sorted(one.ports for one in entries if protocol in one.protocols):
            if merged and first <= merged[-1][1] + 1:
                merged[-1] = merged[-1][0], max(last, merged[-1][1])
            else:
                merged.append((first, last))
        found += [(protocol, ports) for ports in merged]
    return tuple(found)


def _span(addresses: Range, version: int) -> str:
    kind = IPv4Address if version == 4 else IPv6Address
    first, last = (str(kind(number)) for number in addresses)
    return first if first == last else f"{first}-{last}"


def _numbers(pair: Range) -> str:
    return str(pair[0]) if pair[0] == pair[1] else f"{pair[0]}-{pair[1]}"
