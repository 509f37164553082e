"""Address management by a plugin. Must not: know networks or containers."""

from collections.abc import Mapping
from ipaddress import IPv4Interface, IPv6Interface, ip_interface, ip_network
from typing import Final, TypeVar

import msgspec

from berth.base.aio import in_thread
from berth.base.errors import EngineError, Forbidden, SystemFault
from berth.networks.ipam.base import Busy
from berth.networks.model import Pool
from berth.plugins.errors import PluginBabbles, PluginRefused
from berth.plugins.rpc import Plugins
from berth.wire import plugins as wire

T = TypeVar("T")

#: What a plugin implements to manage addresses.
KIND: Final = "IpamDriver"
#: Pools of a plugin's choice that may turn out busy before it is given up; none is given back before the last.
TRIES: Final = 16
#: How Docker asks for a gateway's address.
_GATEWAY_TYPE: Final = {wire.ADDRESS_TYPE: wire.GATEWAY}


class NoUsablePool(SystemFault):
    """Every subnet the plugin offered is routed elsewhere."""

    def __init__(self, name: str, offered: list[Pool]) -> None:
        said = ", ".join(pool.subnet for pool in offered)
        super().__init__(f"plugin {name} offers only subnets that the host routes elsewhere: {said}; name one")


class AuxiliaryOutside(Forbidden):
    """An address to be kept out of allocation is in no pool."""

    def __init__(self, name: str, address: str, pool: str) -> None:
        super().__init__(f"auxiliary address: ({name}:{address}) must belong to the master pool: {pool}")


class Remote:
    """See `berth.networks.ipam.base.Ipam`."""

    def __init__(self, plugins: Plugins, name: str) -> None:
        """Speak to the plugin `name`."""
        self._plugins = plugins
        self._name = name

    async def _call(self, method: str, body: object, answer: type[T]) -> T:
        return await in_thread(self._plugins.call, self._name, f"{KIND}.{method}", body, answer)

    async def _give_back(self, method: str, body: object) -> None:
        await in_thread(self._plugins.take_back, self._name, f"{KIND}.{method}", body)

    async def take_pool(self, wanted: Pool | None, version: int, options: Mapping[str, str], busy: Busy) -> Pool:
        """Ask for a pool, then for its gateway and the addresses kept out; all or none."""
        spaces = await self._call("GetDefaultAddressSpaces", None, wire.AddressSpaces)
        pool, data = await self._unused_pool(spaces.local, wanted, version, options, busy)
        try:
            gateway = _interface(self._name, data.get(wire.GATEWAY, "")) if data.get(wire.GATEWAY) else None
            asked = wanted.gateway if wanted else ""
            if asked or gateway is None:
                gateway = await self._address(pool.pool_id, asked, _GATEWAY_TYPE)
            for name, address in wanted.auxiliary if wanted else ():
                if ip_interface(address).ip not in ip_network(pool.subnet):
                    raise AuxiliaryOutside(name, address, pool.subnet)
                await self._address(pool.pool_id, address, None)
        except BaseException:
            await self.drop_pool(pool)
            raise
        return msgspec.structs.replace(pool, gateway=str(gateway.ip))

    async def _unused_pool(
        self, space: str, wanted: Pool | None, version: int, options: Mapping[str, str], busy: Busy
    ) -> tuple[Pool, dict[str, str]]:
        refused: list[Pool] = []
        try:
            for _ in range(TRIES):
                pool, data = await self._pool(space, wanted, version, options)
                if wanted is not None or not busy(ip_network(pool.subnet)):
                    return pool, data
                refused.append(pool)
            raise NoUsablePool(self._name, refused)
        finally:
            for pool in refused:
                await self.drop_pool(pool)

    async def _pool(
        self, space: str, wanted: Pool | None, version: int, options: Mapping[str, str]
    ) -> tuple[Pool, dict[str, str]]:
        ask = wire.RequestPool(
            space, wanted.subnet if wanted else "", wanted.ip_range if wanted else "", dict(options), version == 6
        )
        said = await self._call("RequestPool", ask, wire.PoolAnswer)
        pool = Pool("", pool_id=said.pool_id, space=space, given=wanted is not None)
        try:
            network = ip_network(said.pool, strict=False)
            if network.version != version:
                raise ValueError(f"{said.pool} is of another IP version")
        except ValueError as exc:
            await self.drop_pool(pool)
            raise PluginBabbles(self._name, f"{KIND}.RequestPool", str(exc)) from None
        whole = msgspec.structs.replace(
            pool,
            subnet=str(network),
            ip_range=wanted.ip_range if wanted else "",
            auxiliary=wanted.auxiliary if wanted else (),
        )
        return whole, said.data or {}

    async def drop_pool(self, pool: Pool) -> None:
        """Tell the plugin."""
        await self._give_back("ReleasePool", wire.PoolOnly(pool.pool_id))

    async def take_address(self, pool: Pool, wanted: str, mac: str) -> tuple[str, int]:
        """Ask the plugin, with the MAC if it needs it."""
        found = await self._address(pool.pool_id, wanted, {wire.MAC: mac} if mac and await self._needs_mac() else None)
        return str(found.ip), found.network.prefixlen

    async def _needs_mac(self) -> bool:
        try:
            return (await self._call("GetCapabilities", None, wire.IpamCapabilities)).needs_mac
        except EngineError:
            return False  # Docker's reading too: a plugin need not have capabilities

    async def _address(
        self, pool_id: str, wanted: str, options: dict[str, str] | None
    ) -> IPv4Interface | IPv6Interface:
        ask = wire.RequestAddress(pool_id, wanted, options)
        said = await self._call("RequestAddress", ask, wire.AddressAnswer)
        if not said.address:
            raise PluginRefused("no address returned")
        return _interface(self._name, said.address)

    async def drop_address(self, pool: Pool, address: str) -> None:
        """Tell the plugin."""
        await self._give_back("ReleaseAddress", wire.ReleaseAddress(pool.pool_id, address))


def _interface(name: str, text: str) -> IPv4Interface | IPv6Interface:
    try:
        if "/" not in text:
            raise ValueError(f"{text!r} has no prefix length")
        return ip_interface(text)
    except ValueError as exc:
        raise PluginBabbles(name, f"{KIND}.RequestAddress", str(exc)) from None
