"""From the model to the API's JSON."""

from __future__ import annotations

from typing import Any

import pytest

from berth.compose import bodies, labels
from berth.compose.bodies import Wanted, create_body
from berth.compose.errors import ComposeFault
from berth.compose.model import Project

NEW, OLD = (1, 47), (1, 41)


def project(service: dict[str, Any], **sections: Any) -> Project:
    base = {"image": "busybox", "command": None, "entrypoint": None}
    networks = sections.get("networks", {"default": {"name": "p_default"}})
    volumes = sections.get("volumes", {})
    secrets, configs = sections.get("secrets", {}), sections.get("configs", {})
    services = {"a": {**base, **service}, "z": base}
    return Project("p", "/p", ("/p/c.yaml",), services, {}, networks, volumes, secrets, configs, {}, {"V": "from env"})


def body(
    service: dict[str, Any], api: tuple[int, int] = NEW, want: Wanted | None = None, **sections: Any
) -> dict[str, Any]:
    return create_body(project(service, **sections), want or Wanted("a", "p-a-1", 1), api, lambda name: f"id-of-{name}")


TWO = {
    "networks": {
        "n": {"aliases": ["x"], "ipv4_address": "10.0.0.5"},
        "m": {"priority": 9, "mac_address": "02:00:00:00:00:01"},
    }
}
NETS = {"n": {"name": "p_n"}, "m": {"name": "real"}}


def test_new_engines_take_all_endpoints_at_once() -> None:
    got = body(TWO, networks=NETS)
    assert got["HostConfig"]["NetworkMode"] == "real"
    endpoints = got["NetworkingConfig"]["EndpointsConfig"]
    assert list(endpoints) == ["real", "p_n"]
    assert endpoints["p_n"] == {"Aliases": ["p-a-1", "a", "x"], "IPAMConfig": {"IPv4Address": "10.0.0.5"}}
    assert endpoints["real"]["MacAddress"] == "02:00:00:00:00:01"


def test_old_engines_take_the_first_only() -> None:
    assert list(body(TWO, OLD, networks=NETS)["NetworkingConfig"]["EndpointsConfig"]) == ["real"]


def test_the_mac_of_a_service_goes_where_the_engine_wants_it() -> None:
    keys = {"networks": {"default": None}, "mac_address": "02:00:00:00:00:02"}
    assert body(keys)["NetworkingConfig"]["EndpointsConfig"]["p_default"]["MacAddress"] == "02:00:00:00:00:02"
    assert body(keys, OLD)["MacAddress"] == "02:00:00:00:00:02"


@pytest.mark.parametrize(
    ("mode", "want"),
    [("none", "none"), ("host", "host"), ("service:z", "container:id-of-z"), ("container:x", "container:x")],
)
def test_network_modes_have_no_endpoints(mode: str, want: str) -> None:
    got = body({"network_mode": mode})
    assert got["HostConfig"]["NetworkMode"] == want
    assert got["NetworkingConfig"]["EndpointsConfig"] == {}


def test_labels_are_exactly_dockers() -> None:
    keys = {
        "networks": {"default": None},
        "depends_on": {"z": {"condition": "service_healthy", "restart": True}},
        "labels": {"u": "1"},
    }
    got = body(keys, want=Wanted("a", "p-a-1", 1, image_id="sha256:1"))["Labels"]
    assert got.pop(labels.CONFIG_HASH)
    assert got.pop(labels.VERSION)
    assert got == {
        "u": "1",
        "com.docker.compose.project": "p",
        "com.docker.compose.service": "a",
        "com.docker.compose.oneoff": "False",
        "com.docker.compose.container-number": "1",
        "com.docker.compose.image": "sha256:1",
        "com.docker.compose.project.working_dir": "/p",
        "com.docker.compose.project.config_files": "/p/c.yaml",
        "com.docker.compose.depends_on": "z:service_healthy:true",
    }


@pytest.mark.parametrize(
    ("mount", "binds", "mounts"),
    [
        ({"type": "bind", "source": "/s", "target": "/t", "bind": {}}, ["/s:/t"], None),
        (
            {
                "type": "bind",
                "source": "/s",
                "target": "/t",
                "read_only": True,
                "bind": {"propagation": "rslave", "selinux": "z"},
            },
            ["/s:/t:ro,z,rslave"],
            None,
        ),
        (
            {"type": "bind", "source": "/s", "target": "/t", "bind": {"create_host_path": False}},
            None,
            [{"Type": "bind", "Source": "/s", "Target": "/t", "ReadOnly": False}],
        ),
        ({"type": "volume", "source": "v", "target": "/t", "volume": {"nocopy": True}}, ["p_v:/t:nocopy"], None),
        (
            {"type": "volume", "target": "/t", "volume": {}},
            None,
            [{"Type": "volume", "Source": "", "Target": "/t", "ReadOnly": False, "VolumeOptions": {"NoCopy": False}}],
        ),
        (
            {"type": "tmpfs", "target": "/t", "tmpfs": {"size": "1024", "mode": 448}},
            None,
            [
                {
                    "Type": "tmpfs",
                    "Source": "",
                    "Target": "/t",
                    "ReadOnly": False,
                    "TmpfsOptions": {"SizeBytes": 1024, "Mode": 448},
                }
            ],
        ),
    ],
)
def test_mounts(mount: dict[str, Any], binds: Any, mounts: Any) -> None:
    host = body({"volumes": [mount]}, volumes={"v": {"name": "p_v"}})["HostConfig"]
    assert host.get("Binds") == binds
    assert host.get("Mounts") == mounts


def test_anonymous_volumes_are_taken_over_by_name() -> None:
    want = Wanted("a", "p-a-1", 1, inherited={"/t": "f" * 64, "/image": "e" * 64})
    host = body({"volumes": [{"type": "volume", "target": "/t", "volume": {}}]}, want=want)["HostConfig"]
    assert sorted(host["Binds"]) == sorted([f"{'f' * 64}:/t", f"{'e' * 64}:/image"])
    assert "Mounts" not in host


def test_ports_health_and_limits() -> None:
    got = body(
        {
            "ports": [{"target": 80, "published": "8000-8001", "protocol": "tcp", "host_ip": "127.0.0.1"}],
            "expose": ["90-91/udp"],
            "healthcheck": {"test": ["CMD", "x"], "interval": "1m30s", "start_interval": "1s"},
            "deploy": {
                "resources": {"limits": {"cpus": 0.5, "memory": "1024", "pids": 5}},
                "restart_policy": {"condition": "any"},
            },
            "stop_grace_period": "1500ms",
            "ulimits": {"nofile": 5, "nproc": {"soft": 1, "hard": 2}},
            "extra_hosts": ["h=1.2.3.4"],
        }
    )
    assert set(got["ExposedPorts"]) == {"80/tcp", "90/udp", "91/udp"}
    assert got["HostConfig"]["PortBindings"] == {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8000-8001"}]}
    assert got["Healthcheck"] == {"Test": ["CMD", "x"], "Interval": 90 * 10**9, "StartInterval": 10**9}
    host = got["HostConfig"]
    assert (host["NanoCpus"], host["Memory"], host["PidsLimit"]) == (500_000_000, 1024, 5)
    assert host["RestartPolicy"]["Name"] == "always"
    assert got["StopTimeout"] == 2
    assert host["Ulimits"] == [{"Name": "nofile", "Soft": 5, "Hard": 5}, {"Name": "nproc", "Soft": 1, "Hard": 2}]
    assert host["ExtraHosts"] == ["h:1.2.3.4"]


@pytest.mark.parametrize("subnets", ["10.0.0.0/8,192.168.1.0/24", ["10.0.0.0/8", "192.168.1.0/24"]])
def test_who_may_use_a_port_goes_along_as_a_label(subnets: object) -> None:
    ports = [
        {"target": 80, "published": "8080", "protocol": "tcp", "x-from": subnets},
        {"target": 81, "published": "8081", "protocol": "udp"},
    ]
    got = body({"ports": ports, "labels": {"own": "1"}})["Labels"]
    assert got["berth.publish.from.80/tcp"] == "10.0.0.0/8,192.168.1.0/24"
    assert got["own"] == "1"
    assert "berth.publish.from.81/udp" not in got


def test_secrets_and_configs_become_files() -> None:
    one = project(
        {
            "secrets": [{"source": "s", "target": "/run/secrets/s", "mode": "0400", "uid": "5"}],
            "configs": [{"source": "c", "target": "/c"}],
        },
        secrets={"s": {"environment": "V"}},
        configs={"c": {"content": "text"}},
    )
    files = bodies.injected_files(one, one.services["a"])
    assert [(f.target, f.content, f.mode, f.uid) for f in files] == [
        ("/run/secrets/s", b"from env", 0o400, 5),
        ("/c", b"text", 0o444, 0),
    ]
    one.secrets["s"] = {"environment": "NOPE"}
    with pytest.raises(ComposeFault, match='"NOPE" required by secret "s" is not set'):
        bodies.check_files(one, ["a"])
    one.secrets["s"] = {"external": True, "name": "s"}
    with pytest.raises(ComposeFault, match="unsupported external secret"):
        bodies.check_files(one, ["a"])


def test_network_and_volume_bodies() -> None:
    one = project({})
    got = bodies.network_body(
        one,
        "n",
        {"name": "p_n", "internal": True, "ipam": {"config": [{"subnet": "10.0.0.0/24", "ip_range": "10.0.0.0/28"}]}},
    )
    assert (got["Name"], got["Internal"]) == ("p_n", True)
    assert got["IPAM"]["Config"] == [{"Subnet": "10.0.0.0/24", "IPRange": "10.0.0.0/28"}]
    assert got["Labels"]["com.docker.compose.network"] == "n"
    assert "IPAM" not in bodies.network_body(one, "n", {"name": "p_n", "ipam": {}})
    assert bodies.volume_body(one, "v", {"name": "p_v", "driver_opts": {"o": "x"}})["DriverOpts"] == {"o": "x"}
