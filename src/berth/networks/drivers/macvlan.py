"""Networks of macvlan links: each container is a host of its own, with a MAC, where a link of ours is. Pure."""

from collections.abc import Iterable, Mapping
from typing import Final

from berth.networks.drivers import parents, shim
from berth.networks.drivers.base import Traits
from berth.networks.drivers.errors import HostAccessRefused, ModeUnknown, ParentTaken
from berth.networks.drivers.sublinks import SubLinks
from berth.networks.model import NetworkRecord
from berth.wire.networks import NetworkCreate

MODE: Final = "macvlan_mode"
MODES: Final = ("bridge", "private", "vepa", "passthru")


class Macvlan(SubLinks):
    """See `berth.networks.drivers.base.NetworkDriver`."""

    kind = "macvlan"
    traits: Final = Traits(many_subnets=True)

    def mode(self, options: Mapping[str, str]) -> tuple[str, str]:
        """Return the mode, and no flag asked for, or Docker's default. Raises `ModeUnknown`."""
        mode = options.get(MODE) or "bridge"
        if mode not in MODES:
            raise ModeUnknown(self.kind, "mode", mode, "bridge", MODES)
        return mode, ""

    def check(self, want: NetworkCreate) -> None:
        """Refuse unknown modes, the loopback link, and a shim where it would reach nobody."""
        options = want.options or {}
        mode, _ = self.mode(options)
        parents.check_parent(self.kind, options)
        if shim.wanted(options) and mode != "bridge":
            raise HostAccessRefused(
                f"host_access needs macvlan_mode=bridge: in mode {mode} links do not reach each other"
            )

    def check_beside(self, record: NetworkRecord, others: Iterable[NetworkRecord]) -> None:
        """Refuse company where one network means to be alone on its parent."""
        parent, alone = parents.parent_of(record), self._is_alone(record)
        for other in parents.on_parent(record, others):
            if alone:
                raise ParentTaken(
                    f"cannot use mode passthru, macvlan network {other.id} is already using parent interface {parent} "
                    f"(its name is {other.name})"
                )
            if self._is_alone(other):
                raise ParentTaken(
                    f"macvlan network {other.id} is already using parent interface {parent} in mode passthru "
                    f"(its name is {other.name})"
                )

    def own_mac(self, record: NetworkRecord) -> bool:
        """Every link has a MAC of its own, but one in passthru: it has its parent's."""
        return not self._is_alone(record)

    def _is_alone(self, record: NetworkRecord) -> bool:
        return self.mode(record.options)[0] == "passthru"
