"""Networks that only hold settings for others, and networks that take theirs from one. Pure.

Words are Docker's. A configuration network has no link, no address and no container; its subnets are taken when a
network is made from it.
"""

import msgspec

from berth.networks.errors import (
    ConfigDependsOnConfig,
    ConfigNetworkMissing,
    ConfigWithOperatorFields,
    OwnSettingsBesideConfig,
)
from berth.networks.model import NetworkRecord
from berth.wire.networks import IPAM, IPAMConfig, NetworkCreate


def source_of(want: NetworkCreate) -> str:
    """Return the name of the network whose settings are wanted, empty for none."""
    return want.config_from.network if want.config_from else ""


def check(want: NetworkCreate) -> None:
    """Refuse what does not go with holding settings for others, or with taking others'."""
    if want.config_only:
        if want.ingress or want.internal or want.attachable or want.scope:
            raise ConfigWithOperatorFields
        if source_of(want):
            raise ConfigDependsOnConfig
    elif source_of(want) and _has_own(want):
        raise OwnSettingsBesideConfig


def _has_own(want: NetworkCreate) -> bool:
    ipam = want.ipam
    has_ipam = ipam is not None and bool(ipam.driver not in ("", "default") or ipam.options or ipam.config)
    return bool(has_ipam or want.enable_ipv6 or want.enable_ipv4 is False or want.labels or want.options)


def held(record: NetworkRecord) -> NetworkRecord:
    """Turn the record of a checked network into that of a configuration network."""
    return msgspec.structs.replace(record, driver="null", config_only=True, bridge="")


def applied(want: NetworkCreate, config: NetworkRecord | None) -> NetworkCreate:
    """Return what is wanted with the settings of a configuration network filled in.

    Raises `ConfigNetworkMissing`.
    """
    if config is None or not config.config_only:
        raise ConfigNetworkMissing(source_of(want), is_plain=config is not None)
    pools = [
        IPAMConfig(pool.subnet, pool.ip_range, pool.gateway, dict(pool.auxiliary) or None) for pool in config.pools
    ]
    return msgspec.structs.replace(
        want,
        enable_ipv4=config.enable_ipv4,
        enable_ipv6=config.enable_ipv6,
        ipam=IPAM(config.ipam_driver, config.ipam_options, pools),
        options=config.options,
        labels=config.labels,
    )
