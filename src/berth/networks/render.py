"""Records → the API's JSON: networks, and the network part of containers. Pure."""

from collections.abc import Mapping
from typing import Any

from berth.base.clock import rfc3339
from berth.base.ids import short
from berth.networks.ipam.book import Usage
from berth.networks.model import BY_LINK4, BY_LINK6, LiveEndpoint, LiveSandbox, NetworkRecord, Tenant
from berth.networks.ports.choose import parse_port
from berth.wire.networks import EndpointSettings


def network(
    record: NetworkRecord, containers: Mapping[str, tuple[str, LiveEndpoint]], usage: Mapping[str, Usage]
) -> dict[str, Any]:
    """Render a network; `containers` are id → name and attachment, `usage` says how full each subnet is.

    ``Status`` came with API 1.52; older clients ignore it.
    """
    subnets = {subnet: {"IPsInUse": one.in_use, "DynamicIPsAvailable": one.available} for subnet, one in usage.items()}
    status = {"Status": {"IPAM": {"Subnets": subnets}}} if subnets else {}
    return {
        "Name": record.name,
        "Id": record.id,
        "Created": rfc3339(record.created_ns),
        "Scope": record.scope,
        "Driver": record.driver,
        "EnableIPv4": record.enable_ipv4,
        "EnableIPv6": record.enable_ipv6,
        "IPAM": {
            "Driver": record.ipam_driver,
            "Options": record.ipam_options,
            "Config": [_pool(record, at) for at in range(len(record.pools))],
        },
        "Internal": record.internal,
        "Attachable": record.attachable,
        "Ingress": record.ingress,
        "ConfigFrom": {"Network": record.config_from},
        "ConfigOnly": record.config_only,
        "Containers": {ident: _member(name, end) for ident, (name, end) in sorted(containers.items())},
        "Options": record.options,
        "Labels": record.labels,
        **status,
    }


def _pool(record: NetworkRecord, at: int) -> dict[str, Any]:
    pool = record.pools[at]
    out: dict[str, Any] = {"Subnet": pool.subnet}
    if pool.ip_range:
        out["IPRange"] = pool.ip_range
    if pool.gateway:
        out["Gateway"] = pool.gateway
    if pool.auxiliary:
        out["AuxiliaryAddresses"] = dict(pool.auxiliary)
    return out


def _lease(end: LiveEndpoint | None) -> dict[str, Any]:
    """Render where an address comes from, if from a DHCP server; Docker has no such thing."""
    lease = end.lease if end else None
    if lease is None:
        return {}
    names = {"Server": lease.server, "ClientID": lease.client_id, "Obtained": rfc3339(lease.obtained_ns)}
    return {"Lease": names | {"Expires": rfc3339(lease.ends_ns)}}


def _member(name: str, end: LiveEndpoint) -> dict[str, Any]:
    return _lease(end) | {
        "Name": name,
        "EndpointID": end.endpoint_id,
        "MacAddress": end.mac,
        "IPv4Address": f"{end.ipv4}/{end.prefix4}" if end.ipv4 else "",
        "IPv6Address": f"{end.ipv6}/{end.prefix6}" if end.ipv6 else "",
    }


def endpoint(
    settings: EndpointSettings, end: LiveEndpoint | None, names: tuple[str, ...] | None, network_id: str
) -> dict[str, Any]:
    """Render a container's attachment, wanted and actual."""
    wanted = settings.ipam_config
    config: dict[str, Any] | None = None
    if wanted is not None:
        pairs = (
            ("IPv4Address", wanted.ipv4_address),
            ("IPv6Address", wanted.ipv6_address),
            ("LinkLocalIPs", wanted.link_local_ips),
        )
        config = {key: value for key, value in pairs if value}
    return _lease(end) | {
        "IPAMConfig": config,
        "Links": settings.links or None,
        "Aliases": settings.aliases or None,
        "MacAddress": end.mac if end else settings.mac_address or "",
        "DriverOpts": settings.driver_opts,
        "GwPriority": settings.gw_priority or 0,
        "NetworkID": end.network_id if end else network_id,
        "EndpointID": end.endpoint_id if end else "",
        "Gateway": end.gateway4 if end and end.gateway4 != BY_LINK4 else "",
        "IPAddress": end.ipv4 if end else "",
        "IPPrefixLen": end.prefix4 if end else 0,
        "IPv6Gateway": end.gateway6 if end and end.gateway6 != BY_LINK6 else "",
        "GlobalIPv6Address": end.ipv6 if end else "",
        "GlobalIPv6PrefixLen": end.prefix6 if end else 0,
        "DNSNames": list(names) if names else None,
    }


def port_map(tenant: Tenant, live: LiveSandbox | None) -> dict[str, list[dict[str, str]] | None]:
    """Render ``NetworkSettings.Ports``: what is published in fact, and null for what is only exposed."""
    if live is None or live.shared_with:
        return {}
    exposed = {*tenant.exposed_ports, *tenant.port_bindings}
    keys = {"{}/{}".format(*parse_port(text)) for text in exposed}
    out: dict[str, list[dict[str, str]] | None] = dict.fromkeys(sorted(keys))
    if not any(end.host_link for end in live.endpoints):
        return out
    for one in live.published:
        key = f"{one.container_port}/{one.protocol}"
        rows = out.get(key) or []
        out[key] = [*rows, {"HostIp": one.host_ip, "HostPort": str(one.host_port or "")}]
    return out


def port_list(tenant: Tenant, live: LiveSandbox | None) -> list[dict[str, Any]]:
    """Render the ports of the container list."""
    out: list[dict[str, Any]] = []
    for text, rows in port_map(tenant, live).items():
        port, protocol = parse_port(text)
        bound = [row for row in rows or () if row["HostPort"]]
        if not bound:
            out.append({"PrivatePort": port, "Type": protocol})
        for row in bound:
            host = {"IP": row["HostIp"], "PrivatePort": port, "PublicPort": int(row["HostPort"]), "Type": protocol}
            out.append(host)
    return out


def container_settings(tenant: Tenant, live: LiveSandbox | None, networks: dict[str, Any]) -> dict[str, Any]:
    """Render ``NetworkSettings`` of container inspect; the top-level address fields are the default bridge's."""
    main = networks.get("bridge", {})
    return {
        "Bridge": "",
        "SandboxID": live.sandbox_id if live else "",
        "SandboxKey": live.netns_path if live else "",
        "HairpinMode": False,
        "LinkLocalIPv6Address": "",
        "LinkLocalIPv6PrefixLen": 0,
        "SecondaryIPAddresses": None,
        "SecondaryIPv6Addresses": None,
        "Ports": port_map(tenant, live),
        "EndpointID": main.get("EndpointID", ""),
        "Gateway": main.get("Gateway", ""),
        "GlobalIPv6Address": main.get("GlobalIPv6Address", ""),
        "GlobalIPv6PrefixLen": main.get("GlobalIPv6PrefixLen", 0),
        "IPAddress": main.get("IPAddress", ""),
        "IPPrefixLen": main.get("IPPrefixLen", 0),
        "IPv6Gateway": main.get("IPv6Gateway", ""),
        "MacAddress": main.get("MacAddress", "") if live else "",
        "Networks": networks,
    }


def dns_names(tenant: Tenant, settings: EndpointSettings) -> tuple[str, ...]:
    """Return the names a container is found by on a user network, its own name first, no doubles."""
    names = (tenant.name, *(settings.aliases or ()), short(tenant.container_id), tenant.hostname)
    return tuple(dict.fromkeys(name for name in names if name))
