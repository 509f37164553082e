"""What was asked for → a network's new record, checked whole before anything happens. Pure."""

from collections.abc import Sequence

import msgspec

from berth.networks import creation
from berth.networks.drivers.errors import IsolatedNotInternal
from berth.networks.errors import BadOption, ManySubnets, PredefinedName
from berth.networks.firewall import egress
from berth.networks.model import OWN_IPAM, NetworkRecord, Pool
from berth.networks.options import ICC, MTU, NAME_SERVERS, BridgeOptions, GatewayMode, parse_bridge
from berth.networks.planning import bridge_addresses
from berth.wire.network_changes import NetworkUpdate
from berth.wire.networks import IPAMConfig, NetworkCreate


def revised(record: NetworkRecord, want: NetworkUpdate) -> NetworkRecord:
    """Return the record as it is to be. Raises `PredefinedName`, `BadOption`, `BadNetworkConfig`, `ManySubnets`."""
    if record.is_predefined:
        raise PredefinedName(record.name)
    wiring = (want.internal, want.mtu, want.icc, want.dns, want.subnet, want.subnets_add, want.egress, want.allow)
    if record.driver != "bridge" and any(one is not None for one in wiring):
        raise BadOption(
            f"network {record.name} has driver {record.driver}: only labels and attachable can be changed "
            "while it is there; make another network for the rest"
        )
    if record.ipam_driver not in ("", OWN_IPAM) and (want.subnet or want.subnets_add):
        raise BadOption(f"addresses of network {record.name} are given by {record.ipam_driver}, not by this engine")
    if want.gateway and not want.subnet:
        raise BadOption("a gateway is changed together with its subnet: name both")
    dropped = set(want.labels_remove or ())
    labels = {key: value for key, value in record.labels.items() if key not in dropped} | (want.labels_add or {})
    options = _options(record, want)
    internal = record.internal if want.internal is None else want.internal
    pools = _pools(record, want)
    parsed = parse_bridge(options) if record.driver == "bridge" else BridgeOptions()
    if GatewayMode.ISOLATED in (parsed.mode4, parsed.mode6) and not internal:
        raise IsolatedNotInternal
    egress.check(options, record.driver, internal=internal)
    creation.check_mtu(parsed, ipv6=any(":" in pool.subnet for pool in pools))
    if record.driver == "bridge":
        pools = tuple(creation.with_gateway(pool, parsed, internal=internal) for pool in pools)
    new = msgspec.structs.replace(
        record,
        labels=labels,
        options=options,
        internal=internal,
        attachable=record.attachable if want.attachable is None else want.attachable,
        pools=pools,
        enable_ipv4=record.enable_ipv4 or any(":" not in pool.subnet for pool in pools),
        enable_ipv6=record.enable_ipv6 or any(":" in pool.subnet for pool in pools),
    )
    if not record.adopted_bridge:
        return new
    owners = set(bridge_addresses(record, parse_bridge(record.options))) - set(record.lent_addresses)
    lent = tuple(one for one in bridge_addresses(new, parsed) if one not in owners)
    return msgspec.structs.replace(new, lent_addresses=lent)


def _options(record: NetworkRecord, want: NetworkUpdate) -> dict[str, str]:
    options = dict(record.options)
    if want.mtu is not None:
        options[MTU] = str(want.mtu)
    if want.icc is not None:
        options[ICC] = str(want.icc).lower()
    if want.egress is not None:
        options[egress.MODE] = want.egress
        if want.egress == "allow":
            options.pop(egress.ALLOW, None)
    if want.allow is not None:
        options[egress.ALLOW] = ",".join(want.allow)
    if want.dns is not None:
        options[NAME_SERVERS] = ",".join(want.dns)
        if not want.dns:
            del options[NAME_SERVERS]
    return options


def _pools(record: NetworkRecord, want: NetworkUpdate) -> tuple[Pool, ...]:
    pools = list(record.pools)
    if want.subnet:
        fresh = _parsed([IPAMConfig(subnet=want.subnet, gateway=want.gateway or "")])[0]
        at = next((at for at, pool in enumerate(pools) if _family(pool) == _family(fresh)), None)
        if at is None:
            raise BadOption(f"network {record.name} has no IPv{_family(fresh)} subnet to change: add one")
        pools[at] = fresh
    for fresh in _parsed([IPAMConfig(subnet=text) for text in want.subnets_add or ()]):
        if any(_family(pool) == _family(fresh) for pool in pools):
            raise ManySubnets
        pools.append(fresh)
    return tuple(pools)


def _parsed(configs: Sequence[IPAMConfig]) -> list[Pool]:
    return creation.parse_pools(configs)


def _family(pool: Pool) -> int:
    return 6 if ":" in pool.subnet else 4


def renamed(record: NetworkRecord, name: str) -> NetworkRecord:
    """Return the record under another name. Raises `PredefinedName`, `BadNetworkName`, `BadOption`."""
    if record.is_predefined:
        raise PredefinedName(record.name)
    creation.check_request(NetworkCreate(name=name))
    return msgspec.structs.replace(record, name=name)
