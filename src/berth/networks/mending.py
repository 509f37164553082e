"""Makes a running container's attachments what they should be after an engine was killed between doing and recording.

A plan that was cut off is taken back by its journal. What remains is the time after a plan was whole and before all
that follows from it was written: `LiveSandbox.changing` says that there may have been one. An attachment is had whole
when what the container wants says so, which is written after its link and its files when it comes and first when it
goes; one that is gone is wanted no more. What the name server heard meanwhile it is told anew.
Blocking. Must not: write records.
"""

import logging
import socket

import msgspec

from berth.base.errors import EngineError
from berth.kernel import link, routing, sublink
from berth.kernel.netlink import LinkNotFound, RouteSocket
from berth.networks.endpoint_options import parse_endpoint
from berth.networks.limits import plan_limits
from berth.networks.model import LiveEndpoint, LiveSandbox, Tenant
from berth.networks.routing import FAMILIES, plan_replies, way
from berth.plan.model import Plan, Planned
from berth.plan.run import Runner
from berth.plan.steps.address import SwapAddress
from berth.plan.steps.route import SetDefaultRoute

log = logging.getLogger(__name__)


def mend(runner: Runner, live: LiveSandbox, tenant: Tenant) -> LiveSandbox:
    """Drop attachments that are not wanted or whose links are gone, and lead everything by the others.

    Return what there is then.
    """
    try:
        for end in live.endpoints:
            if not end.pending and end.network_name not in tenant.endpoints:
                _delete(live.netns_path, end)
        held = {end.link for end in live.endpoints}  # a link that came after may have the name
        for end in live.leaving:
            if end.host_link or end.link not in held:
                _delete(live.netns_path, end)
        runner.run_blocking(_plan_leases(live))
        with link.inside(live.netns_path) as there:
            names = {one.name for one in there.links()}
            was = {version: _default_way(there, version) for version in FAMILIES}
            routing.forget_all(there)
        wanted = [end for end in live.endpoints if end.pending or end.network_name in tenant.endpoints]
        ends = tuple(_as_wanted(end, tenant) for end in wanted if _is_there(end, names))
        settled = tuple(end for end in ends if not end.pending)
        runner.run_blocking(_plan(live.netns_path, settled, was))
    except EngineError as exc:
        log.warning("container %s: its networks are not what they were: %s", live.container_id[:12], exc)
        return msgspec.structs.replace(live, changing=False)
    return msgspec.structs.replace(live, endpoints=ends, leaving=(), changing=False)


def _plan_leases(live: LiveSandbox) -> Plan:
    """Plan the way back to the leases on record from those a server gave instead and nobody wrote down."""
    plan = []
    with link.inside(live.netns_path) as there:
        numbers = {one.name: one.number for one in there.links()}
        for end in live.endpoints:
            if end.lease is None or end.link not in numbers:
                continue
            found = [one for one in there.addresses_of(numbers[end.link]) if ":" not in one.address]
            held = [f"{one.address}/{one.prefix}" for one in found if one.address not in end.link_local]
            mine = f"{end.ipv4}/{end.prefix4}"
            if mine not in held:
                step = SwapAddress(live.netns_path, end.link, held[0] if held else mine, mine)
                plan.append(Planned(step, f"the lease on network {end.network_name} is the one on record"))
    return tuple(plan)


def _delete(namespace: str, end: LiveEndpoint) -> None:
    if end.host_link:
        link.delete(end.host_link)
    elif end.link and not end.source:
        sublink.delete_inside(namespace, end.link)


def _as_wanted(end: LiveEndpoint, tenant: Tenant) -> LiveEndpoint:
    settings = tenant.endpoints.get(end.network_name)
    if settings is None:
        return end
    return msgspec.structs.replace(end, shape=parse_endpoint(settings.driver_opts).shape)


def _is_there(end: LiveEndpoint, names: set[str]) -> bool:
    if end.pending or not end.link:  # a plugin's, which is told of its end later
        return True
    if end.link not in names:
        return False
    try:
        return not end.host_link or link.host().link(end.host_link).is_up  # one about to be deleted is down
    except LinkNotFound:
        return False


def _default_way(there: RouteSocket, version: int) -> tuple[str, str]:
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    names = {one.number: one.name for one in there.links()}
    found = (route for route in there.routes(family, routing.MAIN_TABLE) if not route.destination)
    return next(((route.gateway, names.get(route.oif, "")) for route in found), ("", ""))


def _plan(namespace: str, ends: tuple[LiveEndpoint, ...], was: dict[int, tuple[str, str]]) -> Plan:
    plan = []
    for version in FAMILIES:
        now = way(ends, version)
        if now != was[version]:
            plan.append(Planned(SetDefaultRoute(namespace, *now, before=was[version]), "the default route is mended"))
    limits = [step for end in ends if end.link for step in plan_limits(namespace, end)]
    return (*plan, *plan_replies(namespace, (), ends), *limits)
