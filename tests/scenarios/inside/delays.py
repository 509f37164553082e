"""Delay, loss and rate of one link together, in a kernel that has netem. Prints what was measured as JSON."""

import json
import socket
import statistics
import time
from pathlib import Path

from pyroute2 import IPRoute

from berth.kernel import link, netlink, netns
from berth.kernel.actuator import KernelActuator
from berth.plan.steps.shape import ShapeLink

PATH = "/run/netns/far"
#: Datagrams sent to count losses by.
SENT = 400


def pair() -> None:
    """Link ``near`` at 10.1.0.1 here, ``eth0`` at 10.1.0.2 in a namespace."""
    netns.create(PATH)
    with netns.opened(PATH) as fd:
        link.host().send(netlink.new_veth("near", peer="eth0", peer_mac="02:00:00:00:00:02", namespace_fd=fd, mtu=1500))
    link.host().send(netlink.new_address(link.host().index("near"), "10.1.0.1", 24), netlink.set_up("near"))
    with link.inside(PATH) as there:
        there.send(netlink.new_address(there.index("eth0"), "10.1.0.2", 24), netlink.set_up("eth0"))
        link.until_passes((link.host(), "near"), (there, "eth0"))


def round_trip_ms(ends: tuple[socket.socket, socket.socket]) -> float:
    """The median of some round trips, the first left out: it asks for the neighbour's address."""
    near, far = ends
    took = []
    for _ in range(6):
        began = time.monotonic()
        near.sendto(b"ping", ("10.1.0.2", 9))
        _, source = far.recvfrom(9)
        far.sendto(b"pong", source)
        near.recv(9)
        took.append((time.monotonic() - began) * 1000)
    return statistics.median(took[1:])


def arrived(ends: tuple[socket.socket, socket.socket]) -> int:
    """How many of `SENT` datagrams come through from the far end to the near one."""
    near, far = ends
    near.settimeout(0.5)
    for _ in range(SENT):
        far.sendto(b"x", ("10.1.0.1", near.getsockname()[1]))
    count = 0
    try:
        while near.recv(9):
            count += 1
    except TimeoutError:
        return count
    return count


def disciplines() -> list[str]:
    def look() -> list[str]:
        with IPRoute() as ipr:
            return [one.get_attr("TCA_KIND") for one in ipr.get_qdiscs(index=socket.if_nametoindex("eth0"))]

    return netns.inside(PATH, look)


def main() -> None:
    pair()
    kernel = KernelActuator()
    near = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    near.bind(("10.1.0.1", 0))
    far = netns.inside(PATH, socket.socket, socket.AF_INET, socket.SOCK_DGRAM)
    far.bind(("10.1.0.2", 9))
    for one in (near, far):
        one.settimeout(5)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    ends = (near, far)
    told: dict[str, object] = {"before_ms": round_trip_ms(ends), "disciplines": disciplines()}
    undo = kernel.apply(ShapeLink(PATH, "eth0", 0, delay_us=50_000))
    told |= {"delayed_ms": round_trip_ms(ends), "delayed": disciplines()}
    kernel.apply(ShapeLink(PATH, "eth0", 1_250_000, 20_000, 0, before=(0, 50_000, 0)))
    told |= {"both_ms": round_trip_ms(ends), "both": sorted(disciplines())}
    kernel.apply(ShapeLink(PATH, "eth0", 0, 0, 250_000, before=(1_250_000, 20_000, 0)))
    told |= {"arrived": arrived(ends)}
    near.settimeout(5)
    kernel.apply(undo)  # type: ignore[arg-type]
    told |= {"after_ms": round_trip_ms(ends), "after": disciplines(), "all": arrived(ends)}
    print(json.dumps(told))


if __name__ == "__main__":
    Path("/run/netns").mkdir(exist_ok=True)
    main()
