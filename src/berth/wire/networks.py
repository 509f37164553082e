"""Networks as the Docker Engine API writes them: requests, and the parts that requests and answers share.

Field names of the API live here and nowhere else. Anything a client may send as null has a type that says so.
Must not decide anything.
"""

import msgspec

Struct = msgspec.Struct
field = msgspec.field


class IPAMConfig(Struct, frozen=True, omit_defaults=True):
    """One pool of a network."""

    subnet: str = field(name="Subnet", default="")
    ip_range: str = field(name="IPRange", default="")
    gateway: str = field(name="Gateway", default="")
    auxiliary: dict[str, str] | None = field(name="AuxiliaryAddresses", default=None)


class IPAM(Struct, frozen=True):
    """Address management of a network."""

    driver: str = field(name="Driver", default="")
    options: dict[str, str] | None = field(name="Options", default=None)
    config: list[IPAMConfig] | None = field(name="Config", default=None)


class ConfigReference(Struct, frozen=True):
    """The network whose configuration another one takes over."""

    network: str = field(name="Network", default="")


class NetworkCreate(Struct, frozen=True):
    """Body of ``POST /networks/create``."""

    name: str | None = field(name="Name", default=None)
    check_duplicate: bool | None = field(name="CheckDuplicate", default=None)
    driver: str | None = field(name="Driver", default=None)
    scope: str | None = field(name="Scope", default=None)
    enable_ipv4: bool | None = field(name="EnableIPv4", default=None)
    enable_ipv6: bool | None = field(name="EnableIPv6", default=None)
    internal: bool | None = field(name="Internal", default=None)
    attachable: bool | None = field(name="Attachable", default=None)
    ingress: bool | None = field(name="Ingress", default=None)
    config_only: bool | None = field(name="ConfigOnly", default=None)
    config_from: ConfigReference | None = field(name="ConfigFrom", default=None)
    ipam: IPAM | None = field(name="IPAM", default=None)
    options: dict[str, str] | None = field(name="Options", default=None)
    labels: dict[str, str] | None = field(name="Labels", default=None)


class EndpointIPAMConfig(Struct, frozen=True, omit_defaults=True):
    """Addresses a user asks for on one network."""

    ipv4_address: str | None = field(name="IPv4Address", default="")
    ipv6_address: str | None = field(name="IPv6Address", default="")
    link_local_ips: list[str] | None = field(name="LinkLocalIPs", default=None)


class EndpointSettings(Struct, frozen=True):
    """A container on one network: what was asked for and, in answers, what it got."""

    ipam_config: EndpointIPAMConfig | None = field(name="IPAMConfig", default=None)
    links: list[str] | None = field(name="Links", default=None)
    aliases: list[str] | None = field(name="Aliases", default=None)
    mac_address: str | None = field(name="MacAddress", default="")
    driver_opts: dict[str, str] | None = field(name="DriverOpts", default=None)
    gw_priority: int | None = field(name="GwPriority", default=0)
    network_id: str | None = field(name="NetworkID", default="")
    endpoint_id: str | None = field(name="EndpointID", default="")
    gateway: str | None = field(name="Gateway", default="")
    ip_address: str | None = field(name="IPAddress", default="")
    ip_prefix_len: int | None = field(name="IPPrefixLen", default=0)
    ipv6_gateway: str | None = field(name="IPv6Gateway", default="")
    global_ipv6_address: str | None = field(name="GlobalIPv6Address", default="")
    global_ipv6_prefix_len: int | None = field(name="GlobalIPv6PrefixLen", default=0)
    dns_names: list[str] | None = field(name="DNSNames", default=None)


class NetworkingConfig(Struct, frozen=True):
    """The networks named when a container is created."""

    endpoints: dict[str, EndpointSettings | None] | None = field(name="EndpointsConfig", default=None)


class PortBinding(Struct, frozen=True):
    """Where on the host a container's port is published; empty port = any free one."""

    host_ip: str | None = field(name="HostIp", default="")
    host_port: str | None = field(name="HostPort", default="")


#: ``"80/tcp"`` → host sides, as in ``HostConfig.PortBindings`` and ``NetworkSettings.Ports``.
PortMap = dict[str, list[PortBinding] | None]


class NetworkConnect(Struct, frozen=True):
    """Body of ``POST /networks/{id}/connect``."""

    container: str | None = field(name="Container", default=None)
    endpoint: EndpointSettings | None = field(name="EndpointConfig", default=None)


class NetworkShape(Struct, frozen=True):
    """Body of ``POST /berth/networks/{id}/shape``: null leaves a limit as it is, an empty text takes it away."""

    container: str | None = field(name="Container", default=None)
    rate_in: str | None = field(name="RateIn", default=None)
    rate_out: str | None = field(name="RateOut", default=None)
    delay: str | None = field(name="Delay", default=None)
    loss: str | None = field(name="Loss", default=None)


class NetworkDisconnect(Struct, frozen=True):
    """Body of ``POST /networks/{id}/disconnect``."""

    container: str | None = field(name="Container", default=None)
    force: bool | None = field(name="Force", default=None)
