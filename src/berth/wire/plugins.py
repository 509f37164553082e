"""Docker's plugin protocol v1 for networks and address management, as its JSON has it. Pure; must not decide anything.

Names are those of moby's ``libnetwork/drivers/remote/api`` and ``libnetwork/ipams/remote/api``. Answers name only what
is read of them.
"""

from typing import Any, Final

import msgspec

Struct = msgspec.Struct
field = msgspec.field

#: Keys of driver options and of a pool's data.
GENERIC: Final = "com.docker.network.generic"
ENABLE_IPV4: Final = "com.docker.network.enable_ipv4"
ENABLE_IPV6: Final = "com.docker.network.enable_ipv6"
INTERNAL: Final = "com.docker.network.internal"
GATEWAY: Final = "com.docker.network.gateway"
MAC: Final = "com.docker.network.endpoint.macaddress"
EXPOSED_PORTS: Final = "com.docker.network.endpoint.exposedports"
PORT_MAP: Final = "com.docker.network.portmap"
#: What an address is asked for, if not for a container.
ADDRESS_TYPE: Final = "RequestAddressType"


class Capabilities(Struct, frozen=True):
    """Answer to ``NetworkDriver.GetCapabilities``."""

    scope: str = field(name="Scope", default="")
    connectivity_scope: str = field(name="ConnectivityScope", default="")


class AddressData(Struct, frozen=True, omit_defaults=True):
    """One subnet, as ``CreateNetwork`` is told it; the gateway with its prefix length."""

    space: str = field(name="AddressSpace", default="")
    pool: str = field(name="Pool", default="")
    gateway: str = field(name="Gateway", default="")
    auxiliary: dict[str, str] | None = field(name="AuxAddresses", default=None)


class CreateNetwork(Struct, frozen=True):
    """``NetworkDriver.CreateNetwork``."""

    network_id: str = field(name="NetworkID")
    options: dict[str, Any] = field(name="Options")
    ipv4: tuple[AddressData, ...] = field(name="IPv4Data")
    ipv6: tuple[AddressData, ...] = field(name="IPv6Data")


class NetworkOnly(Struct, frozen=True):
    """``NetworkDriver.DeleteNetwork``."""

    network_id: str = field(name="NetworkID")


class Interface(Struct, frozen=True):
    """Addresses of an endpoint: with prefix length, and its MAC; both ways."""

    address: str = field(name="Address", default="")
    address6: str = field(name="AddressIPv6", default="")
    mac: str = field(name="MacAddress", default="")


class CreateEndpoint(Struct, frozen=True):
    """``NetworkDriver.CreateEndpoint``."""

    network_id: str = field(name="NetworkID")
    endpoint_id: str = field(name="EndpointID")
    interface: Interface = field(name="Interface")
    options: dict[str, Any] = field(name="Options")


class CreateEndpointAnswer(Struct, frozen=True):
    """What the plugin chose of what it was not told."""

    interface: Interface | None = field(name="Interface", default=None)


class EndpointOnly(Struct, frozen=True):
    """``NetworkDriver.DeleteEndpoint``, ``Leave``, ``EndpointOperInfo``."""

    network_id: str = field(name="NetworkID")
    endpoint_id: str = field(name="EndpointID")


class OperInfoAnswer(Struct, frozen=True):
    """What a plugin says of an endpoint, in any form."""

    value: dict[str, Any] | None = field(name="Value", default=None)


class Join(Struct, frozen=True):
    """``NetworkDriver.Join``."""

    network_id: str = field(name="NetworkID")
    endpoint_id: str = field(name="EndpointID")
    sandbox: str = field(name="SandboxKey")
    options: dict[str, Any] = field(name="Options")


class InterfaceName(Struct, frozen=True):
    """The link to move into the container, and how it is to be named there but for the number."""

    source: str = field(name="SrcName", default="")
    prefix: str = field(name="DstPrefix", default="")


class StaticRoute(Struct, frozen=True):
    """A route of the container: kind 0 through a neighbour, 1 through the link itself."""

    destination: str = field(name="Destination", default="")
    kind: int = field(name="RouteType", default=0)
    hop: str = field(name="NextHop", default="")


class JoinAnswer(Struct, frozen=True):
    """How the container is joined to the network."""

    interface: InterfaceName | None = field(name="InterfaceName", default=None)
    gateway: str = field(name="Gateway", default="")
    gateway6: str = field(name="GatewayIPv6", default="")
    routes: tuple[StaticRoute, ...] | None = field(name="StaticRoutes", default=None)
    no_gateway_service: bool = field(name="DisableGatewayService", default=False)


class ExternalConnectivity(Struct, frozen=True):
    """``NetworkDriver.ProgramExternalConnectivity``."""

    network_id: str = field(name="NetworkID")
    endpoint_id: str = field(name="EndpointID")
    options: dict[str, Any] = field(name="Options")


# -- address management ---------------------------------------------------------------------------------------------


class IpamCapabilities(Struct, frozen=True):
    """Answer to ``IpamDriver.GetCapabilities``."""

    needs_mac: bool = field(name="RequiresMACAddress", default=False)


class AddressSpaces(Struct, frozen=True):
    """Answer to ``IpamDriver.GetDefaultAddressSpaces``."""

    local: str = field(name="LocalDefaultAddressSpace", default="")
    wide: str = field(name="GlobalDefaultAddressSpace", default="")


class RequestPool(Struct, frozen=True):
    """``IpamDriver.RequestPool``."""

    space: str = field(name="AddressSpace")
    pool: str = field(name="Pool")
    sub_pool: str = field(name="SubPool")
    options: dict[str, str] | None = field(name="Options")
    v6: bool = field(name="V6")


class PoolAnswer(Struct, frozen=True):
    """A pool that is ours until it is released."""

    pool_id: str = field(name="PoolID", default="")
    pool: str = field(name="Pool", default="")
    data: dict[str, str] | None = field(name="Data", default=None)


class PoolOnly(Struct, frozen=True):
    """``IpamDriver.ReleasePool``."""

    pool_id: str = field(name="PoolID")


class RequestAddress(Struct, frozen=True):
    """``IpamDriver.RequestAddress``; an empty address is any."""

    pool_id: str = field(name="PoolID")
    address: str = field(name="Address")
    options: dict[str, str] | None = field(name="Options")


class AddressAnswer(Struct, frozen=True):
    """An address with its prefix length, ours until it is released."""

    address: str = field(name="Address", default="")
    data: dict[str, str] | None = field(name="Data", default=None)


class ReleaseAddress(Struct, frozen=True):
    """``IpamDriver.ReleaseAddress``."""

    pool_id: str = field(name="PoolID")
    address: str = field(name="Address")
