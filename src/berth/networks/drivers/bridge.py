"""Networks that are a bridge of the host, with pairs of links into containers. Pure."""

from collections.abc import Collection, Iterable, Mapping
from typing import Final

from berth.base.paths import Layout
from berth.networks.drivers.base import Seen, Traits, Way
from berth.networks.drivers.errors import IsolatedNotInternal, SegmentOfAnother
from berth.networks.firewall.ruleset import BridgePolicy
from berth.networks.model import LiveEndpoint, NetworkRecord, bridge_name
from berth.networks.options import GatewayMode, parse_bridge
from berth.networks.planning import adopted, bridge_addresses, plan_bridge, plan_link, policy_of
from berth.plan.model import Plan, Planned
from berth.plan.steps.link import LeadLoopback, RetireBridge, UnaddressBridge
from berth.wire.networks import NetworkCreate


class Bridge:
    """See `berth.networks.drivers.base.NetworkDriver`."""

    traits: Final = Traits(near_end=True)

    def check(self, want: NetworkCreate) -> None:
        """Refuse bad values of options, and modes that need an internal network."""
        options = parse_bridge(want.options or {})
        if GatewayMode.ISOLATED in (options.mode4, options.mode6) and not want.internal:
            raise IsolatedNotInternal

    def check_beside(self, record: NetworkRecord, others: Iterable[NetworkRecord]) -> None:
        """Accept: a bridge's name is compared where names are given away."""

    def bridge(self, ident: str, options: Mapping[str, str]) -> str:
        """Return the name asked for, or Docker's."""
        return parse_bridge(options).name or bridge_name(ident)

    def way(self, options: Mapping[str, str], *, internal: bool) -> Way:  # noqa: ARG002
        """Lead out through the bridge."""
        return Way.NONE if internal else Way.GATEWAY

    def own_mac(self, record: NetworkRecord) -> bool:  # noqa: ARG002
        """Every link has its own."""
        return True

    def looks_at(self, record: NetworkRecord) -> tuple[str, ...]:
        """Ask for the bridge."""
        return (record.bridge,)

    def settled(self, layout: Layout, record: NetworkRecord, seen: Seen) -> NetworkRecord:  # noqa: ARG002  # noqa: ARG002
        """Note a bridge that was there before us, which is never deleted."""
        there = seen.get(record.bridge)
        if there is None:
            return record
        if parse_bridge(record.options).segment:
            raise SegmentOfAnother(record.bridge)
        return adopted(record, there.addresses, leads_loopback=there.leads_loopback)

    def plan_network(self, layout: Layout, record: NetworkRecord, seen: Seen) -> Plan:
        """Make the bridge, or see that one that was there before us has its addresses."""
        there = seen.get(record.bridge)
        if there and not record.adopted_bridge:
            return ()
        return plan_bridge(layout, record, there and there.addresses)

    def owned_links(self, record: NetworkRecord) -> tuple[str, ...]:
        """Name the bridge, if we made it."""
        return () if record.adopted_bridge else (record.bridge,)

    def plan_unmake(self, layout: Layout, record: NetworkRecord, others: Iterable[NetworkRecord]) -> Plan:  # noqa: ARG002
        """Take the bridge out of use at once, or leave its owner's as it was."""
        if record.adopted_bridge:
            why = f"network {record.name} goes, its bridge stays"
            back = LeadLoopback(record.bridge, (True, record.led_loopback))
            return (Planned(back, why), Planned(UnaddressBridge(record.bridge, record.lent_addresses), why))
        addresses = bridge_addresses(record, parse_bridge(record.options))
        return tuple(
            Planned(RetireBridge(name, addresses), f"network {record.name} goes") for name in self.owned_links(record)
        )

    def policy(self, record: NetworkRecord) -> BridgePolicy | None:
        """Return what options and kind of network allow."""
        return policy_of(record)

    def link_prefix(self, record: NetworkRecord) -> str:
        """Return the prefix asked for."""
        return parse_bridge(record.options).link_prefix

    def plan_endpoint(
        self, record: NetworkRecord, namespace: str, end: LiveEndpoint, *, way_out: Collection[int], hairpin: bool
    ) -> Plan:
        """Plan a pair of links."""
        return plan_link(record, namespace, end, way_out=way_out, hairpin=hairpin)
