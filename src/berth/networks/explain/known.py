"""What the records say of who is where: a snapshot for one trace. Pure but for the register's memory.

Must not: look into the kernel.
"""

import difflib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from berth.networks.explain.model import End, Joined, Named, Publication
from berth.networks.firewall import egress
from berth.networks.model import DEFAULT, LiveEndpoint, LiveSandbox, NetworkRecord, Tenant
from berth.networks.options import parse_bridge
from berth.networks.planning import ways_out
from berth.networks.ports.choose import wishes
from berth.networks.register import Register
from berth.networks.render import dns_names
from berth.wire.networks import EndpointSettings


class Subject(NamedTuple):
    """A container as its own service knows it."""

    id: str
    name: str
    state: str


class Entry(NamedTuple):
    """A container with what it wants of networks and what it has."""

    subject: Subject
    tenant: Tenant
    live: LiveSandbox | None


class Known:
    """Every container and network at one moment."""

    def __init__(self, entries: Iterable[Entry], register: Register, *, names_on_default: bool = False) -> None:
        self._nameless = "" if names_on_default else DEFAULT
        self._entries = {entry.subject.id: entry for entry in entries}
        self._records: dict[str, NetworkRecord] = {record.id: record for record in register.all()}

    def end(self, subject: Subject) -> End:
        """Return a container as an end of a path."""
        entry = self._entries.get(subject.id)
        if entry is None:
            return End("container", subject.name, subject.state)
        live = self._owner(entry.live)
        if live is None:
            networks = tuple(Joined(name, settings.network_id or "") for name, settings in self._wanted(entry.tenant))
            return End("container", subject.name, subject.state, mode=entry.tenant.mode, networks=networks)
        mode = "host" if not live.netns_path else entry.tenant.mode
        networks = tuple(self._joined(end, is_way_out=bool(ways_out(live.endpoints, end))) for end in live.endpoints)
        return End("container", subject.name, subject.state, mode, live.netns_path, networks)

    def _owner(self, live: LiveSandbox | None) -> LiveSandbox | None:
        if live is None or not live.shared_with:
            return live
        owner = self._entries.get(live.shared_with)
        return owner.live if owner else None

    @staticmethod
    def _wanted(tenant: Tenant) -> Iterable[tuple[str, EndpointSettings]]:
        return tenant.endpoints.items()

    def _joined(self, end: LiveEndpoint, *, is_way_out: bool) -> Joined:
        record = self._records.get(end.network_id)
        addresses = [f"{end.ipv4}/{end.prefix4}" if end.ipv4 else "", f"{end.ipv6}/{end.prefix6}" if end.ipv6 else ""]
        options = parse_bridge(record.options) if record else None
        return Joined(
            end.network_name,
            end.network_id,
            link=end.link,
            host_link=end.host_link,
            addresses=tuple(one for one in addresses if one),
            subnets=tuple(pool.subnet for pool in record.pools) if record else (),
            gateway=end.gateway4,
            bridge=record.bridge if record else "",
            internal=record.internal if record else False,
            icc=options.icc if options else True,
            allowed_out=_allowed_out(record) if record else None,
            has_names=end.network_name != self._nameless,
            is_way_out=is_way_out,
        )

    def at(self, address: str, near: End) -> Subject | None:
        """Return the container that has an address; on networks of `near` first."""
        mine = {joined.network_id for joined in near.networks}
        found = [
            (end.network_id not in mine, entry.subject)
            for entry in self._entries.values()
            for end in (entry.live.endpoints if entry.live else ())
            if address in (end.ipv4, end.ipv6)
        ]
        return min(found, key=lambda one: one[0], default=(True, None))[1]

    def publications(self) -> list[Publication]:
        """Return every port that is published, or will be once its container runs."""
        found = []
        for subject, tenant, live in self._entries.values():
            if live is not None:
                found += [
                    Publication(
                        subject.name, subject.state, one.protocol, one.host_ip, one.host_port, one.container_port
                    )
                    for one in live.published
                ]
                continue
            for wish in wishes(tenant.port_bindings, tenant.exposed_ports, publish_all=False):
                if wish.first:
                    found.append(
                        Publication(
                            subject.name, subject.state, wish.protocol, wish.host_ip, wish.first, wish.container_port,
                            live=False,
                        )
                    )  # fmt: skip
        return found

    def subject(self, name: str) -> Subject | None:
        """Return the container of exactly that name."""
        return next((entry.subject for entry in self._entries.values() if entry.subject.name == name), None)

    def tenant(self, subject: Subject) -> Tenant | None:
        """Return what a container wants."""
        entry = self._entries.get(subject.id)
        return entry.tenant if entry else None

    def hosts_owner(self, subject: Subject) -> str:
        """Return the id of the container whose files a container has: its own, or the one it shares with."""
        entry = self._entries.get(subject.id)
        return (entry.live.shared_with if entry and entry.live else "") or subject.id

    # -- names

    def _names(self) -> list[tuple[str, str, str, str]]:
        """Return network id, network name, DNS name and container name of everything that has a name."""
        found = []
        for subject, tenant, live in self._entries.values():
            for end in live.endpoints if live else ():
                if end.network_name != self._nameless:
                    settings = tenant.endpoints.get(end.network_name, EndpointSettings())
                    names = dns_names(tenant, settings)
                    found += [(end.network_id, end.network_name, name, subject.name) for name in names]
        return found

    def describe(self, name: Named, source: End) -> Named:
        """Add to a name that was not found where else it is known, and what looks like it."""
        mine = {joined.network_id for joined in source.networks}
        names = self._names()
        asked = name.asked.lower().rstrip(".")
        bare = asked.partition(".")[0]
        elsewhere = dict.fromkeys(
            (who, network)
            for network_id, network, one, who in names
            if network_id not in mine and one.lower() in (asked, bare)
        )
        here = [one for network_id, _, one, _ in names if network_id in mine]
        everywhere = [entry.subject.name for entry in self._entries.values()]
        near = _alike(asked, here) or _alike(asked, everywhere)
        return Named(
            name.asked, name.outcome, name.addresses, name.server, tuple(elsewhere), near, upstreams=name.upstreams
        )


def _allowed_out(record: NetworkRecord) -> tuple[str, ...] | None:
    return tuple(egress.entries(record.options)) if egress.parse(record.options).deny else None


def _alike(asked: str, names: Sequence[str]) -> tuple[str, ...]:
    candidates = {name.lower(): name for name in names if name.lower() != asked}
    return tuple(candidates[one] for one in difflib.get_close_matches(asked, candidates, n=3, cutoff=0.6))
