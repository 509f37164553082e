"""What an attachment has beyond its link: link-local addresses, settings of the link, limits. Pure."""

from ipaddress import ip_address

from berth.networks.endpoint_options import PLACEHOLDER, EndpointOptions
from berth.networks.errors import BadOption
from berth.networks.model import NO_LIMITS, LiveEndpoint, Shape
from berth.plan.model import Plan, Planned
from berth.plan.steps.address import AddAddresses
from berth.plan.steps.shape import ShapeLink
from berth.plan.steps.sysctl import WriteSysctl


def link_local(texts: list[str] | None) -> tuple[str, ...]:
    """Return addresses beside the network's own as CIDR texts, with Docker's prefixes: /16 and /64."""
    return tuple(f"{text}/{64 if ip_address(text).version == 6 else 16}" for text in texts or ())


def plan_settings(namespace: str, end: LiveEndpoint, options: EndpointOptions) -> Plan:
    """Plan what follows the making of a link: addresses first, for settings may be about them."""
    if not end.link:
        return ()
    plan: list[Planned] = []
    if end.link_local:
        plan.append(Planned(AddAddresses(namespace, end.link, end.link_local), f"link-local addresses of {end.link}"))
    for key, value in options.sysctls:
        setting = WriteSysctl(key.replace(PLACEHOLDER, end.link), value, namespace)
        plan.append(Planned(setting, f"setting of {end.link}"))
    return (*plan, *plan_shape(namespace, end, NO_LIMITS, end.shape))


def plan_shape(namespace: str, end: LiveEndpoint, before: Shape, after: Shape) -> Plan:
    """Plan a change of limits: the near end of a link passes on what the container receives, the far end the rest."""
    if after.rate_in and not end.host_link:
        raise BadOption(
            f"invalid value for rate-in: network {end.network_name} has no link of the host's for each container; "
            "rate-out can be limited there"
        )
    plan: list[Planned] = []
    if before.rate_in != after.rate_in:
        step = ShapeLink("", end.host_link, after.rate_in, before=(before.rate_in, 0, 0))
        plan.append(Planned(step, f"limit of what comes in by {end.link}"))
    out, was = (after.rate_out, after.delay_us, after.loss_ppm), (before.rate_out, before.delay_us, before.loss_ppm)
    if out != was:
        plan.append(Planned(ShapeLink(namespace, end.link, *out, before=was), f"limit of what leaves by {end.link}"))
    return tuple(plan)


def plan_limits(namespace: str, end: LiveEndpoint) -> Plan:
    """Plan an attachment's limits, none included, whatever they are in the kernel."""
    out = ShapeLink(namespace, end.link, end.shape.rate_out, end.shape.delay_us, end.shape.loss_ppm)
    plan = (Planned(out, f"limit of what leaves by {end.link}, as recorded"),)
    if not end.host_link:
        return plan
    return (Planned(ShapeLink("", end.host_link, end.shape.rate_in), "limit of what comes in, as recorded"), *plan)
