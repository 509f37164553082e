"""Which settings go with which network mode: Docker's conflicts, in its order and words. Pure.

What an image exposes does not count: only what the request itself says can contradict it.
"""

from msgspec.structs import replace

from berth.base.errors import InvalidArgument
from berth.wire.containers import ContainerConfig, ContainerCreate, HostConfig
from berth.wire.networks import NetworkingConfig
from berth.wire.volumes import BindOptions, Mount

#: Since this version several networks may be named when a container is created.
SEVERAL_NETWORKS = (1, 44)


#: Since this version read-only reaches what is mounted below a bind mount's source, unless told otherwise.
READ_ONLY_BELOW = (1, 44)


class ConflictingOptions(InvalidArgument):
    """Two settings contradict each other."""

    def __init__(self, said: str) -> None:
        super().__init__(f"conflicting options: {said}")


class BadNetworkMode(InvalidArgument):
    """A network mode names no container."""

    def __init__(self) -> None:
        super().__init__("invalid network mode: invalid container format container:<name|id>")


class SeveralNetworks(InvalidArgument):
    """A client of an older version named several networks at once."""

    def __init__(self, names: list[str]) -> None:
        super().__init__(
            f"Container cannot be created with multiple network endpoints: {', '.join(names)}. "
            "Connect it to the others with 'docker network connect' after its creation, or use API 1.44 or newer"
        )


def joins_container(mode: str) -> bool:
    """Tell whether a container has another's network namespace. Raises `BadNetworkMode`."""
    kind, _, ref = mode.partition(":")
    if kind == "container" and not ref:
        raise BadNetworkMode
    return kind == "container"


def check_network_mode(config: ContainerConfig, host: HostConfig) -> None:
    """Refuse settings of a namespace that is another's: the container's that is joined, or the host's."""
    joins, on_host = joins_container(host.network_mode), host.network_mode == "host"
    rules = (
        (joins and config.hostname, "hostname and the network mode"),
        (
            joins and host.links,
            "container type network can't be used with links. This would result in undefined behavior",
        ),
        (joins and host.dns, "dns and the network mode"),
        (joins and host.extra_hosts, "custom host-to-IP mapping and the network mode"),
        ((joins or on_host) and config.mac_address, "mac-address and the network mode"),
        (
            joins and (host.port_bindings or host.publish_all_ports),
            "port publishing and the container type network mode",
        ),
        (joins and config.exposed_ports, "port exposing and the container type network mode"),
        (host.uts_mode == "host" and config.hostname, "hostname and the UTS mode"),
        (
            on_host and host.links,
            "host type networking can't be used with links. This would result in undefined behavior",
        ),
    )
    for is_so, said in rules:
        if is_so:
            raise ConflictingOptions(said)


def check_endpoint_count(networking: NetworkingConfig, version: tuple[int, int]) -> None:
    """Refuse several networks at creation from a client too old to know what becomes of them."""
    names = sorted(networking.endpoints or {})
    if len(names) > 1 and version < SEVERAL_NETWORKS:
        raise SeveralNetworks(names)


def as_known_then(want: ContainerCreate, version: tuple[int, int]) -> ContainerCreate:
    """Return a request with the mounts that a client of an older version means by it."""
    mounts = want.host_config.mounts
    if version >= READ_ONLY_BELOW or not mounts:
        return want
    changed = [_only_itself(mount) if mount.type == "bind" and mount.read_only else mount for mount in mounts]
    return replace(want, host_config=replace(want.host_config, mounts=changed))


def _only_itself(mount: Mount) -> Mount:
    options = mount.bind_options or BindOptions()
    if options.read_only_force_recursive or options.read_only_non_recursive is not None:
        return mount
    return replace(mount, bind_options=replace(options, read_only_non_recursive=True))
