"""What macvlan and ipvlan networks have in common: each container has a link of its own on a link of the host. Pure."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping

from berth.base.paths import Layout
from berth.networks.drivers import parents, shim
from berth.networks.drivers.base import Seen, Way
from berth.networks.firewall.ruleset import BridgePolicy
from berth.networks.model import LiveEndpoint, NetworkRecord
from berth.plan.model import Plan, Planned
from berth.plan.steps.sublink import MakeSubLink, RequireKind


class SubLinks(ABC):
    """A network on a parent; `kind` is the driver's and the kernel's word for it."""

    kind: str

    @abstractmethod
    def mode(self, options: Mapping[str, str]) -> tuple[str, str]:
        """Return mode and flag, as the kernel's part knows them. Raises `ModeUnknown`."""

    def bridge(self, ident: str, options: Mapping[str, str]) -> str:  # noqa: ARG002
        """Return that there is none."""
        return ""

    def way(self, options: Mapping[str, str], *, internal: bool) -> Way:
        """Lead out through the gateway, unless nothing leads out."""
        return Way.NONE if internal or not options.get(parents.PARENT) else Way.GATEWAY

    def looks_at(self, record: NetworkRecord) -> tuple[str, ...]:
        """Ask for the parent, what is below it, and the shim."""
        return (*parents.looks_at(record), shim.shim_name(record))

    def settled(self, layout: Layout, record: NetworkRecord, seen: Seen) -> NetworkRecord:
        """Note what is ours, and the host's address."""
        return shim.settled(parents.settled(layout, record, seen), seen)

    def plan_network(self, layout: Layout, record: NetworkRecord, seen: Seen) -> Plan:
        """Make the parent and the shim, if they are ours and not there."""
        mode, _ = self.mode(record.options)
        return (
            Planned(RequireKind(self.kind), f"network {record.name} needs links of that kind"),
            *parents.plan_parent(layout, record, seen),
            *shim.plan_shim(layout, record, seen, kind=self.kind, mode=mode),
        )

    def owned_links(self, record: NetworkRecord) -> tuple[str, ...]:
        """Name the parent and the shim, if they are ours."""
        return record.made_links

    def plan_unmake(self, layout: Layout, record: NetworkRecord, others: Iterable[NetworkRecord]) -> Plan:
        """Remove the shim, and the parent if it is ours and the last network on it goes."""
        return (*shim.plan_unmake(record), *parents.plan_unmake(layout, record, others))

    def policy(self, record: NetworkRecord) -> BridgePolicy | None:  # noqa: ARG002
        """Return that there is no bridge."""
        return None

    def link_prefix(self, record: NetworkRecord) -> str:  # noqa: ARG002
        """Return Docker's."""
        return "eth"

    def plan_endpoint(
        self,
        record: NetworkRecord,
        namespace: str,
        end: LiveEndpoint,
        *,
        way_out: Collection[int],
        hairpin: bool,  # noqa: ARG002  no ports are published here
    ) -> Plan:
        """Plan a container's link, wholly in its namespace."""
        mode, flag = self.mode(record.options)
        pairs = ((end.ipv4, end.prefix4), (end.ipv6, end.prefix6))
        step = MakeSubLink(
            self.kind,
            parents.parent_of(record),
            namespace,
            end.link,
            mode,
            flag,
            end.mac,
            tuple(f"{address}/{prefix}" for address, prefix in pairs if address),
            tuple(end.gateway(version) for version in (4, 6) if version in way_out),
        )
        return (Planned(step, f"link into network {record.name}"),)
