import pytest

from berth.networks.model import Published
from berth.networks.options import GatewayMode
from berth.networks.ports.choose import Wish
from berth.networks.ports.reach import split

NAT, ROUTED = GatewayMode.NAT, GatewayMode.ROUTED
BOTH = Wish("tcp", 80, "0.0.0.0", 8080, 8080, both=True)
FOUR = Wish("tcp", 80, "127.0.0.1", 8080, 8080)
SIX = Wish("tcp", 80, "2001:db8::1", 8080, 8080)
P4, P6 = Published("tcp", 80, "0.0.0.0", 0), Published("tcp", 80, "::", 0)
#: What `BOTH` becomes when only one family needs a host port.
ONLY4, ONLY6 = BOTH._replace(both=False), BOTH._replace(host_ip="::", both=False)


@pytest.mark.parametrize(
    ("wish", "modes", "bound", "plain"),
    [
        (BOTH, {4: NAT}, [BOTH], []),  # IPv6 goes by the proxy
        (BOTH, {4: NAT, 6: NAT}, [BOTH], []),
        (BOTH, {6: NAT}, [ONLY6], []),
        (BOTH, {4: NAT, 6: ROUTED}, [ONLY4], [P6]),
        (BOTH, {4: ROUTED, 6: NAT}, [ONLY6], [P4]),
        (BOTH, {4: ROUTED, 6: ROUTED}, [], [P4, P6]),
        (BOTH, {4: ROUTED}, [], [P4]),
        (FOUR, {4: NAT, 6: ROUTED}, [FOUR], []),
        (FOUR, {4: ROUTED}, [], [P4]),
        (FOUR, {6: NAT}, [], []),
        (SIX, {4: NAT}, [SIX], []),
        (SIX, {4: NAT, 6: NAT}, [SIX], []),
        (SIX, {4: ROUTED}, [], []),
        (SIX, {6: ROUTED}, [], [P6]),
    ],
)
def test_what_needs_a_host_port(
    wish: Wish, modes: dict[int, GatewayMode], bound: list[Wish], plain: list[Published]
) -> None:
    assert split([wish], modes, proxy=True) == (bound, plain)


def test_without_a_proxy_ipv6_does_not_reach_ipv4() -> None:
    assert split([BOTH, SIX], {4: NAT}, proxy=False) == ([ONLY4], [])
