"""What networks without links have in common, those of drivers ``host`` and ``null``: nothing to plan. Pure."""

from collections.abc import Collection, Iterable, Mapping

from berth.base.paths import Layout
from berth.networks.drivers.base import Seen, Way
from berth.networks.firewall.ruleset import BridgePolicy
from berth.networks.model import LiveEndpoint, NetworkRecord
from berth.plan.model import Plan
from berth.wire.networks import NetworkCreate


class Linkless:
    """A network of which the kernel knows nothing."""

    def check(self, want: NetworkCreate) -> None:
        """Accept: nobody makes a second one."""

    def check_beside(self, record: NetworkRecord, others: Iterable[NetworkRecord]) -> None:
        """Accept."""

    def bridge(self, ident: str, options: Mapping[str, str]) -> str:  # noqa: ARG002
        """Return that there is none."""
        return ""

    def way(self, options: Mapping[str, str], *, internal: bool) -> Way:  # noqa: ARG002
        """Lead nowhere."""
        return Way.NONE

    def own_mac(self, record: NetworkRecord) -> bool:  # noqa: ARG002
        """Have none."""
        return False

    def looks_at(self, record: NetworkRecord) -> tuple[str, ...]:  # noqa: ARG002
        """Ask for nothing."""
        return ()

    def settled(self, layout: Layout, record: NetworkRecord, seen: Seen) -> NetworkRecord:  # noqa: ARG002
        """Return the record as it is."""
        return record

    def plan_network(self, layout: Layout, record: NetworkRecord, seen: Seen) -> Plan:  # noqa: ARG002
        """Plan nothing."""
        return ()

    def owned_links(self, record: NetworkRecord) -> tuple[str, ...]:  # noqa: ARG002
        """Own nothing."""
        return ()

    def plan_unmake(self, layout: Layout, record: NetworkRecord, others: Iterable[NetworkRecord]) -> Plan:  # noqa: ARG002
        """Plan nothing."""
        return ()

    def policy(self, record: NetworkRecord) -> BridgePolicy | None:  # noqa: ARG002
        """Return that there is no bridge."""
        return None

    def link_prefix(self, record: NetworkRecord) -> str:  # noqa: ARG002
        """Return nothing: there are no links."""
        return ""

    def plan_endpoint(
        self,
        record: NetworkRecord,  # noqa: ARG002
        namespace: str,  # noqa: ARG002
        end: LiveEndpoint,  # noqa: ARG002
        *,
        way_out: Collection[int],  # noqa: ARG002
        hairpin: bool,  # noqa: ARG002
    ) -> Plan:
        """Plan nothing."""
        return ()
