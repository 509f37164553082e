"""Networks drawn as a tree, as a picture, as links."""

import xml.etree.ElementTree as ET
from typing import Any

from berth.cli.commands.network_see import link_columns, published, tree
from berth.cli.drawing import svg


def member(name: str, address: str, **more: Any) -> dict[str, Any]:
    counters = {"RxBytes": 2048, "TxBytes": 0, "RxDropped": 1, "TxDropped": 2}
    return {
        "Id": name * 8, "Name": name, "State": "running", "Link": "eth0", "HostLink": f"bv-{name}", "IsUp": True,
        "MAC": "", "IPv4": address, "IPv6": "", "IsWayOut": True, "Ports": [], "Counters": counters, **more,
    }  # fmt: skip


def network(name: str, *members: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "Id": name, "Name": name, "Driver": "bridge", "Subnets": ["10.0.0.0/24"], "Bridge": f"br-{name}", "MTU": 1500,
        "Internal": False, "Policy": [], "Containers": list(members), **more,
    }  # fmt: skip


def port(host: str, number: int) -> dict[str, Any]:
    return {"HostIp": host, "HostPort": number, "Port": 80, "Protocol": "tcp"}


WEB = member("web", "10.0.0.2/24", Ports=[port("0.0.0.0", 8080), port("::", 8080), port("127.0.0.1", 9090)])
NETWORKS = [
    network("host", Driver="host", Bridge="", Subnets=[]),
    network("front", WEB, member("db<", "10.0.0.3/24", State="paused", IsWayOut=False)),
    network("back", member("web", "10.0.0.9/24", IsWayOut=False), Internal=True, Policy=["… (icc off)"]),
]


def test_the_tree() -> None:
    assert tree(NETWORKS).splitlines() == [
        "host",
        "├─ back  10.0.0.0/24  br-back  [internal, no icc]",
        "│  └─ web  10.0.0.9  eth0=bv-web",
        "├─ front  10.0.0.0/24  br-front",
        "│  ├─ db<  10.0.0.3  eth0=bv-db<  (paused)",
        "│  └─ web  10.0.0.2  eth0=bv-web  8080->80/tcp, 127.0.0.1:9090->80/tcp",
        "└─ host (host)",
    ]


def test_the_picture_is_whole_and_inside_its_frame() -> None:
    root = ET.fromstring(svg(NETWORKS))
    space = "{http://www.w3.org/2000/svg}"
    said = [node.text for node in root.iter(f"{space}text")]
    for words in ("front", "back", "web", "db<", "10.0.0.2/24", "8080 → 80, 127.0.0.1:9090 → 80", "internal", "no icc"):
        assert words in said
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    for box in root.iter(f"{space}rect"):
        assert float(box.attrib["x"]) + float(box.attrib["width"]) <= width
        assert float(box.attrib["y"]) + float(box.attrib["height"]) <= height
    # web is whole on front, where its default route leads, and an outline on back
    assert sum("stroke-dasharray" in box.attrib for box in root.iter(f"{space}rect")) == 1


def test_no_networks_are_a_picture_too() -> None:
    ET.fromstring(svg([]))


def test_ports_and_links() -> None:
    assert published(WEB["Ports"]) == "8080->80/tcp, 127.0.0.1:9090->80/tcp"
    assert published([port("fd00::1", 1)]) == "[fd00::1]:1->80/tcp"
    fields = link_columns()
    row = {**WEB, "Network": "front", "Bridge": "br-front"}
    assert fields["RxTx"][1](row) == "2.05kB / 0B"
    assert fields["Dropped"][1](row) == "3"
