"""A container's hosts, resolv.conf and hostname: what is in them at its start, and what follows its networks.

What a user wrote into them stays. Must not: talk to the name server, or decide what is on which network.
"""

from collections.abc import Iterable
from pathlib import Path

from berth.base.config import Config
from berth.base.paths import Layout
from berth.networks import hosts_files, linking, sandboxes
from berth.networks.host_servers import host_resolv_conf
from berth.networks.model import DEFAULT, LiveEndpoint, Tenant
from berth.networks.options import name_servers
from berth.networks.planning import pool_of
from berth.networks.register import Register
from berth.networks.tenants import Tenants


class ContainerFiles:
    """The files of every container."""

    def __init__(self, layout: Layout, tenants: Tenants, config: Config, register: Register) -> None:
        self._layout = layout
        self._tenants = tenants
        self._config = config
        self._register = register

    def paths(self, container_id: str) -> dict[str, str]:
        """Return where a container's files are, by where it sees them."""
        directory = self._layout.container(container_id)
        return {target: str(directory / target.rpartition("/")[2]) for target in sandboxes.TARGETS}

    # -- what is in them

    def texts(self, tenant: Tenant, ends: Iterable[LiveEndpoint], *, resolver: bool, on_host: bool) -> dict[Path, str]:
        """Return the files of a container that starts; with a `resolver` it asks the name server inside it."""
        conf = self.resolv_conf(tenant)
        if resolver:
            conf = hosts_files.for_user_network(conf)
        elif not on_host:
            ipv6 = any(end.ipv6 for end in ends)
            conf = hosts_files.for_default_bridge(conf, ipv6=ipv6, explicit=self.names_servers(tenant))
        own = [address for end in ends for address in (end.ipv4, end.ipv6) if address]
        extra = hosts_files.extra_hosts(tenant.extra_hosts, self._host_gateways()) + self._linked_hosts(tenant, ends)
        hosts = hosts_files.render_hosts(extra, own, tenant.hostname, tenant.domainname)
        if on_host and not tenant.extra_hosts:
            hosts = _read_or(Path("/etc/hosts"), hosts)
        directory = self._layout.container(tenant.container_id)
        return {
            directory / "hosts": hosts,
            directory / "resolv.conf": hosts_files.render_resolv_conf(conf),
            directory / "hostname": hosts_files.render_hostname(tenant.hostname),
        }

    def resolv_conf(self, tenant: Tenant) -> hosts_files.ResolvConf:
        """Return what a container is to ask, before it is known whether it asks the name server inside it."""
        return hosts_files.asked(
            host_resolv_conf(),
            self._servers(tenant),
            tenant.dns_search or self._config.dns_search,
            tenant.dns_options or self._config.dns_opts,
        )

    def names_servers(self, tenant: Tenant) -> bool:
        """Tell whether a container's servers were given, not copied from the host."""
        return bool(self._servers(tenant))

    def _servers(self, tenant: Tenant) -> tuple[str, ...]:
        """Return the servers named for a container: by itself, by a network of its, for all."""
        if tenant.dns:
            return tenant.dns
        records = (self._register.named(name) for name in tenant.endpoints)
        found = (name_servers(record.options) for record in records if record is not None)
        return next((one for one in found if one), tuple(self._config.dns))

    def _host_gateways(self) -> tuple[str, ...]:
        """Return what ``host-gateway`` stands for: the settings' addresses, else the host's on the default bridge."""
        if self._config.host_gateway_ips:
            return self._config.host_gateway_ips
        record = self._register.named(DEFAULT)
        pools = [pool_of(record, family) for family in (4, 6)] if record else []
        return tuple(pool.gateway for pool in pools if pool and pool.gateway) or ("127.0.0.1",)

    def _linked_hosts(self, tenant: Tenant, ends: Iterable[LiveEndpoint]) -> list[tuple[str, str]]:
        """Return hosts entries of ``--link`` on the default bridge."""
        here = next((end for end in ends if end.network_name == DEFAULT and end.host_link), None)
        if here is None:
            return []
        found = []
        for target, alias in linking.parsed(tenant):
            other = self._tenants.find(target)
            theirs = self._register.attached(here.network_id).get(other.container_id) if other else None
            if other is not None and theirs is not None:
                found.append((theirs.ipv4, linking.hosts_names(alias, other)))
        return found

    # -- what follows; all blocking

    def add(self, tenant: Tenant, end: LiveEndpoint, *, resolver: bool) -> None:
        """Take a new attachment in; if there is a `resolver` since, the container asks it from now on."""
        directory = self._layout.container(tenant.container_id)
        sandboxes.edit_lines(directory / "hosts", add=_own_lines(tenant, end))
        if resolver:
            own, ours = self._resolv_confs(tenant)
            _replace(directory / "resolv.conf", own, ours)

    def relink(self, tenant: Tenant, names: str, address: str) -> None:
        """Follow a container that is linked to under `names` to its address after another start."""
        hosts = self._layout.container(tenant.container_id) / "hosts"
        lines = _read_or(hosts, "").splitlines(keepends=True)
        drop = "".join(line for line in lines if line.rstrip("\n").partition("\t")[2] == names)
        line = f"{address}\t{names}\n"
        if drop and drop != line:  # where a user took it out it stays out
            sandboxes.edit_lines(hosts, drop=drop, add=line)

    def drop(self, tenant: Tenant, end: LiveEndpoint, *, resolver: bool = False) -> None:
        """Take an attachment that is gone out, and with it the `resolver` that came with it."""
        directory = self._layout.container(tenant.container_id)
        sandboxes.edit_lines(directory / "hosts", drop=_own_lines(tenant, end))
        if resolver:
            own, ours = self._resolv_confs(tenant)
            _replace(directory / "resolv.conf", ours, own)

    def _resolv_confs(self, tenant: Tenant) -> tuple[str, str]:
        """Return what a container's resolv.conf says without a resolver of ours, and with it."""
        conf, explicit = self.resolv_conf(tenant), self.names_servers(tenant)
        record = self._register.named(DEFAULT)  # the only network with addresses and without a resolver
        end = self._register.attached(record.id).get(tenant.container_id) if record else None
        ipv6 = bool(end and end.ipv6)
        return (
            hosts_files.render_resolv_conf(hosts_files.for_default_bridge(conf, ipv6=ipv6, explicit=explicit)),
            hosts_files.render_resolv_conf(hosts_files.for_user_network(conf)),
        )

    def move(self, tenant: Tenant, was: LiveEndpoint, now: LiveEndpoint) -> None:
        """Follow an attachment to other addresses; may be repeated."""
        hosts, lines = self._layout.container(tenant.container_id) / "hosts", _own_lines(tenant, now)
        sandboxes.edit_lines(hosts, drop=_own_lines(tenant, was) + lines, add=lines)


def _own_lines(tenant: Tenant, end: LiveEndpoint) -> str:
    """Return what an attachment adds to its container's hosts file."""
    own = [address for address in (end.ipv4, end.ipv6) if address]
    return hosts_files.render_own(own, tenant.hostname, tenant.domainname)


def _replace(path: Path, before: str, after: str) -> None:
    """Write a file anew, unless a user has edited it."""
    if _read_or(path, "") == before:
        sandboxes.write_in_place(path, after)


def _read_or(path: Path, default: str) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return default
