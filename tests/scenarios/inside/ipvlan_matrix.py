"""Who reaches whom by ipvlan, in a kernel that has it. Prints what was asked and what was wrong as JSON.

The services are the engine's own, the table is everybody's. This kernel's nftables have no family inet, so no rules are
written: only such pairs are asked that no rule of ours decides, or that are not to reach each other even without rules.
"""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from berth.kernel import link, netlink, netns
from berth.plan.model import Step
from berth.plan.steps.nft import NftTransaction
from berth.wire.networks import IPAM, EndpointIPAMConfig, EndpointSettings, IPAMConfig, NetworkCreate
from tests.netns.test_networks import World
from tests.netns.throwaway import isolated
from tests.support.faults import FailingKernel
from tests.support.reachability import EXPECTED, Pair, Places, differences

PLACE: Final = Path("/run/tests")
MODULES: Final = ("ipv6", "veth", "bridge", "macvlan", "ipvlan")
MODE: Final = "com.docker.network.bridge.gateway_mode_ipv"
LAN: Final = (("203.0.113.0/24", "203.0.113.2"), ("2001:db8:113::/64", "2001:db8:113::2"))
OTHER_LAN: Final = (("198.51.100.0/24", "198.51.100.2"), ("2001:db8:51::/64", "2001:db8:51::2"))

#: Network → (driver, pools as subnets with gateways, options, internal).
NETWORKS: Final[dict[str, tuple[str, tuple[tuple[str, str], ...], dict[str, str], bool]]] = {
    "l2": ("ipvlan", LAN, {"parent": "cable0"}, False),
    "l3": (
        "ipvlan",
        tuple((subnet, "") for subnet in ("10.94.1.0/24", "10.94.2.0/24", "fd94:1::/64", "fd94:2::/64")),
        {"parent": "cable0", "ipvlan_mode": "l3"},
        False,
    ),
    "macvlan": ("macvlan", OTHER_LAN, {"parent": "cable2"}, False),
    "internal": ("bridge", (("10.93.3.0/24", ""), ("fd93:3::/64", "")), {}, True),
    "isolated": (
        "bridge",
        (("10.93.4.0/24", ""), ("fd93:4::/64", "")),
        {f"{MODE}4": "isolated", f"{MODE}6": "isolated"},
        True,
    ),
    "routed": (
        "bridge",
        (("10.93.5.0/24", ""), ("fd93:5::/64", "")),
        {f"{MODE}4": "routed", f"{MODE}6": "routed"},
        False,
    ),
}
#: Place → network and the addresses asked for, empty where any will do.
CONTAINERS: Final = {
    "internal": ("internal", "", ""), "isolated": ("isolated", "", ""), "routed": ("routed", "", ""),
    "macvlan": ("macvlan", "198.51.100.40", "2001:db8:51::40"),
    "l2": ("l2", "203.0.113.50", "2001:db8:113::50"), "l22": ("l2", "203.0.113.51", "2001:db8:113::51"),
    "l3": ("l3", "10.94.1.9", "fd94:1::9"), "l3far": ("l3", "10.94.2.9", "fd94:2::9"),
    "hostmode": ("host", "", ""), "none": ("none", "", ""),
}  # fmt: skip
#: Mode → its places.
MODES: Final = {"l2": ("l2", "l22"), "l3": ("l3", "l3far")}


class WithoutRules(FailingKernel):
    """Everything is done but what this kernel has no tables for."""

    def apply(self, step: Step) -> Step | None:
        return None if isinstance(step, NftTransaction) else super().apply(step)


def pairs(mode: str) -> list[Pair]:
    """Return what is to be asked about the containers of a mode."""
    own = MODES[mode]
    there = {"host", "remote", *(one for one, (network, *_) in CONTAINERS.items() if network not in MODES), *own}
    return [
        (version, start, end)
        for version, table in EXPECTED.items()
        for (start, end), cell in table.items()
        if cell != "-" and {start, end} <= there and {start, end} & set(own)
    ]


def remote(place: Path) -> str:
    """Make the other host: 203.0.113.2 at the end of our cable, 198.51.100.2 at the end of another."""
    path = str(place / "remote")
    netns.create(path)
    host = link.host()
    with netns.opened(path) as fd:
        for near, far, mac in (("cable0", "cable1", "02:00:00:00:00:01"), ("cable2", "cable3", "02:00:00:00:00:03")):
            host.send(netlink.new_veth(near, peer=far, peer_mac=mac, namespace_fd=fd, mtu=1500), netlink.set_up(near))
    host.send(*link.address_messages(host.index("cable0"), ["203.0.113.1/24", "2001:db8:113::1/64"]))
    commands = """\
        addr add 203.0.113.2/24 dev cable1
        addr add 2001:db8:113::2/64 dev cable1 nodad
        addr add 198.51.100.2/24 dev cable3
        addr add 2001:db8:51::2/64 dev cable3 nodad
        link set cable1 up
        link set cable3 up
        route add default via 203.0.113.1
        route add default via 2001:db8:113::1
    """
    switched_off = "/proc/sys/net/ipv6/conf/all/disable_ipv6"  # as it is in containers' namespaces
    for argv in (["sh", "-c", f"echo 0 >{switched_off}"], ["ip", "-batch", "-"]):
        subprocess.run(["nsenter", f"--net={path}", *argv], input=commands, text=True, check=True)
    with link.inside(path) as there:
        for near, far in (("cable0", "cable1"), ("cable2", "cable3")):
            link.until_passes((host, near), (there, far))
    return path


async def staged(mode: str) -> tuple[World, str]:
    """Return a service with every network and container that a mode can be beside, and where the remote host is."""
    place = PLACE / mode
    place.mkdir(parents=True)
    far = remote(place)
    made = World(place)
    made.kernel = WithoutRules(made.fault)
    made.fresh()
    made.layout.namespaces.mkdir(parents=True)
    await made.service._predefined.settle(set())
    for name, (driver, pools, options, internal) in NETWORKS.items():
        if name in MODES and name != mode:
            continue
        ipam = IPAM(config=[IPAMConfig(subnet=subnet, gateway=gateway) for subnet, gateway in pools])
        await made.service.create(
            NetworkCreate(name=name, driver=driver, ipam=ipam, options=options, internal=internal, enable_ipv6=True)
        )
    return made, far


async def asked(mode: str) -> dict[str, list[str]]:
    """Ask everything about a mode."""
    world, far = await staged(mode)
    places = Places()
    places.add("host", [], "203.0.113.1", "2001:db8:113::1")
    places.add("remote", ["nsenter", f"--net={far}"], "203.0.113.2", "2001:db8:113::2")
    for name, (network, four, six) in CONTAINERS.items():
        if network in MODES and network != mode:
            continue
        config = EndpointIPAMConfig(ipv4_address=four, ipv6_address=six) if four else None
        one = await world.container(name, network, endpoints={network: EndpointSettings(ipam_config=config)})
        shown = world.service.settings(one.id)["Networks"][network]
        inside = ["nsenter", f"--net={one.namespace}"] if one.namespace else []
        places.add(name, inside, shown["IPAddress"], shown["GlobalIPv6Address"])
    wanted = pairs(mode)
    found = places.look(wanted, _expected)
    places.close()
    return {"asked": [" ".join(map(str, pair)) for pair in found], "wrong": differences(found, _expected)}


def _expected(pair: Pair) -> str:
    version, start, end = pair
    return EXPECTED[version][start, end]


def main() -> None:
    """Ask about each mode, in namespaces of its own."""
    told = {}
    for mode in MODES:
        started = time.monotonic()
        answer = PLACE / f"{mode}.json"

        @isolated
        async def ask(mode: str = mode, answer: Path = answer) -> None:
            answer.write_text(json.dumps(await asked(mode)))

        ask()
        told[mode] = json.loads(answer.read_text())
        print(f"{mode} {time.monotonic() - started:.1f} s", file=sys.stderr)
    json.dump(told, sys.stdout)


if __name__ == "__main__":
    main()
