"""The use case "what is there": networks with their members, links, counters, routes and policy. Changes nothing."""

from collections.abc import Iterable, Mapping
from typing import Any

from berth.base.aio import in_thread
from berth.kernel import netview
from berth.kernel.netview import Counters, LinkView, RouteView, View
from berth.networks.explain.known import Subject
from berth.networks.firewall import egress
from berth.networks.model import LiveEndpoint, LiveSandbox, NetworkRecord
from berth.networks.options import BridgeOptions, GatewayMode, parse_bridge
from berth.networks.planning import ways_out
from berth.networks.register import Register
from berth.store.base import Records


class Seer:
    """Shows networks as they are."""

    def __init__(self, live: Records[LiveSandbox], register: Register) -> None:
        self._live = live
        self._register = register

    async def networks(self, containers: Iterable[Subject]) -> list[dict[str, Any]]:
        """Return every network with its members and their counters."""
        subjects = {one.id: one for one in containers}
        host, counters = await in_thread(_host)
        return [self._network(record, subjects, host, counters) for record in self._register.all()]

    async def network(self, ref: str, containers: Iterable[Subject]) -> dict[str, Any]:
        """Return one network, and of each member its links and routes too. Raises `NetworkNotFound`."""
        record = self._register.find(ref)
        subjects = {one.id: one for one in containers}
        host, counters = await in_thread(_host)
        shown = self._network(record, subjects, host, counters)
        for member in shown["Containers"]:
            live = self._live.get(member["Id"])
            if live is not None and live.netns_path:
                view = await in_thread(netview.look, live.netns_path)
                member["Routes"] = [_route(one) for one in view.routes]
                member["Links"] = [_link(one) for one in view.links if one.name != "lo"]
        shown["Routes"] = [_route(one) for one in host.routes if one.link == record.bridge]
        return shown

    def _network(
        self, record: NetworkRecord, subjects: Mapping[str, Subject], host: View, counters: Mapping[str, Counters]
    ) -> dict[str, Any]:
        attached = self._register.attached(record.id)
        options = parse_bridge(record.options)
        bridge = next((one for one in host.links if one.name == record.bridge), None)
        return {
            "Id": record.id,
            "Name": record.name,
            "Driver": record.driver,
            "Subnets": [pool.subnet for pool in record.pools],
            "Gateways": [pool.gateway for pool in record.pools if pool.gateway],
            "Free": sum(one.available for subnet, one in self._register.usage(record).items() if ":" not in subnet),
            "Bridge": record.bridge,
            "MTU": bridge.mtu if bridge else options.mtu or 1500,
            "LargestSegment": bridge.segment if bridge else 0,
            "Internal": record.internal,
            "Policy": policy(record, options),
            "Containers": [
                self._member(subjects.get(ident) or Subject(ident, ident[:12], "running"), end, host, counters)
                for ident, end in attached.items()
            ],
        }

    def _member(
        self, subject: Subject, end: LiveEndpoint, host: View, counters: Mapping[str, Counters]
    ) -> dict[str, Any]:
        live = self._live.get(subject.id)
        port = next((one for one in host.links if one.name == end.host_link), None)
        ways = ways_out(live.endpoints, live.on(end.network_id) or end) if live else ()
        is_way_out = bool(ways)
        published = [one for one in live.published if (6 if ":" in one.host_ip else 4) in ways] if live else []
        return {
            "Id": subject.id,
            "Name": subject.name,
            "State": subject.state,
            "Link": end.link,
            "HostLink": end.host_link,
            "IsUp": port is not None and port.is_up and port.passes,
            "MAC": end.mac,
            "IPv4": f"{end.ipv4}/{end.prefix4}" if end.ipv4 else "",
            "IPv6": f"{end.ipv6}/{end.prefix6}" if end.ipv6 else "",
            "IsWayOut": is_way_out,
            "Ports": [
                {"HostIp": one.host_ip, "HostPort": one.host_port, "Port": one.container_port, "Protocol": one.protocol}
                for one in published
            ],
            "Counters": as_seen_inside(counters.get(end.host_link, Counters())),
        }


def _route(route: RouteView) -> dict[str, str]:
    return {"Destination": route.destination or "default", "Gateway": route.gateway, "Link": route.link}


def _link(link: LinkView) -> dict[str, Any]:
    up = link.is_up and link.passes
    return {
        "Name": link.name,
        "IsUp": up,
        "MTU": link.mtu,
        "LargestSegment": link.segment,
        "MAC": link.mac,
        "Addresses": link.addresses,
    }


def _host() -> tuple[View, dict[str, Counters]]:
    return netview.look(), netview.counters()


def as_seen_inside(host: Counters) -> dict[str, int]:
    """Turn a host link's counters round: what it received, the container sent."""
    return {
        "RxBytes": host.tx_bytes,
        "RxPackets": host.tx_packets,
        "RxDropped": host.tx_dropped,
        "TxBytes": host.rx_bytes,
        "TxPackets": host.rx_packets,
        "TxDropped": host.rx_dropped,
    }


def policy(record: NetworkRecord, options: BridgeOptions) -> list[str]:
    """Say in words what may pass: what the rules of the engine's table do with this network."""
    if record.driver == "host":
        return ["containers use the host's own network: nothing of ours stands between"]
    if record.driver == "null":
        return ["containers have a loopback link only"]
    said = ["its containers reach each other" if options.icc else "its containers do not reach each other (icc off)"]
    if egress.parse(record.options).deny:
        allowed = ", ".join(egress.entries(record.options))
        said.append(f"what they begin is let out {f'to {allowed} only' if allowed else 'nowhere'} (egress deny)")
    versions = [version for version, has in ((4, record.enable_ipv4), (6, record.enable_ipv6)) if has]
    modes = {version: options.mode(version) for version in versions}
    if record.internal:
        closed = all(mode is GatewayMode.ISOLATED for mode in modes.values())
        return [
            *said,
            f"internal: nothing enters or leaves{'' if closed else ' but for the host by its address on the bridge'}",
        ]
    if len(set(modes.values())) == 1 and not (options.source4 or options.source6):
        return said + _family_policy(modes[versions[0]], options, "")
    for version, mode in modes.items():
        source = options.source4 if version == 4 else options.source6
        said += [f"IPv{version}: {one}" for one in _family_policy(mode, options, source)]
    return said


def _family_policy(mode: GatewayMode, options: BridgeOptions, source: str) -> list[str]:
    reached = {
        GatewayMode.UNPROTECTED: "every port is reached from outside (gateway mode nat-unprotected)",
        GatewayMode.ROUTED: "published ports are reached at containers' own addresses (gateway mode routed)",
    }.get(mode, "from outside and from other networks only published ports are reached")
    if mode is GatewayMode.ROUTED or not options.masquerade:
        return [reached, "what leaves keeps its address: others need a route back"]
    return [reached, f"what leaves has the address {source or 'of the outgoing link'}"]
