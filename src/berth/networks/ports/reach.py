"""Which published ports need a port of the host, and which are reached at the container's own address. Pure.

In gateway mode `routed` a container's address is used outside: a host port would only be in the way, and Docker takes
none. A port published without an address is published for both families.
"""

from collections.abc import Iterable, Mapping

from berth.networks.model import Published
from berth.networks.options import GatewayMode
from berth.networks.ports.choose import ANYWHERE, Wish

ANYWHERE_6 = "::"


def split(
    wishes: Iterable[Wish], modes: Mapping[int, GatewayMode], *, proxy: bool
) -> tuple[list[Wish], list[Published]]:
    """Return the wishes for host ports and what is published without one.

    `modes` are the gateway modes of the IP versions in which the container has a way out; `proxy` tells whether IPv6
    can be passed on to a container that has IPv4 only.
    """
    bound: list[Wish] = []
    plain: dict[Published, None] = {}
    for wish in wishes:
        is_six = ":" in wish.host_ip
        four = not is_six and 4 in modes
        six = is_six or wish.both
        if four and modes[4] is GatewayMode.ROUTED:
            plain[Published(wish.protocol, wish.container_port, ANYWHERE, 0)] = None
            four = False
        if six and modes.get(6) is GatewayMode.ROUTED:
            plain[Published(wish.protocol, wish.container_port, ANYWHERE_6, 0)] = None
            six = False
        elif 6 not in modes:
            six = six and proxy and modes.get(4, GatewayMode.ROUTED) is not GatewayMode.ROUTED
        if four:
            bound.append(wish._replace(both=six))
        elif six:
            bound.append(wish._replace(host_ip=wish.host_ip if is_six else ANYWHERE_6, both=False))
    return bound, sorted(plain)
