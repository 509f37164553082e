from berth.networks import render
from berth.networks.ipam.book import Usage
from berth.networks.model import LiveEndpoint, LiveSandbox, NetworkRecord, Pool, Published, Tenant
from berth.wire.networks import EndpointIPAMConfig, EndpointSettings, PortBinding

ID = "ab" * 32
END = LiveEndpoint(
    "1" * 64, "red", "e" * 64, host_link="bv0-eeeeeeee", link="eth0", mac="02:42:0a:00:00:02", ipv4="10.0.0.2",
    prefix4=24, gateway4="10.0.0.1",
)  # fmt: skip
TENANT = Tenant(
    ID, "web", hostname="host", mode="red", port_bindings={"80/tcp": [PortBinding("", "8080")]}, exposed_ports=("99",)
)
LIVE = LiveSandbox(
    ID, "5" * 64, "/run/netns/x", (END,),
    (Published("tcp", 80, "0.0.0.0", 8080), Published("tcp", 80, "::", 8080)),
)  # fmt: skip


def test_a_network_has_no_nulls_where_docker_has_none() -> None:
    pool = Pool("10.0.0.0/24", "10.0.0.1", "10.0.0.128/25", (("a", "10.0.0.9"),))
    record = NetworkRecord(id="1" * 64, name="red", driver="bridge", pools=(pool,))
    shown = render.network(record, {ID: ("web", END)}, {"10.0.0.0/24": Usage(4, 252)})
    assert shown["Status"] == {"IPAM": {"Subnets": {"10.0.0.0/24": {"IPsInUse": 4, "DynamicIPsAvailable": 252}}}}
    assert shown["Options"] == shown["Labels"] == {}
    assert shown["Created"] == "0001-01-01T00:00:00Z"
    assert shown["IPAM"]["Config"] == [
        {
            "Subnet": "10.0.0.0/24",
            "IPRange": "10.0.0.128/25",
            "Gateway": "10.0.0.1",
            "AuxiliaryAddresses": {"a": "10.0.0.9"},
        }
    ]
    assert shown["Containers"] == {
        ID: {
            "Name": "web",
            "EndpointID": "e" * 64,
            "MacAddress": "02:42:0a:00:00:02",
            "IPv4Address": "10.0.0.2/24",
            "IPv6Address": "",
        }
    }
    assert render.network(NetworkRecord(id="2" * 64, name="none", driver="null"), {}, {})["IPAM"]["Config"] == []


def test_ports_are_what_is_published_and_null_what_is_only_exposed() -> None:
    assert render.port_map(TENANT, LIVE) == {
        "80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}, {"HostIp": "::", "HostPort": "8080"}],
        "99/tcp": None,
    }
    assert render.port_map(TENANT, None) == {}
    assert render.port_list(TENANT, LIVE) == [
        {"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"},
        {"IP": "::", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"},
        {"PrivatePort": 99, "Type": "tcp"},
    ]


def test_an_attachment_shows_what_was_asked_for_and_what_it_got() -> None:
    settings = EndpointSettings(ipam_config=EndpointIPAMConfig(ipv4_address="10.0.0.2"), aliases=["db"])
    shown = render.endpoint(settings, END, ("web", "db"), "1" * 64)
    assert shown["IPAMConfig"] == {"IPv4Address": "10.0.0.2"}
    assert (shown["IPAddress"], shown["IPPrefixLen"], shown["Gateway"]) == ("10.0.0.2", 24, "10.0.0.1")
    stopped = render.endpoint(settings, None, None, "")
    assert (stopped["IPAddress"], stopped["EndpointID"], stopped["MacAddress"]) == ("", "", "")
    assert stopped["Aliases"] == ["db"]


def test_the_old_fields_are_the_default_bridges() -> None:
    bridge = render.endpoint(EndpointSettings(), END, None, "")
    assert render.container_settings(TENANT, LIVE, {"bridge": bridge})["IPAddress"] == "10.0.0.2"
    assert render.container_settings(TENANT, LIVE, {"red": bridge})["IPAddress"] == ""


def test_names_are_said_once_the_containers_own_first() -> None:
    settings = EndpointSettings(aliases=["db", "web"])
    assert render.dns_names(TENANT, settings) == ("web", "db", ID[:12], "host")
