"""The link of the host that a macvlan or ipvlan network sits on: checked, made if need be, unmade. Pure.

``-o parent=eth0`` uses a link that is there. ``eth0.10``, if there is none, is VLAN 10 of eth0, made with the first
network on it and removed with the last. No parent: a bridge without ports, which leads nowhere, so that containers
reach each other only; Docker takes a link of kind dummy, which fewer kernels have and which does nothing more.
"""

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from berth.base.paths import Layout
from berth.networks.drivers.base import Seen
from berth.networks.drivers.errors import ParentRefused
from berth.networks.model import NetworkRecord, alias_mark
from berth.plan.model import Plan, Planned
from berth.plan.steps.sublink import MakeParent, UnmakeParent

PARENT: Final = "parent"
#: IEEE 802.1Q: 0 and 4095 are reserved.
VLAN_NUMBERS: Final = range(1, 4095)


def parent_of(record: NetworkRecord) -> str:
    """Return the name of the link a network sits on; Docker's name for one that nobody named."""
    return record.options.get(PARENT) or f"dm-{record.id[:12]}"


def check_parent(driver: str, options: Mapping[str, str]) -> None:
    """Refuse what is no parent on any host. Raises `ParentRefused`."""
    if options.get(PARENT) == "lo":
        raise ParentRefused(f"loopback interface is not a valid {driver} parent link")


def looks_at(record: NetworkRecord) -> tuple[str, ...]:
    """Name the links to look at: the parent, and the one below it if it is a VLAN."""
    parent = parent_of(record)
    return tuple(dict.fromkeys((parent, parent.partition(".")[0])))


def settled(layout: Layout, record: NetworkRecord, seen: Seen) -> NetworkRecord:
    """Note whether the parent is ours to make and to remove. Raises `ParentRefused`."""
    parent = parent_of(record)
    there = seen.get(parent)
    if there is not None and not there.alias.startswith(alias_mark(layout)):
        return record
    if there is None and PARENT in record.options:
        _vlan(parent, seen)
    return msgspec.structs.replace(record, made_links=(*record.made_links, parent))


def _vlan(parent: str, seen: Seen) -> tuple[str, int]:
    """Return the link below a VLAN, and its number; the words are Docker's."""
    below, dot, text = parent.partition(".")
    if not dot:
        raise ParentRefused(
            f"invalid subinterface vlan name {parent}, example formatting is eth0.10 (this host has no link {parent}: "
            "'ip link' lists those there are)"
        )
    if "." in text:
        raise ParentRefused(
            f"required interface name format is: name.vlan_id, ex. eth0.10 for vlan 10, instead received {parent}"
        )
    if not (text.isascii() and text.isdecimal()):
        raise ParentRefused(f"unable to parse a valid vlan id from: {text} (ex. eth0.10 for vlan 10)")
    if below not in seen:
        raise ParentRefused(f"-o parent interface was not found on the host: {below}")
    if int(text) not in VLAN_NUMBERS:
        raise ParentRefused(f"vlan id must be between 1-4094, received: {int(text)}")
    return below, int(text)


def plan_parent(layout: Layout, record: NetworkRecord, seen: Seen) -> Plan:
    """Make the parent, if it is ours and not there."""
    parent = parent_of(record)
    if parent in seen or parent not in record.made_links:
        return ()
    alias = alias_mark(layout) + record.id
    if PARENT not in record.options:
        return (
            Planned(MakeParent(parent, "bridge", alias), f"network {record.name} has no parent, and leads nowhere"),
        )
    below, number = _vlan(parent, seen)
    return (Planned(MakeParent(parent, "vlan", alias, below, number), f"VLAN of network {record.name}"),)


def plan_unmake(layout: Layout, record: NetworkRecord, others: Iterable[NetworkRecord]) -> Plan:
    """Remove the parent, if it is ours and no other network sits on it."""
    parent = parent_of(record)
    if parent not in record.made_links or any(parent in other.made_links for other in others if other.id != record.id):
        return ()
    return (Planned(UnmakeParent(parent, alias_mark(layout)), f"network {record.name} goes, the last on it"),)


def on_parent(record: NetworkRecord, others: Iterable[NetworkRecord]) -> Iterable[NetworkRecord]:
    """Return the other networks of the same driver on the same parent."""
    parent = parent_of(record)
    return (one for one in others if one.driver == record.driver and one.id != record.id and parent_of(one) == parent)
