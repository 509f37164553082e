"""Who is called what on which network: immutable tables and look-ups in them. Pure.

A change gives a new table of that one network; other networks are not touched. Must not: know messages or policy.
"""

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Final, NamedTuple

import msgspec

from berth.networks.dns.model import NamedEndpoint

#: Address, packed as it goes into a record.
Packed = bytes

_V4_ZONE: Final = ".in-addr.arpa"
_V6_ZONE: Final = ".ip6.arpa"
#: How an alias begins that stands for every name below the rest.
WILD: Final = "*."


class Found(NamedTuple):
    """A name's addresses; both empty is possible (a known name without addresses). Then how it was found."""

    v4: tuple[Packed, ...]
    v6: tuple[Packed, ...]
    #: Network whose table has it.
    network: str = ""
    #: What was looked up there: the name asked for, a link's target, a wildcard.
    entry: str = ""
    #: ``name``, ``alias``, ``link`` or ``wildcard``.
    kind: str = "name"
    #: The first names of the containers that hold it.
    holders: tuple[str, ...] = ()


class Holder(NamedTuple):
    """One endpoint, ready for look-ups."""

    endpoint: NamedEndpoint
    names: frozenset[str]
    v4: tuple[Packed, ...]
    v6: tuple[Packed, ...]
    links: Mapping[str, str]

    @property
    def first(self) -> str:
        """What the container itself is called."""
        return self.endpoint.names[0] if self.endpoint.names else self.endpoint.container_id[:12]


class NetworkNames(msgspec.Struct, frozen=True):
    """The names of one network."""

    network_id: str
    name: str
    holders: Mapping[str, Holder] = {}
    by_name: Mapping[str, tuple[str, ...]] = {}
    by_address: Mapping[Packed, str] = {}
    #: How many labels the names under wildcards (``*.app.test`` has three) may have at most; 0: there are none.
    deepest_wildcard: int = 0

    def find(self, name: str) -> Found | None:
        """Addresses of all holders of a name in lower case, or None if nobody holds it."""
        idents = self.by_name.get(name)
        if idents is None:
            return None
        holders = [self.holders[ident] for ident in idents]
        firsts = tuple(h.first for h in holders)
        return Found(
            tuple(a for h in holders for a in h.v4),
            tuple(a for h in holders for a in h.v6),
            self.name,
            name,
            "name" if name in {first.lower() for first in firsts} else "alias",
            firsts,
        )

    def name_at(self, address: Packed) -> str | None:
        """Answer a reverse look-up: the first name of the holder and the network, as Docker gives it."""
        ident = self.by_address.get(address)
        if ident is None:
            return None
        return f"{self.holders[ident].first}.{self.name}"

    def with_endpoint(self, endpoint: NamedEndpoint) -> "NetworkNames":
        """Return the table with this endpoint; what its container had on the network before is replaced."""
        base = self.without(endpoint.container_id)
        ident = endpoint.container_id
        holder = _holder(endpoint)
        by_name = dict(base.by_name)
        for name in sorted(holder.names):
            by_name[name] = (*by_name.get(name, ()), ident)
        by_address = {**base.by_address, **dict.fromkeys((*holder.v4, *holder.v6), ident)}
        deepest = max((base.deepest_wildcard, *(n.count(".") + 1 for n in holder.names if n.startswith(WILD))))
        return NetworkNames(
            self.network_id, endpoint.network_name, {**base.holders, ident: holder}, by_name, by_address, deepest
        )

    def without(self, container_id: str) -> "NetworkNames":
        """Return the table without this container's endpoint."""
        holder = self.holders.get(container_id)
        if holder is None:
            return self
        holders = dict(self.holders)
        del holders[container_id]
        by_name = dict(self.by_name)
        for name in holder.names:
            left = tuple(ident for ident in by_name[name] if ident != container_id)
            if left:
                by_name[name] = left
            else:
                del by_name[name]
        by_address = dict(self.by_address)
        for address in (*holder.v4, *holder.v6):
            if by_address.get(address) == container_id:
                del by_address[address]
        deepest = self.deepest_wildcard
        if any(name.startswith(WILD) for name in holder.names):
            deepest = max((name.count(".") + 1 for name in by_name if name.startswith(WILD)), default=0)
        return NetworkNames(self.network_id, self.name, holders, by_name, by_address, deepest)


def _holder(endpoint: NamedEndpoint) -> Holder:
    return Holder(
        endpoint,
        frozenset(name.rstrip(".").lower() for name in endpoint.names if name.rstrip(".")),
        tuple(ip_address(text).packed for text in endpoint.addresses4),
        tuple(ip_address(text).packed for text in endpoint.addresses6),
        {alias.lower(): target.lower() for alias, target in endpoint.links},
    )


class View(msgspec.Struct, frozen=True):
    """What one container sees: the tables of the networks it is on, in its order of preference."""

    container_id: str
    networks: tuple[NetworkNames, ...] = ()

    def find(self, name: str) -> Found | None:
        """Look a name in lower case up, as Docker does.

        ``a.b.c`` is first that name on any network, then ``a.b`` on network ``c``, then ``a`` on network ``b.c``.
        The first network that has addresses wins; links of the container go before names of others. Only then
        wildcards, the longest first.
        """
        known = self._find_on(name, None)
        cut = len(name)
        while known is None and (cut := name.rfind(".", 0, cut)) > 0:
            known = self._find_on(name[:cut], name[cut + 1 :])
        return known or self._find_below_wildcard(name)

    def _find_below_wildcard(self, name: str) -> Found | None:
        deepest = max((table.deepest_wildcard for table in self.networks), default=0)
        if not deepest:
            return None
        labels = name.split(".")
        for at in range(max(1, len(labels) - deepest + 1), len(labels)):
            found = self._find_on(WILD + ".".join(labels[at:]), None)
            if found is not None:
                return found._replace(kind="wildcard")
        return None

    def _find_on(self, name: str, network: str | None) -> Found | None:
        known: Found | None = None
        for linked in (True, False):
            for table in self.networks:
                if network is not None and table.name.lower() != network:
                    continue
                own = self._links(table)
                if (name in own) is not linked:
                    continue
                found = table.find(own[name] if linked else name)
                if linked and found is not None:
                    found = found._replace(kind="link")
                if found is not None and (found.v4 or found.v6):
                    return found
                known = known or found
        return known

    def _links(self, table: NetworkNames) -> Mapping[str, str]:
        holder = table.holders.get(self.container_id)
        return {} if holder is None else holder.links

    def name_at(self, address: Packed) -> str | None:
        """Reverse look-up over its networks."""
        for table in self.networks:
            if (name := table.name_at(address)) is not None:
                return name
        return None


def reverse_address(name: str) -> Packed | None:
    """Address that a name in ``in-addr.arpa`` or ``ip6.arpa`` asks for; None for any other name."""
    if name.endswith(_V4_ZONE):
        parts = name[: -len(_V4_ZONE)].split(".")
        if len(parts) == 4 and all(p.isascii() and p.isdecimal() and len(p) <= 3 and int(p) < 256 for p in parts):
            return bytes(int(part) for part in reversed(parts))
    elif name.endswith(_V6_ZONE):
        nibbles = name[: -len(_V6_ZONE)].split(".")
        if len(nibbles) == 32 and all(len(n) == 1 and n in "0123456789abcdef" for n in nibbles):
            return bytes.fromhex("".join(reversed(nibbles)))
    return None
