"""Which way packets leave a container that is on several networks: default routes and rules for answers. Pure.

A family's default route leads through the attachment with the highest priority, then the first by name. As soon as
there is a choice, answers no longer follow it: what leaves from an attachment's address leaves by that attachment,
so that whoever asked gets its answer from where it asked, whatever the default route is at the time.
"""

from collections.abc import Iterable

from berth.networks.model import LiveEndpoint
from berth.networks.planning import gateway_endpoint
from berth.plan.model import Plan, Planned
from berth.plan.steps.replies import ForgetReplies, RouteReplies
from berth.plan.steps.route import SetDefaultRoute

FAMILIES = (4, 6)


def reply_routes(ends: Iterable[LiveEndpoint], family: int) -> list[tuple[str, str, str]]:
    """Return link, address and gateway of every attachment whose answers need a rule; none when there is no choice."""
    able = [end for end in ends if end.link and end.gateway(family)]
    if len(able) < 2 and not any(end.no_default_route for end in able):
        return []
    return [
        (end.link, f"{end.ipv4}/{end.prefix4}" if family == 4 else f"{end.ipv6}/{end.prefix6}", end.gateway(family))
        for end in able
    ]


def plan_replies(namespace: str, before: Iterable[LiveEndpoint], after: Iterable[LiveEndpoint]) -> Plan:
    """Plan the rules for answers when attachments change; the links of both are there."""
    plan: list[Planned] = []
    before, after = tuple(before), tuple(after)
    for family in FAMILIES:
        old, new = reply_routes(before, family), reply_routes(after, family)
        plan += [
            Planned(RouteReplies(namespace, *one), f"answers from {one[1]} leave by {one[0]}")
            for one in new
            if one not in old
        ]
        plan += [
            Planned(ForgetReplies(namespace, *one), f"answers from {one[1]} need no rule")
            for one in old
            if one not in new
        ]
    return tuple(plan)


def plan_routes(namespace: str, before: Iterable[LiveEndpoint], after: Iterable[LiveEndpoint]) -> Plan:
    """Plan the change of default routes and of rules for answers; the links of both are there."""
    before, after = tuple(before), tuple(after)
    plan: list[Planned] = []
    for family in FAMILIES:
        was, now = way(before, family), way(after, family)
        if was != now:
            plan.append(Planned(SetDefaultRoute(namespace, *now, before=was), "the default route moves"))
    return (*plan, *plan_replies(namespace, before, after))


def way(ends: Iterable[LiveEndpoint], family: int) -> tuple[str, str]:
    """Return the gateway and link a family's default route leads through, empty texts for none."""
    end = gateway_endpoint(ends, family)
    return (end.gateway(family), end.link) if end else ("", "")
