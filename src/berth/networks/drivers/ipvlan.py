"""Networks of ipvlan links: containers share the MAC of a link of ours and differ by address only. Pure."""

from collections.abc import Iterable, Mapping
from typing import Final

from berth.networks.drivers import parents, shim
from berth.networks.drivers.base import Traits, Way
from berth.networks.drivers.errors import HostAccessRefused, ModeUnknown, ParentTaken
from berth.networks.drivers.sublinks import SubLinks
from berth.networks.model import NetworkRecord
from berth.wire.networks import NetworkCreate

MODE: Final = "ipvlan_mode"
FLAG: Final = "ipvlan_flag"
MODES: Final = ("l2", "l3", "l3s")
FLAGS: Final = ("bridge", "private", "vepa")


class Ipvlan(SubLinks):
    """See `berth.networks.drivers.base.NetworkDriver`."""

    kind = "ipvlan"
    traits: Final = Traits(many_subnets=True)

    def mode(self, options: Mapping[str, str]) -> tuple[str, str]:
        """Return the mode and flag asked for, or Docker's default. Raises `ModeUnknown`."""
        mode, flag = options.get(MODE) or "l2", options.get(FLAG) or "bridge"
        if mode not in MODES:
            raise ModeUnknown(self.kind, "mode", mode, "l2", MODES)
        if flag not in FLAGS:
            raise ModeUnknown(self.kind, "flag", flag, "bridge", FLAGS)
        return mode, flag

    def way(self, options: Mapping[str, str], *, internal: bool) -> Way:
        """Lead out by the link itself, in all modes but l2."""
        way = super().way(options, internal=internal)
        # the kernel routes what such a link sends as if the host sent it: there is nobody to ask for a gateway's MAC
        return Way.LINK if way is Way.GATEWAY and self.mode(options)[0] != "l2" else way

    def check(self, want: NetworkCreate) -> None:
        """Refuse unknown modes and flags, the loopback link, and a shim where it would reach nobody."""
        options = want.options or {}
        mode, flag = self.mode(options)
        parents.check_parent(self.kind, options)
        if shim.wanted(options) and (mode, flag) != ("l2", "bridge"):
            raise HostAccessRefused("host_access needs ipvlan_mode=l2 and ipvlan_flag=bridge")

    def check_beside(self, record: NetworkRecord, others: Iterable[NetworkRecord]) -> None:
        """Refuse a second network on a parent, as Docker does: they would have one mode, the last one's."""
        for other in parents.on_parent(record, others):
            raise ParentTaken(
                f"network dm-{other.id[:12]} is already using parent interface {parents.parent_of(record)} "
                f"(its name is {other.name})"
            )

    def own_mac(self, record: NetworkRecord) -> bool:  # noqa: ARG002
        """Every link has its parent's."""
        return False
