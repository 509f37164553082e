"""What may be wrong with networks; statuses and first sentences are Docker's, for clients look at both.

Facts checked against dockerd 20.10 and moby's sources; odd ones: a taken address or pool and an attached network
are *forbidden*, exhausted pools are *invalid*, a missing attachment is a plain *system* error.
"""

from collections.abc import Iterable, Sequence

from berth.base.errors import Conflict, Forbidden, InvalidArgument, NotFound, SystemFault
from berth.plugins.errors import PluginNotFound as PluginNotFound


class NetworkNotFound(NotFound):
    """Nothing has that name or id."""

    def __init__(self, ref: str) -> None:
        super().__init__(f"network {ref} not found")


class NetworkAmbiguous(InvalidArgument):
    """An id prefix or name fits several."""

    def __init__(self, ref: str, count: int) -> None:
        super().__init__(f"network {ref} is ambiguous ({count} matches found on ID prefix)")


class NetworkNameTaken(Conflict):
    """A network of that name exists."""

    def __init__(self, name: str) -> None:
        super().__init__(f"network with name {name} already exists")


class BadNetworkName(InvalidArgument):
    """A name is blank."""

    def __init__(self, name: str) -> None:
        super().__init__(f"invalid name: {name}: network name is empty")


class BadNetworkConfig(InvalidArgument):
    """Subnets, gateways or ranges do not fit together; says everything that is wrong."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("invalid network config:\n" + "\n".join(problems))
        self.problems = tuple(problems)


class BadOption(InvalidArgument):
    """A driver option has a bad value."""


class PredefinedName(Forbidden):
    """The name belongs to a network that is always there."""

    def __init__(self, name: str) -> None:
        super().__init__(f"operation is not permitted on predefined {name} network")


class PredefinedNetwork(Forbidden):
    """A predefined network cannot be removed."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} is a pre-defined network and cannot be removed")


class ConfigWithOperatorFields(Forbidden):
    """A network that holds settings for others was asked for with what is each network's own."""

    def __init__(self) -> None:
        super().__init__(
            "configuration network can only contain network specific fields. Network operator fields like "
            "[ ingress | internal | attachable | scope ] are not supported."
        )


class ConfigDependsOnConfig(Forbidden):
    """Settings are taken from a network that has them itself."""

    def __init__(self) -> None:
        super().__init__("a configuration network cannot depend on another configuration network")


class OwnSettingsBesideConfig(Forbidden):
    """Settings of one's own do not go with those of a configuration network."""

    def __init__(self) -> None:
        super().__init__(
            "user specified configurations are not supported if the network depends on a configuration network"
        )


class ConfigNetworkMissing(NotFound):
    """The network to take settings from is not there, or is one for containers (`is_plain`)."""

    def __init__(self, name: str, *, is_plain: bool) -> None:
        super().__init__(
            f'configuration network "{name}" does not exist'
            + ("; a network of that name does, but not one made with --config-only" if is_plain else "")
        )


class ConfigInUse(Forbidden):
    """Networks have their settings from the one that is to be removed."""

    def __init__(self, name: str, users: Sequence[str]) -> None:
        said = f'configuration network "{name}" is in use (by {", ".join(users)})'
        super().__init__(f"error while removing network: {said}")


class ConfigNotJoinable(Forbidden):
    """No container can be on a network that only holds settings."""

    def __init__(self, name: str) -> None:
        super().__init__(f"cannot create endpoint on configuration-only network ({name}); make one with --config-from")


class NotASwarmManager(Forbidden):
    """An overlay network needs a cluster."""

    def __init__(self) -> None:
        super().__init__(
            'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node '
            "to swarm and try again."
        )


class OnlyOneInstance(Forbidden):
    """There is one host network and one null network."""

    def __init__(self, driver: str) -> None:
        super().__init__(f'only one instance of "{driver}" network is allowed')


class ManySubnets(Forbidden):
    """A bridge has one subnet of a family."""

    def __init__(self) -> None:
        super().__init__("bridge driver doesn't support multiple subnets")


class KeptAddressTaken(SystemFault):
    """A gateway or auxiliary address asked for is another's already; Docker finds it late and answers 500."""

    def __init__(self, what: str, holder: str) -> None:
        super().__init__(f"failed to allocate {what}: Address already in use (by {holder})")


class PoolOverlaps(Forbidden):
    """A subnet asked for is in use."""

    def __init__(self, subnet: str, other: str, holder: str) -> None:
        super().__init__(
            "invalid pool request: Pool overlaps with other one on this address space"
            f" ({subnet} overlaps {other} of {holder})"
        )


class BridgeSubnetTaken(Forbidden):
    """A plugin gave a bridge a subnet that another network has."""

    def __init__(self, subnet: str, holder: str) -> None:
        super().__init__(f"cannot create network: it conflicts with network {holder}: {subnet} overlaps its subnet")


class PoolsExhausted(InvalidArgument):
    """No default subnet is left."""

    def __init__(self, version: int = 4, routed: Sequence[str] = ()) -> None:
        super().__init__(
            "all predefined address pools have been fully subnetted: could not find an available, non-overlapping "
            f"IPv{version} address pool among the defaults to assign to the network; name one with --subnet, or remove "
            "unused networks with 'network prune'"
            + (f"; kept clear of, because this host routes them elsewhere: {', '.join(routed)}" if routed else "")
        )


class BridgeNameTaken(Forbidden):
    """A bridge device belongs to another network."""

    def __init__(self, network_id: str, bridge: str, other_id: str, other_bridge: str) -> None:
        super().__init__(
            f"cannot create network {network_id} ({bridge}): conflicts with network {other_id} ({other_bridge}): "
            "networks have same bridge name"
        )


class HasActiveEndpoints(Forbidden):
    """Running containers are on the network."""

    def __init__(self, name: str, ident: str, holders: Sequence[tuple[str, str]]) -> None:
        said = ", ".join(f'name:"{holder}" id:"{endpoint[:12]}"' for holder, endpoint in holders)
        super().__init__(f"error while removing network: network {name} id {ident} has active endpoints ({said})")


class EndpointExists(Forbidden):
    """The container is on the network already."""

    def __init__(self, container: str, network: str) -> None:
        super().__init__(f"endpoint with name {container} already exists in network {network}")


class NotConnected(SystemFault):
    """The container is not on the network."""

    def __init__(self, container_id: str, network: str, *, running: bool) -> None:
        # Docker's two places that say so differ by a word
        article = "" if running else "the "
        super().__init__(f"container {container_id} is not connected to {article}network {network}")


class AddressTaken(Forbidden):
    """A static address is in use."""

    def __init__(self, address: str, network: str, holder: str) -> None:
        super().__init__(
            f"failed to set up container networking: Address already in use ({address} on network {network} is held "
            f"by {holder})"
        )


class AddressOfOldSubnet(SystemFault):
    """A static address is in none of the network's subnets: the network was made anew with others."""

    def __init__(self, address: str, network: str, subnets: Iterable[str]) -> None:
        super().__init__(
            f"Invalid address {address}: It does not belong to any of this network's subnets. Network {network} has "
            f"{', '.join(subnets)}; disconnect the container and connect it again with an address in there"
        )


class NoAddressLeft(SystemFault):
    """A network's range is full."""

    def __init__(self, network: str, version: int = 4) -> None:
        super().__init__(f"no available IPv{version} addresses on this network's address pools: {network}")


class HostNetworkFixed(InvalidArgument):
    """The host network cannot be joined or left."""

    def __init__(self) -> None:
        super().__init__("container cannot be disconnected from host network or connected to host network")


class PrivateModeMixed(InvalidArgument):
    """The none network goes with no other."""

    def __init__(self) -> None:
        super().__init__(
            "container cannot be connected to multiple networks with one of the networks in private (none) mode"
        )


class SharedNamespace(InvalidArgument):
    """A container in another's namespace has no networks of its own."""

    def __init__(self) -> None:
        super().__init__(
            "container sharing network namespace with another container or host "
            "cannot be connected to any other network"
        )


class AddressOnDefaultNetwork(InvalidArgument):
    """An address was asked for on a built-in network."""

    def __init__(self) -> None:
        super().__init__("user specified IP address is supported on user defined networks only")


class AliasOnDefaultNetwork(InvalidArgument):
    """An alias was asked for on a built-in network."""

    def __init__(self) -> None:
        super().__init__("network-scoped alias is supported only for containers in user defined networks")


class AddressOutside(InvalidArgument):
    """No subnet of the network has the address."""

    def __init__(self, address: str, subnets: Sequence[str]) -> None:
        super().__init__(
            f"invalid endpoint settings: no configured subnet contains IP address {address} "
            f"(the network has {', '.join(subnets) or 'none'})"
        )


class LinkToStopped(SystemFault):
    """The container that ``--link`` names does not run."""

    def __init__(self, target: str, link: str) -> None:
        super().__init__(
            f"Cannot link to a non running container: /{target} AS /{link}. Start it first: docker start {target}"
        )


class LinkElsewhere(SystemFault):
    """The container that ``--link`` names is not on the default network."""

    def __init__(self, target: str) -> None:
        super().__init__(f"Cannot link to /{target}, as it does not belong to the default network")


class Leaving(SystemFault):
    """Its networks are fixed: it is being removed, or was not removed whole. Docker has no kind for it: 500."""

    def __init__(self, ident: str) -> None:
        super().__init__(
            f"Container {ident} is marked for removal and cannot be connected or disconnected to the network: "
            f"'docker rm {ident[:12]}' removes what is left of it"
        )


class NotRunning(Conflict):
    """The container whose namespace is wanted does not run."""

    def __init__(self, container_id: str) -> None:
        super().__init__(f"cannot join network namespace of a non running container: container {container_id}")


class NoNetworkNow(Conflict):
    """The container whose packets are asked for does not run."""

    def __init__(self, container_id: str) -> None:
        super().__init__(f"container {container_id} is not running: it has no network now")


class CannotJoin(SystemFault):
    """The namespace wanted can never be joined; Docker answers 500."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"joining network namespace of container: {reason}")


class PruneRunning(Conflict):
    """One prune at a time."""

    def __init__(self) -> None:
        super().__init__("a prune operation is already running")
