"""The language, case by case: what goes in, what `config` must say. The cases were observed on Docker's own loader."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from berth.compose.commands.config import document_of, render
from berth.compose.discovery import Flags, locate
from berth.compose.errors import ComposeFault
from berth.compose.project import load_project

A = "services: {a: {image: busybox"


class Loaded:
    """A loaded project as `config --format json` prints it, and what was warned about."""

    def __init__(self, document: dict[str, Any], warnings: list[str]) -> None:
        self.document, self.warnings = document, warnings

    def __getitem__(self, key: str) -> Any:
        return self.document[key]

    @property
    def a(self) -> dict[str, Any]:
        found: dict[str, Any] = self.document["services"]["a"]
        return found


class Bench:
    """A project directory called `proj`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir()

    def write(self, name: str, text: str) -> Path:
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def load(
        self,
        text: str | None = None,
        *,
        env: dict[str, str] | None = None,
        files: tuple[str, ...] = (),
        env_files: tuple[str, ...] = (),
        profiles: tuple[str, ...] = (),
        selected: tuple[str, ...] = (),
        name: str | None = None,
    ) -> Loaded:
        if text is not None:
            self.write("compose.yaml", text)
        warnings: list[str] = []
        environ = {"HOME": "/home/u", **(env or {})}
        flags = Flags(files=files, env_files=env_files, profiles=profiles, project_name=name)
        place = locate(flags, environ, str(self.directory), warnings.append)
        project = load_project(place, warnings.append, lambda: "", selected=selected)
        return Loaded(json.loads(render(document_of(project), "json", escape=False)), warnings)


@pytest.fixture
def proj(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "proj")


def service(text: str) -> str:
    """Make a file with one service `a` of the given keys."""
    return "services:\n  a:\n    image: busybox\n" + "".join(f"    {line}\n" for line in text.strip("\n").split("\n"))


# -- networks --------------------------------------------------------------------------------------------


def test_a_service_without_networks_joins_the_default(proj: Bench) -> None:
    got = proj.load(service("{}".replace("{}", "init: true")))
    assert got.a["networks"] == {"default": None}
    assert got["networks"] == {"default": {"name": "proj_default", "ipam": {}}}
    assert got.a["command"] is None
    assert got.a["entrypoint"] is None


def test_a_named_network_leaves_no_default(proj: Bench) -> None:
    got = proj.load(service("networks: [front]") + "networks: {front: }\n")
    assert got.a["networks"] == {"front": None}
    assert got["networks"] == {"front": {"name": "proj_front", "ipam": {}}}


@pytest.mark.parametrize("empty", ["[]", "{}"])
def test_no_networks_mean_the_default(proj: Bench, empty: str) -> None:
    assert proj.load(service(f"networks: {empty}")).a["networks"] == {"default": None}


def test_the_default_beside_another(proj: Bench) -> None:
    got = proj.load(service("networks: [default, back]") + "  z: {image: b}\nnetworks: {back: }\n")
    assert set(got["networks"]) == {"default", "back"}
    assert got["services"]["z"]["networks"] == {"default": None}


def test_the_default_may_be_named(proj: Bench) -> None:
    got = proj.load(service("init: true") + "networks: {default: {name: corp}}\n")
    assert got["networks"]["default"]["name"] == "corp"
    assert got.a["networks"] == {"default": None}


@pytest.mark.parametrize(
    ("text", "env", "want"),
    [
        ("o: {external: true}", {}, {"name": "o", "external": True, "ipam": {}}),
        ("o: {external: {name: real}}", {}, {"name": "real", "external": True, "ipam": {}}),
        ('o: {external: "${EXT}"}', {"EXT": "true"}, {"name": "o", "external": True, "ipam": {}}),
    ],
)
def test_external_networks(proj: Bench, text: str, env: dict[str, str], want: dict[str, Any]) -> None:
    got = proj.load(service("networks: [o]") + f"networks: {{{text}}}\n", env=env)
    assert got["networks"] == {"o": want}
    assert bool(got.warnings) == ("real" in text)


def test_network_mode_none_has_no_networks(proj: Bench) -> None:
    got = proj.load(service("network_mode: none"))
    assert "networks" not in got.a
    assert "networks" not in got.document


def test_network_mode_of_another_service_implies_a_dependency(proj: Bench) -> None:
    z = proj.load(service("init: true") + '  z: {image: b, network_mode: "service:a"}\n')["services"]["z"]
    assert z["depends_on"] == {"a": {"condition": "service_started", "restart": True, "required": True}}
    assert "networks" not in z


def test_network_options_are_kept_and_numbers_become_texts(proj: Bench) -> None:
    text = """
networks:
  n:
    driver: bridge
    driver_opts: {com.docker.network.driver.mtu: 1400}
    ipam: {config: [{subnet: 10.1.0.0/24}, {subnet: 10.2.0.0/24, gateway: 10.2.0.9}]}
    labels: [x=1, y]
"""
    n = proj.load(service("networks: [n]") + text)["networks"]["n"]
    assert n["driver_opts"] == {"com.docker.network.driver.mtu": "1400"}
    assert n["labels"] == {"x": "1", "y": ""}
    assert [entry["subnet"] for entry in n["ipam"]["config"]] == ["10.1.0.0/24", "10.2.0.0/24"]


def test_endpoint_options_are_kept(proj: Bench) -> None:
    text = (
        "networks: {n: {aliases: [x], ipv4_address: 10.1.0.5, mac_address: '02:00:00:00:00:01', priority: 5,"
        " gw_priority: 1, interface_name: eth7, link_local_ips: [169.254.1.1], driver_opts: {k: 1}}}"
    )
    got = proj.load(service(text) + "networks: {n: {ipam: {config: [{subnet: 10.1.0.0/24}]}}}\n")
    assert got.a["networks"]["n"]["driver_opts"] == {"k": "1"}
    assert got.a["networks"]["n"]["ipv4_address"] == "10.1.0.5"


def test_what_nobody_uses_is_left_out(proj: Bench) -> None:
    got = proj.load(service("init: true") + "networks: {n: }\nvolumes: {v: }\n")
    assert set(got["networks"]) == {"default"}
    assert "volumes" not in got.document


# -- volumes ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "want"),
    [
        ("./data:/d", {"type": "bind", "source": "$P/data", "target": "/d", "bind": {}}),
        ("~/x:/x", {"type": "bind", "source": "/home/u/x", "target": "/x", "bind": {}}),
        (
            "/srv:/d:ro,z",
            {"type": "bind", "source": "/srv", "target": "/d", "read_only": True, "bind": {"selinux": "z"}},
        ),
        ("/srv:/d:rshared", {"type": "bind", "source": "/srv", "target": "/d", "bind": {"propagation": "rshared"}}),
        ("db:/d", {"type": "volume", "source": "db", "target": "/d", "volume": {}}),
        ("db:/d:nocopy", {"type": "volume", "source": "db", "target": "/d", "volume": {"nocopy": True}}),
        ("/var/lib/x", {"type": "volume", "target": "/var/lib/x", "volume": {}}),
        ("db:/d/sub/../", {"type": "volume", "source": "db", "target": "/d", "volume": {}}),
        ("v:/data", {"type": "volume", "source": "v", "target": "/data", "volume": {}}),
        (
            "{type: bind, source: ./d, target: /d, bind: {create_host_path: false, propagation: rslave, selinux: Z}}",
            {
                "type": "bind",
                "source": "$P/d",
                "target": "/d",
                "bind": {"create_host_path": False, "propagation": "rslave", "selinux": "Z"},
            },
        ),
        (
            "{type: tmpfs, target: /t, tmpfs: {size: 64m, mode: 01777}}",
            {"type": "tmpfs", "target": "/t", "tmpfs": {"size": "67108864", "mode": 1023}},
        ),
        (
            "{type: tmpfs, target: /t, tmpfs: {size: 64m, mode: 0o1777}}",
            {"type": "tmpfs", "target": "/t", "tmpfs": {"size": "67108864", "mode": 1023}},
        ),
        (
            "{type: volume, source: db, target: /d, volume: {nocopy: true, subpath: s, labels: {k: v}}}",
            {
                "type": "volume",
                "source": "db",
                "target": "/d",
                "volume": {"nocopy": True, "subpath": "s", "labels": {"k": "v"}},
            },
        ),
    ],
)
def test_mounts(proj: Bench, spec: str, want: dict[str, Any]) -> None:
    got = proj.load(service(f"volumes: [{spec if spec[0] == '{' else json.dumps(spec)}]") + "volumes: {db: , v: }\n")
    if "source" in want:
        want = {**want, "source": want["source"].replace("$P", str(proj.directory))}
    assert got.a["volumes"] == [want]


def test_names_of_volumes(proj: Bench) -> None:
    text = 'volumes: {db: , p: {external: true, name: "${N:-prod}"}}\n'
    got = proj.load(service("volumes: ['db:/d', 'p:/p']") + text)
    assert got["volumes"] == {"db": {"name": "proj_db"}, "p": {"name": "prod", "external": True}}


def test_the_last_mount_on_a_target_wins(proj: Bench) -> None:
    got = proj.load(service("volumes: [/x:/d, /y:/e, /z:/d]"))
    assert [mount["source"] for mount in got.a["volumes"]] == ["/z", "/y"]


# -- ports -----------------------------------------------------------------------------------------------


def test_short_ports(proj: Bench) -> None:
    ports = proj.load(service('ports: ["80", 81, "8080:82", "127.0.0.1:8001:83/udp", "[::1]:6001:84"]')).a["ports"]
    assert ports == [
        {"mode": "ingress", "protocol": "tcp", "target": 80},
        {"mode": "ingress", "protocol": "tcp", "target": 81},
        {"mode": "ingress", "protocol": "tcp", "target": 82, "published": "8080"},
        {"mode": "ingress", "protocol": "udp", "target": 83, "published": "8001", "host_ip": "127.0.0.1"},
        {"mode": "ingress", "protocol": "tcp", "target": 84, "published": "6001", "host_ip": "::1"},
    ]


@pytest.mark.parametrize(
    ("spec", "want"),
    [
        ("3000-3001:4000-4001", [("3000", 4000), ("3001", 4001)]),
        ("8000-8010:80", [("8000-8010", 80)]),
        ("7000-7001", [(None, 7000), (None, 7001)]),
    ],
)
def test_port_ranges(proj: Bench, spec: str, want: list[tuple[str | None, int]]) -> None:
    ports = proj.load(service(f'ports: ["{spec}"]')).a["ports"]
    assert [(port.get("published"), port["target"]) for port in ports] == want


def test_a_port_said_twice_is_one(proj: Bench) -> None:
    assert len(proj.load(service('ports: ["80:80", "80:80", {target: 80, published: 80}]')).a["ports"]) == 1


def test_expose_keeps_ranges_as_texts(proj: Bench) -> None:
    assert proj.load(service('expose: [3000, "9000-9002/udp"]')).a["expose"] == ["3000", "9000-9002/udp"]


# -- environment and interpolation -----------------------------------------------------------------------


def test_environment_values_become_texts(proj: Bench) -> None:
    text = 'environment: {N: 80, T: true, F: 1.5, E: "", H: , G: , D: 2020-01-02, O: on, C: 12:30}'
    got = proj.load(service(text), env={"H": "fromhost"}).a["environment"]
    assert got == {
        "N": "80",
        "T": "true",
        "F": "1.5",
        "E": "",
        "H": "fromhost",
        "G": None,
        "D": "2020-01-02",
        "O": "on",
        "C": "12:30",
    }


def test_env_files_lie_under_environment(proj: Bench) -> None:
    proj.write("one", "A=1\nB=1\nC=1\n")
    proj.write("two", "B=2\n")
    got = proj.load(service("env_file: [one, two]\nenvironment: [C=inline]")).a
    assert got["environment"] == {"A": "1", "B": "2", "C": "inline"}
    assert "env_file" not in got


def test_an_env_file_may_be_missing_if_it_says_so(proj: Bench) -> None:
    assert "environment" not in proj.load(service("env_file: [{path: nope, required: false}]")).a


def test_raw_env_files_are_not_interpreted(proj: Bench) -> None:
    proj.write("raw", "A='$X'\n")
    assert proj.load(service("env_file: [{path: raw, format: raw}]")).a["environment"] == {"A": "'$X'"}


@pytest.mark.parametrize(
    ("template", "unset", "empty", "is_set"),
    [
        ("$V", "", "", "v"),
        ("${V}", "", "", "v"),
        ("${V:-d}", "d", "d", "v"),
        ("${V-d}", "d", "", "v"),
        ("${V:?m}", None, None, "v"),
        ("${V?m}", None, "", "v"),
        ("${V:+a}", "", "", "a"),
        ("${V+a}", "", "a", "a"),
        ("$$V", "$V", "$V", "$V"),
        ("${V:-${W:-deep}}", "deep", "deep", "v"),
    ],
)
def test_interpolation(proj: Bench, template: str, unset: str | None, empty: str | None, is_set: str) -> None:
    for env, want in (({}, unset), ({"V": ""}, empty), ({"V": "v"}, is_set)):
        text = service(f"labels: {{k: '{template}'}}")
        if want is None:
            with pytest.raises(
                ComposeFault, match=r"services\.a\.labels\.k: required variable V is missing a value: m"
            ):
                proj.load(text, env=env)
        else:
            assert proj.load(text, env=env).a["labels"] == {"k": want}


def test_an_unset_variable_is_warned_about_once(proj: Bench) -> None:
    got = proj.load(service("labels: {k: $U, l: $U}"))
    assert got.warnings == ['The "U" variable is not set. Defaulting to a blank string.']


def test_keys_are_not_interpolated_but_list_items_are(proj: Bench) -> None:
    got = proj.load(service("environment: {'${SET}': x}\nlabels: ['${SET}=1']"), env={"SET": "key"}).a
    assert got["environment"] == {"${SET}": "x"}
    assert got["labels"] == {"key": "1"}


def test_the_shell_wins_over_dotenv(proj: Bench) -> None:
    proj.write(".env", "A=dot\nB=dot\nC=${A}/c\n")
    got = proj.load(service("labels: {a: $A, b: $B, c: $C}"), env={"A": "shell"}).a
    assert got["labels"] == {"a": "shell", "b": "dot", "c": "shell/c"}


def test_env_files_of_the_command_line_replace_dotenv(proj: Bench) -> None:
    proj.write(".env", "Z=dot\n")
    proj.write("e1", "A=1\nB=1\n")
    proj.write("e2", "B=2\n")
    got = proj.load(service("labels: {a: $A, b: $B, z: '${Z-none}'}"), env_files=("e1", "e2")).a
    assert got["labels"] == {"a": "1", "b": "2", "z": "none"}


def test_numbers_and_booleans_may_come_from_variables(proj: Bench) -> None:
    got = proj.load(service('scale: "${N}"\ninit: "${B}"\ncpus: "${C}"'), env={"N": "3", "B": "true", "C": "0.5"}).a
    assert (got["scale"], got["init"], got["cpus"]) == (3, True, 0.5)


def test_the_name_of_the_project_is_a_variable(proj: Bench) -> None:
    got = proj.load("name: other\n" + service("labels: {n: $COMPOSE_PROJECT_NAME}"))
    assert got.a["labels"] == {"n": "other"}


def test_dollars_are_doubled_when_printed(proj: Bench) -> None:
    assert "$$X" in render({"services": {"a": {"command": ["$X"]}}}, "yaml", escape=True)


# -- project name and files ------------------------------------------------------------------------------


def test_names_are_normalised(proj: Bench) -> None:
    assert proj.load('name: "My App_${S}"\n' + service("init: true"), env={"S": "x"})["name"] == "myapp_x"
    assert proj.load(service("init: true"))["name"] == "proj"
    assert proj.load(service("init: true"), name="given")["name"] == "given"
    with pytest.raises(ComposeFault, match="invalid project name"):
        proj.load(service("init: true"), name="Bad Name")


def test_the_override_beside_the_file_is_found(proj: Bench) -> None:
    proj.write("compose.override.yaml", "services: {a: {image: other}}\n")
    assert proj.load(service("init: true")).a["image"] == "other"


def test_files_are_found_upwards(proj: Bench) -> None:
    proj.write("compose.yaml", service("init: true"))
    below = proj.directory / "x" / "y"
    below.mkdir(parents=True)
    place = locate(Flags(), {}, str(below), lambda _: None)
    assert place.files == (str(proj.directory / "compose.yaml"),)
    assert place.directory == str(proj.directory)


def test_several_documents_are_merged(proj: Bench) -> None:
    assert proj.load(service("init: true") + "---\nservices: {a: {init: false}}\n").a["init"] is False


def test_version_is_accepted_with_one_warning(proj: Bench) -> None:
    got = proj.load("version: '3'\n" + service("init: true"))
    assert len(got.warnings) == 1
    assert "version" in got.warnings[0]
    assert "version" not in got.document


# -- merging ---------------------------------------------------------------------------------------------

BASE = """
services:
  a:
    image: busybox
    command: sleep 1
    environment: {X: 1, Y: 1}
    ports: ["80:80"]
    volumes: ["/x:/d"]
    labels: [l=1]
    cap_add: [NET_ADMIN]
    dns: 1.1.1.1
    healthcheck: {test: [CMD, "true"], interval: 5s}
    logging: {driver: json-file, options: {max-size: 1m}}
    depends_on: [z]
  z: {image: busybox}
"""
OVER = """
services:
  a:
    image: alpine
    command: echo "two words"
    environment: [Y=2, Z=3]
    ports: ["80:80", "81:81"]
    volumes: ["/y:/d", "/n:/n"]
    labels: {m: 2}
    cap_add: [NET_ADMIN, SYS_TIME]
    dns: [2.2.2.2]
    healthcheck: {test: exit 0}
    logging: {options: {max-file: 3}}
    depends_on: {z: {condition: service_healthy}}
"""


def test_an_override_is_merged_by_the_rules(proj: Bench) -> None:
    proj.write("compose.override.yaml", OVER)
    a = proj.load(BASE).a
    assert a["image"] == "alpine"
    assert a["command"] == ["echo", "two words"]
    assert a["environment"] == {"X": "1", "Y": "2", "Z": "3"}
    assert [port["published"] for port in a["ports"]] == ["80", "81"]
    assert [(m["source"], m["target"]) for m in a["volumes"]] == [("/y", "/d"), ("/n", "/n")]
    assert a["labels"] == {"l": "1", "m": "2"}
    assert a["cap_add"] == ["NET_ADMIN", "SYS_TIME"]
    assert a["dns"] == ["1.1.1.1", "2.2.2.2"]
    assert a["healthcheck"] == {"test": ["CMD-SHELL", "exit 0"], "interval": "5s"}
    assert a["logging"] == {"driver": "json-file", "options": {"max-size": "1m", "max-file": "3"}}
    assert a["depends_on"]["z"]["condition"] == "service_healthy"


def test_another_logging_driver_replaces_the_options(proj: Bench) -> None:
    proj.write("compose.override.yaml", "services: {a: {logging: {driver: none}}}\n")
    assert proj.load(BASE).a["logging"] == {"driver": "none"}


def test_reset_removes(proj: Bench) -> None:
    proj.write(
        "compose.override.yaml",
        "services:\n  a:\n    ports: !reset []\n    environment: {X: !reset null}\n    command: !reset null\n",
    )
    a = proj.load(BASE).a
    assert "ports" not in a
    assert a["command"] is None
    assert a["environment"] == {"Y": "1"}


def test_override_replaces(proj: Bench) -> None:
    proj.write("compose.override.yaml", "services:\n  a:\n    ports: !override ['90:90']\n")
    assert [port["published"] for port in proj.load(BASE).a["ports"]] == ["90"]


def test_extends_in_the_same_file(proj: Bench) -> None:
    text = """
services:
  base: {image: busybox, environment: {A: 1, B: 1}, ports: ["80:80"]}
  a: {extends: base, environment: {B: 2}, ports: ["81:81"]}
"""
    # Both publish 80: only one of them is looked at.
    text = text.replace("base: {", "base: {profiles: [never], ").replace(
        "a: {extends: base,", "a: {extends: base, profiles: !reset [],"
    )
    a = proj.load(text).a
    assert a["environment"] == {"A": "1", "B": "2"}
    assert [port["published"] for port in a["ports"]] == ["80", "81"]


def test_extends_from_another_file_counts_its_own_paths(proj: Bench) -> None:
    proj.write("sub/common.yaml", "services: {base: {image: b, volumes: ['./rel:/r'], env_file: [e]}}\n")
    proj.write("sub/e", "FROM=sub\n")
    a = proj.load("services: {a: {extends: {file: sub/common.yaml, service: base}}}\n").a
    assert a["volumes"][0]["source"] == str(proj.directory / "sub" / "rel")
    assert a["environment"] == {"FROM": "sub"}


INCLUDED = "services: {db: {image: 'pg:${TAG}', volumes: ['./d:/d'], networks: [x]}}\nnetworks: {x: }\n"


def test_include_has_its_own_directory_and_environment(proj: Bench) -> None:
    proj.write("sub/compose.yaml", INCLUDED)
    proj.write("sub/.env", "TAG=sub\n")
    got = proj.load("include: [sub/compose.yaml]\n" + service("init: true"))
    db = got["services"]["db"]
    assert db["image"] == "pg:sub"
    assert db["volumes"][0]["source"] == str(proj.directory / "sub" / "d")
    assert got["networks"]["x"]["name"] == "proj_x"


def test_include_may_say_its_directory(proj: Bench) -> None:
    proj.write("sub/compose.yaml", INCLUDED)
    got = proj.load(
        "include: [{path: sub/compose.yaml, project_directory: .}]\n" + service("init: true"), env={"TAG": "t"}
    )
    assert got["services"]["db"]["volumes"][0]["source"] == str(proj.directory / "d")


def test_the_including_file_wins(proj: Bench) -> None:
    proj.write("sub/compose.yaml", "services: {a: {image: theirs, init: true}}\n")
    a = proj.load("include: [sub/compose.yaml]\nservices: {a: {image: ours}}\n").a
    assert (a["image"], a["init"]) == ("ours", True)


def test_merge_keys_take_the_first_and_x_keys_stay(proj: Bench) -> None:
    text = """
x-e: &e {K: first, L: e}
x-f: &f {K: second, M: f}
services:
  a: {image: b, environment: {<<: [*e, *f], L: own}}
"""
    got = proj.load(text)
    assert got.a["environment"] == {"L": "own", "K": "first", "M": "f"}
    assert got["x-e"] == {"K": "first", "L": "e"}


# -- profiles --------------------------------------------------------------------------------------------

PROFILES = "services: {a: {image: b}, p: {image: b, profiles: [dev]}}\n"


@pytest.mark.parametrize(
    ("profiles", "selected", "present"), [((), (), False), (("dev",), (), True), (("*",), (), True), ((), ("p",), True)]
)
def test_profiles(proj: Bench, profiles: tuple[str, ...], selected: tuple[str, ...], present: bool) -> None:
    got = proj.load(PROFILES, profiles=profiles, selected=selected)
    assert ("p" in got["services"]) is present


def test_an_optional_dependency_may_be_disabled(proj: Bench) -> None:
    got = proj.load(
        PROFILES.replace("{image: b},", "{image: b, depends_on: {p: {condition: service_started, required: false}}},")
    )
    assert got.a["depends_on"]["p"]["required"] is False


# -- other keys ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "want"),
    [
        ("command: echo 'a b' c", {"command": ["echo", "a b", "c"]}),
        ('command: ""', {"command": []}),
        ("command: ", {"command": None}),
        ("mem_limit: 512m", {"mem_limit": "536870912"}),
        ("memswap_limit: -1", {"memswap_limit": "-1"}),
        (
            "ulimits: {nofile: 10, nproc: {soft: 1, hard: 2}}",
            {"ulimits": {"nofile": 10, "nproc": {"soft": 1, "hard": 2}}},
        ),
        ("deploy: {resources: {limits: {memory: 50M}}}", {"deploy": {"resources": {"limits": {"memory": "52428800"}}}}),
        (
            "healthcheck: {test: curl x, interval: 90s}",
            {"healthcheck": {"test": ["CMD-SHELL", "curl x"], "interval": "1m30s"}},
        ),
        ("healthcheck: {disable: true}", {"healthcheck": {"disable": True}}),
        ("healthcheck: {test: [NONE]}", {"healthcheck": {"test": ["NONE"]}}),
        ("restart: no", {"restart": "no"}),
        ("pull_policy: if_not_present", {"pull_policy": "missing"}),
        ("sysctls: [net.core.somaxconn=1024]", {"sysctls": {"net.core.somaxconn": "1024"}}),
        ("gpus: all", {"gpus": [{"count": -1}]}),
        ('extra_hosts: ["h:1.2.3.4", "g=host-gateway"]', {"extra_hosts": ["h=1.2.3.4", "g=host-gateway"]}),
        ("extra_hosts: {h: [1.2.3.4, '::1']}", {"extra_hosts": ["h=1.2.3.4", "h=::1"]}),
        ("labels: [bare]", {"labels": {"bare": ""}}),
        ("stop_grace_period: 1m", {"stop_grace_period": "1m"}),
        ("tmpfs: /run", {"tmpfs": ["/run"]}),
        ("devices: [/dev/null]", {"devices": [{"source": "/dev/null", "target": "/dev/null", "permissions": "rwm"}]}),
        ("group_add: [100, video]", {"group_add": ["100", "video"]}),
        ("scale: 010", {"scale": 8}),
    ],
)
def test_canonical_forms(proj: Bench, keys: str, want: dict[str, Any]) -> None:
    a = proj.load(service(keys)).a
    assert {key: a[key] for key in want} == want


def test_devices_count_all(proj: Bench) -> None:
    text = "deploy: {resources: {reservations: {devices: [{capabilities: [gpu], count: all}]}}}"
    assert proj.load(service(text)).a["deploy"]["resources"]["reservations"]["devices"][0]["count"] == -1


def test_label_files_lie_under_labels(proj: Bench) -> None:
    proj.write("lf", "A=1\nB=1\n")
    got = proj.load(service("label_file: lf\nlabels: {B: 2}")).a
    assert got["labels"] == {"A": "1", "B": "2"}
    assert "label_file" not in got


def test_secrets_and_configs_get_their_targets(proj: Bench) -> None:
    text = """
secrets: {s: {file: ./s.txt}}
configs: {c: {content: "hello ${W}"}}
"""
    got = proj.load(
        service("secrets: [s, {source: s, target: t, mode: 0440}]\nconfigs: [c]") + text, env={"W": "world"}
    )
    assert got.a["secrets"] == [
        {"source": "s", "target": "/run/secrets/s"},
        {"source": "s", "target": "/run/secrets/t", "mode": "0440"},
    ]
    assert got.a["configs"] == [{"source": "c", "target": "/c"}]
    assert got["secrets"]["s"]["file"] == str(proj.directory / "s.txt")
    assert got["configs"]["c"]["content"] == "hello world"


def test_links_and_volumes_from_imply_dependencies(proj: Bench) -> None:
    got = proj.load(service("links: [z:alias]\nvolumes_from: [y:ro]") + "  y: {image: b}\n  z: {image: b}\n").a
    assert got["depends_on"]["z"] == {"condition": "service_started", "restart": True, "required": True}
    assert got["depends_on"]["y"] == {"condition": "service_started", "required": True}


def test_build_forms(proj: Bench) -> None:
    got = proj.load("services: {a: {build: ./ctx}, z: {build: {args: {X: , Y: 1, U: }}}}\n", env={"X": "fromenv"})
    assert got.a["build"] == {"context": str(proj.directory / "ctx"), "dockerfile": "Dockerfile"}
    assert got["services"]["z"]["build"]["args"] == {"X": "fromenv", "Y": "1"}


def test_watch_paths_are_absolute(proj: Bench) -> None:
    got = proj.load(service("develop: {watch: [{path: src, action: sync, target: /src}]}")).a
    assert got["develop"]["watch"][0]["path"] == str(proj.directory / "src")


# -- what must fail, and how -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (service("network_mode: none\nnetworks: [n]") + "networks: {n: }", "mutually exclusive"),
        (service("networks: [nope]"), 'service "a" refers to undefined network nope'),
        (service("volumes: ['db:/d']"), 'service "a" refers to undefined volume db'),
        (service("volumes: [{source: x, target: /d}]"), "type is required"),
        (
            service("volumes: ['v:/v']") + "volumes: {v: {external: true, driver: x}}",
            'conflicting parameters "external" and "driver"',
        ),
        (
            service("networks: [n]") + "networks: {n: {external: true, driver: x}}",
            'conflicting parameters "external" and "driver"',
        ),
        (service("tmpfs: /d\nvolumes: [/x:/d]"), "already mounted"),
        (service('ports: ["3000-3002:4000-4001"]'), "invalid ranges"),
        (service('ports: ["99999:80"]'), "out of range"),
        (service("env_file: nope"), "not found"),
        (service('labels: {k: "${U:?must set U}"}'), "required variable U is missing a value: must set U"),
        (service('labels: {k: "${U"}'), r"services\.a\.labels\.k: invalid interpolation format"),
        (service('labels: {k: "${1bad}"}'), r"services\.a\.labels\.k: invalid interpolation format"),
        ("services: {a: {image: b, depends_on: [z]}, z: {image: b, depends_on: [a]}}", "a -> z -> a"),
        ("services: {a: {extends: z}, z: {extends: a}}", "circular reference.*a in compose.yaml.*z in compose.yaml"),
        ("services: {a: {extends: nope}}", 'service "nope" not found in compose.yaml'),
        ("services: {a: {image: b, image: c}}", 'mapping key "image" already defined at line 1'),
        (PROFILES.replace("{image: b},", "{image: b, depends_on: [p]},"), r"is disabled.*profiles \[dev\]"),
        (service("healthcheck: {test: [curl, x]}"), "CMD-SHELL"),
        ("services: {a: {}}", "neither an image nor a build"),
        (service("imagee: x"), r"services\.a\.imagee: unknown key, did you mean image\?"),
        (service("cap_add: {x: y}"), "must be a list, not a mapping"),
        ("services: {a: }", "must be a mapping, not a null"),
        ("", "empty compose file"),
        ("services:\n\ta: b\n", "invalid YAML"),
        ("services: {a: {image: b, scale: 2, deploy: {replicas: 3}}}", "distinct values on 'scale'"),
        (service("scale: x"), 'must be an integer, not "x"'),
        (service("container_name: n\nscale: 2"), "container_name"),
        (service("cpus: 1\ndeploy: {resources: {limits: {cpus: 2}}}"), "distinct values on 'cpus'"),
        (service("secrets: [nope]"), "undefined secret nope"),
        (service("secrets: [s]") + "secrets: {s: {}}", "one of file, environment or external must be set"),
        (service("depends_on: [nope]"), 'depends on undefined service "nope"'),
        (service("build: {dockerfile: x, dockerfile_inline: y}"), "dockerfile_inline"),
        (service("develop: {watch: [{path: x, action: sync}]}"), "target is required"),
        (service("volumes: ['a:/b:c:d']"), "too many colons"),
        (service("volumes: ['/a:/b:nonsense']"), 'unknown mount option "nonsense"'),
        (service("volumes: ['/a:b']"), "must be absolute"),
        (service("networks: {n: {ipv4_address: 10.1.0.5}}\nscale: 2") + "networks: {n: }", "static address"),
        (
            service("networks: {n: {ipv4_address: 10.9.0.5}}")
            + "networks: {n: {ipam: {config: [{subnet: 10.1.0.0/24}]}}}",
            "not in the subnet",
        ),
        (
            "services: {a: {image: b, ports: ['80:80']}, z: {image: b, ports: ['0.0.0.0:80:81']}}",
            "already published by service a",
        ),
        (service("restart: sometimes"), "invalid restart policy"),
        ("services: {a b: {image: x}}", "invalid name"),
        ("include: [nope.yaml]\n" + service("init: true"), "cannot read nope.yaml"),
        ("a: &a [*a]\n", "too many values|unknown key"),
    ],
)
def test_faults(proj: Bench, text: str, words: str) -> None:
    with pytest.raises(ComposeFault, match=words):
        proj.load(text)


def test_include_cycles_are_found(proj: Bench) -> None:
    proj.write("b.yaml", "include: [compose.yaml]\n")
    with pytest.raises(ComposeFault, match="include cycle"):
        proj.load("include: [b.yaml]\n" + service("init: true"))


def test_all_faults_are_listed_with_their_places(proj: Bench) -> None:
    text = "services:\n  web:\n    imagee: nginx\n    scale: foo\n    ports: [x]\n"
    with pytest.raises(ComposeFault) as caught:
        proj.load(text)
    assert str(caught.value).splitlines() == [
        "compose.yaml:3:5: services.web.imagee: unknown key, did you mean image?",
        'compose.yaml:4:5: services.web.scale: must be an integer, not "foo"',
        'compose.yaml:5:13: services.web.ports.0: invalid port specification: "x"',
    ]


def test_faults_of_the_whole_have_places_too(proj: Bench) -> None:
    with pytest.raises(ComposeFault, match=r"compose\.yaml:4:16: services\.a\.networks\.nope: "):
        proj.load(service("networks: [nope]"))


def test_ports_beside_the_host_network_are_warned_about(proj: Bench) -> None:
    assert proj.load(service('network_mode: host\nports: ["80:80"]')).warnings


def test_a_dense_graph_loads_in_linear_time(proj: Bench) -> None:
    lines = ["services:"]
    for index in range(200):
        needs = ", ".join(f"s{other}" for other in range(max(0, index - 5), index))
        lines.append(f"  s{index}: {{image: b, depends_on: [{needs}]}}")
    began = time.process_time()
    assert len(proj.load("\n".join(lines))["services"]) == 200
    # The observed loaders need minutes; a tenth of a second is the bar on an idle machine.
    assert time.process_time() - began < 1.0


def test_printed_yaml_reads_back(proj: Bench) -> None:
    first = proj.load(BASE.replace("sleep 1", "'sh -c \"echo $$HOME; exit\"'"))
    printed = render({**first.document}, "yaml", escape=True)
    again = proj.load(printed)
    assert again.document == first.document


def test_the_current_directory_is_not_asked(proj: Bench) -> None:
    assert os.getcwd() != str(proj.directory)
    assert proj.load(service("volumes: [./x:/x]")).a["volumes"][0]["source"] == str(proj.directory / "x")
