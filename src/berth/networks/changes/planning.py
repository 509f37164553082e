"""Old and new record of a network, and of what its containers have → steps. Pure.

Every step goes from what was to what is to be, so that its inverse is known before it is done.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from berth.networks.firewall import ruleset
from berth.networks.firewall.ruleset import BridgePolicy
from berth.networks.model import LiveEndpoint, LiveSandbox, NetworkRecord, Tenant
from berth.networks.options import parse_bridge
from berth.networks.planning import bridge_addresses
from berth.networks.ports.publishing import forwards, plan_forgetting, publishes
from berth.networks.routing import plan_routes
from berth.networks.segments import segment_of
from berth.plan.model import Plan, Planned
from berth.plan.steps.nft import NftTransaction
from berth.plan.steps.replies import ForgetReplies
from berth.plan.steps.revise import ReviseLink, SetPort

#: What a link has where nobody says otherwise (linux/if_ether.h, ETH_DATA_LEN).
DEFAULT_MTU = 1500


#: Tells what a network's bridge may do, None for no bridge.
Policy = Callable[[NetworkRecord], BridgePolicy | None]


class Move(NamedTuple):
    """One running container on the network, before and after."""

    tenant: Tenant
    before: LiveSandbox
    after: LiveSandbox


def plan_change(table: str, old: NetworkRecord, new: NetworkRecord, moves: Sequence[Move], policy: Policy) -> Plan:
    """Plan everything: new addresses first, then routes and rules, old addresses last."""
    arrive, leave = _bridge(old, new)
    plan: list[Planned] = [*arrive]
    for move in moves:
        plan += _container(old, new, move)
    plan += _rules(table, (policy(old), policy(new)), new.name, moves)
    plan += leave
    return tuple(plan)


def _bridge(old: NetworkRecord, new: NetworkRecord) -> tuple[list[Planned], list[Planned]]:
    if not new.bridge:
        return [], []
    before, after = _own_addresses(old), _own_addresses(new)
    both = tuple(dict.fromkeys((*before, *after)))
    mtu = (0, 0) if new.adopted_bridge else _mtus(old, new)
    segment = _segments(old, new)
    arrive, leave = [], []
    if both != before or mtu[0] != mtu[1] or segment[0] != segment[1]:
        step = ReviseLink(new.bridge, "", (before, both), mtu, segment=segment)
        arrive.append(Planned(step, f"bridge of network {new.name} gets what it is to have"))
    if both != after:
        leave.append(Planned(ReviseLink(new.bridge, "", (both, after)), f"bridge of network {new.name} lets go"))
    return arrive, leave


def _own_addresses(record: NetworkRecord) -> tuple[str, ...]:
    """Return the addresses of a network's bridge that are ours to change: not those its owner gave it."""
    return record.lent_addresses if record.adopted_bridge else bridge_addresses(record, parse_bridge(record.options))


def _mtus(old: NetworkRecord, new: NetworkRecord) -> tuple[int, int]:
    if not new.bridge:
        return 0, 0
    before = parse_bridge(old.options).mtu or DEFAULT_MTU
    return before, parse_bridge(new.options).mtu or DEFAULT_MTU


def _segments(old: NetworkRecord, new: NetworkRecord) -> tuple[int, int]:
    """Return the largest segments before and after; a network that is not internal any more has a way out to ask."""
    if not new.bridge:
        return 0, 0
    return segment_of(old, parse_bridge(old.options)), segment_of(new, parse_bridge(new.options))


def _container(old: NetworkRecord, new: NetworkRecord, move: Move) -> Iterator[Planned]:
    was, now = move.before.on(old.id), move.after.on(new.id)
    namespace = move.before.netns_path
    if was is None or now is None or not namespace:
        return
    who = f"{move.tenant.name} follows network {new.name}"
    before, after = _cidrs(was), _cidrs(now)
    both = tuple(dict.fromkeys((*before, *after)))
    mtu, segment = _mtus(old, new), _segments(old, new)
    sizes_change = mtu[0] != mtu[1] or segment[0] != segment[1]
    icc = (parse_bridge(old.options).icc, parse_bridge(new.options).icc) if new.bridge else (True, True)
    if sizes_change and was.host_link:
        yield Planned(ReviseLink(was.host_link, "", mtu=mtu, segment=segment), who)
    if icc[0] != icc[1] and was.host_link:
        yield Planned(SetPort(was.host_link, (not icc[0], not icc[1]), publishes(move.tenant)), who)
    if both != before or sizes_change:
        yield Planned(ReviseLink(was.link, namespace, (before, both), mtu, segment=segment), who)
    yield from _routes(move)
    if both != after or was.mac != now.mac:
        # never an old address under a new MAC: neighbours would remember it when the change is taken back
        yield Planned(ReviseLink(was.link, namespace, (both, after), mac=(was.mac, now.mac)), who)


def _cidrs(end: LiveEndpoint) -> tuple[str, ...]:
    pairs = ((end.ipv4, end.prefix4), (end.ipv6, end.prefix6))
    return tuple(f"{address}/{prefix}" for address, prefix in pairs if address)


def _routes(move: Move) -> list[Planned]:
    """Plan routes; a rule for answers goes before its successor comes, since both may be about one table."""
    steps = plan_routes(move.before.netns_path, move.before.endpoints, move.after.endpoints)
    return sorted(steps, key=lambda planned: not isinstance(planned.step, ForgetReplies))


def _rules(
    table: str, policies: tuple[BridgePolicy | None, BridgePolicy | None], name: str, moves: Iterable[Move]
) -> Iterator[Planned]:
    was, now = policies
    there = back = ""
    if was is not None and now is not None and was != now:
        there = ruleset.remove_bridge(table, was) + ruleset.add_bridge(table, now)
        back = ruleset.remove_bridge(table, now) + ruleset.add_bridge(table, was)
    before = [one for move in moves for one in forwards(move.before.endpoints, move.before.published)]
    after = [one for move in moves for one in forwards(move.after.endpoints, move.after.published)]
    if before != after:
        there += ruleset.unpublish(table, before) + ruleset.publish(table, after)
        back += ruleset.unpublish(table, after) + ruleset.publish(table, before)
    if there:
        yield Planned(NftTransaction(there, back), f"what network {name} may do, and where its ports lead")
    if before != after:
        yield from plan_forgetting(after)
