"""Makes the host forward. Must not: decide whether a network has IPv6."""

import contextlib
import logging

from berth.kernel import link, sysctl

log = logging.getLogger(__name__)


def is_on() -> bool:
    """Tell whether the host forwards IPv4. Quick."""
    return sysctl.read("net/ipv4/ip_forward") == "1"


def switch_on(*, ipv6: bool, allowed: bool) -> None:
    """Let the host forward if that is `allowed`, IPv6 only if asked: without it nothing leaves a bridge. Blocking."""
    if not allowed:
        return
    if sysctl.write("net.ipv4.ip_forward", "1") is not None:
        log.warning("net.ipv4.ip_forward was off and is on now: containers reach nothing outside without it")
    if not ipv6 or sysctl.read("net.ipv6.conf.all.forwarding") == "1":
        return
    # A host that forwards forgets routes it was told by routers, unless it is told to go on listening (value 2).
    for name in link.names():
        key = f"net/ipv6/conf/{name}/accept_ra"
        with contextlib.suppress(sysctl.SysctlRefused):  # a link just gone, or without IPv6
            if sysctl.read(key) == "1":
                sysctl.write(key, "2")
    sysctl.write("net.ipv6.conf.all.forwarding", "1")
    log.warning("net.ipv6.conf.all.forwarding was off and is on now: a network with IPv6 needs it")
