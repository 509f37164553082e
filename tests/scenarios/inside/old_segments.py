"""Links of a network that is to have large segments, in a kernel before 6.3. Prints what came of it as JSON."""

import json
import platform
import socket

from berth.kernel import link, netns
from berth.kernel.actuator import KernelActuator
from berth.plan.steps.link import MakeBridge, MakeContainerLink
from berth.plan.steps.revise import ReviseLink

LARGE = 262_144


def main() -> None:
    kernel = KernelActuator()
    kernel.apply(MakeBridge("br-in", "02:42:0a:01:00:01", 0, "berth:network:in", ("10.1.0.1/24",)))
    for at, segment in ((2, LARGE), (3, 0)):
        path = f"/run/netns/c{at}"
        netns.create(path)
        mac = f"02:42:0a:01:00:0{at}"
        kernel.apply(MakeContainerLink(f"bv{at}", "br-in", path, "eth0", mac, 0, (f"10.1.0.{at}/24",), segment=segment))
    kernel.apply(ReviseLink("bv2", segment=(LARGE, 0)))
    kernel.apply(ReviseLink("bv2", segment=(0, LARGE)))
    server = netns.inside("/run/netns/c2", socket.create_server, ("10.1.0.2", 80))
    with netns.inside("/run/netns/c3", socket.create_connection, ("10.1.0.2", 80), 10) as client:
        peer, source = server.accept()
        peer.sendall(b"here")
        said = client.recv(9).decode()
    sizes = sorted({one.segment for one in link.links()})
    print(json.dumps({"kernel": platform.release(), "said": said, "source": source[0], "sizes": sizes}))


if __name__ == "__main__":
    main()
