"""What may be wrong with published ports; statuses and first sentences are Docker's, as all of networks' errors."""

from berth.base.errors import InvalidArgument, SystemFault


class PortAllocated(SystemFault):
    """A host port belongs to another container."""

    def __init__(self, name: str, endpoint_id: str, host_ip: str, port: int, holder: str) -> None:
        super().__init__(
            f"driver failed programming external connectivity on endpoint {name} ({endpoint_id}): "
            f"Bind for {host_ip}:{port} failed: port is already allocated (by container {holder})"
        )


class PortBusy(SystemFault):
    """A host port belongs to a process of the host."""

    def __init__(self, name: str, endpoint_id: str, where: str, reason: str) -> None:
        super().__init__(
            f"driver failed programming external connectivity on endpoint {name} ({endpoint_id}): "
            f"failed to bind host port for {where}: {reason}"
        )


class LimitNotKept(InvalidArgument):
    """A port for some only, where only the proxy could lead it and rules cannot tell who asks."""

    def __init__(self, name: str, endpoint_id: str, host_ip: str) -> None:
        super().__init__(
            f"driver failed programming external connectivity on endpoint {name} ({endpoint_id}): [{host_ip}] leads to "
            "a container without IPv6 by the proxy, which cannot keep a port for some: give its network --ipv6"
        )


class AllPortsAllocated(SystemFault):
    """No port of a range is free."""

    def __init__(self, name: str, endpoint_id: str) -> None:
        super().__init__(
            f"driver failed programming external connectivity on endpoint {name} ({endpoint_id}): "
            "all ports are allocated"
        )


class BadPort(InvalidArgument):
    """A port, protocol or host address of a publication is malformed."""
