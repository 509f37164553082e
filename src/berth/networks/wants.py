"""What containers may want of networks: put into canonical form and checked. Pure but for the register's memory."""

import re
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

import msgspec

from berth.networks import hosts_files
from berth.networks.drivers.registry import driver_of
from berth.networks.endpoint_options import parse_endpoint
from berth.networks.errors import (
    AddressOnDefaultNetwork,
    AddressOutside,
    AliasOnDefaultNetwork,
    BadOption,
    HostNetworkFixed,
    NetworkNotFound,
    PrivateModeMixed,
    SharedNamespace,
)
from berth.networks.ipam.addresses import contains
from berth.networks.model import DEFAULT, NetworkRecord, Tenant
from berth.networks.options import ENDPOINT_LINK
from berth.networks.ports.choose import parse_port, wishes
from berth.networks.register import Register
from berth.wire.networks import EndpointSettings

_MAC: Final = re.compile(r"([0-9a-fA-F]{2}[:-]){5}[0-9a-fA-F]{2}\Z")


def normalised(tenant: Tenant, register: Register) -> Tenant:
    """Return the tenant with endpoints keyed by network name, the mode's network first."""
    mode = DEFAULT if tenant.mode in ("", "default") else tenant.mode
    if mode.startswith("container:"):
        return msgspec.structs.replace(tenant, mode=mode, endpoints={})
    main = _name_of(mode, register)
    found: dict[str, EndpointSettings] = {}
    for ref, settings in tenant.endpoints.items():
        name = main if ref == "default" else _name_of(ref, register)
        found[name] = msgspec.structs.replace(settings or EndpointSettings(), endpoint_id="")
    if not found:
        found[main] = EndpointSettings()
    if tenant.mac_address and main in found and not found[main].mac_address:
        found[main] = msgspec.structs.replace(found[main], mac_address=tenant.mac_address)
    first = {main: found[main]} if main in found else {}
    return msgspec.structs.replace(tenant, mode=mode, endpoints=first | found)


def _name_of(ref: str, register: Register) -> str:
    try:
        return register.find(ref).name
    except NetworkNotFound:
        return ref  # as in Docker: missed when the container starts


def check(tenant: Tenant, register: Register) -> None:
    """Refuse what can never work. The tenant is normalised."""
    for text in tenant.exposed_ports:
        parse_port(text)
    wishes(tenant.port_bindings, tenant.exposed_ports, publish_all=tenant.publish_all_ports)
    for text in tenant.extra_hosts:
        try:
            hosts_files.parse_extra_host(text)
        except ValueError as exc:
            raise BadOption(str(exc)) from None
    for text in tenant.dns:
        _address("DNS address", text)
    if tenant.mode.startswith("container:"):
        _check_shared(tenant)
        return
    if len(tenant.endpoints) > 1:
        if "none" in tenant.endpoints:
            raise PrivateModeMixed
        if "host" in tenant.endpoints:
            raise HostNetworkFixed
    for name, settings in tenant.endpoints.items():
        check_endpoint(register.named(name), settings)
    check_link_names(tenant)


def check_link_names(tenant: Tenant) -> None:
    """Refuse one name for the links of two attachments."""
    seen: dict[str, str] = {}
    for name, settings in tenant.endpoints.items():
        link = parse_endpoint(settings.driver_opts).link
        if link and seen.setdefault(link, name) != name:
            raise BadOption(f"invalid value for {ENDPOINT_LINK}: {link} is the link into network {seen[link]} already")


def _check_shared(tenant: Tenant) -> None:
    problems = (
        (tenant.links, "container type network can't be used with links. This would result in undefined behavior"),
        (tenant.dns, "dns and the network mode"),
        (tenant.extra_hosts, "custom host-to-IP mapping and the network mode"),
        (tenant.mac_address, "mac-address and the network mode"),
        (tenant.port_bindings or tenant.publish_all_ports, "port publishing and the container type network mode"),
    )
    for is_there, said in problems:
        if is_there:
            raise BadOption(f"conflicting options: {said}")


def check_endpoint(record: NetworkRecord | None, settings: EndpointSettings) -> None:
    """Refuse settings that make no sense, or do not fit a network; one that is yet to come is None."""
    if settings.mac_address and not _MAC.match(settings.mac_address):
        raise BadOption(f"invalid MAC address: {settings.mac_address}")
    wanted = settings.ipam_config
    for text, kind in ((wanted.ipv4_address, IPv4Address), (wanted.ipv6_address, IPv6Address)) if wanted else ():
        if not text:
            continue
        address = _address("IP address", text)
        if not isinstance(address, kind):
            raise BadOption(f"invalid {'IPv4' if kind is IPv4Address else 'IPv6'} address: {text}")
        if record is None:
            continue
        if record.is_predefined:
            raise AddressOnDefaultNetwork
        if not any(contains(pool, address) for pool in record.pools):
            raise AddressOutside(text, [pool.subnet for pool in record.pools])
    if settings.aliases and record is not None and record.is_predefined:
        raise AliasOnDefaultNetwork
    for text in (wanted.link_local_ips or ()) if wanted else ():
        if _address("link-local IP address", text).is_unspecified:
            raise BadOption(f"invalid link-local IP address: {text}")
    parse_endpoint(settings.driver_opts)


def _address(what: str, text: str) -> IPv4Address | IPv6Address:
    try:
        return ip_address(text)
    except ValueError:
        raise BadOption(f"invalid {what}: {text}") from None


def check_joinable(tenant: Tenant, record: NetworkRecord) -> None:
    """Refuse a network that cannot be joined by a container that is there already."""
    if tenant.mode == "host" or tenant.mode.startswith("container:"):
        raise SharedNamespace
    if driver_of(record).traits.on_host:
        raise HostNetworkFixed
    others = set(tenant.endpoints) - {record.name}
    if (not driver_of(record).traits.links and others) or "none" in others:
        raise PrivateModeMixed
