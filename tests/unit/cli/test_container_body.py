"""Flags of run and create, as the API is told about them."""

from pathlib import Path
from typing import Any

import pytest

from berth.cli.container_body import container_body
from berth.cli.container_flags import CONTAINER
from berth.cli.errors import CommandFailed, UsageError
from berth.cli.flags import parse


def body(*words: str, detached: bool = False, api: tuple[int, int] = (1, 51)) -> dict[str, Any]:
    return container_body(parse(words, CONTAINER, interspersed=False), detached=detached, api=api)


def host(*words: str) -> dict[str, Any]:
    return body(*words, "img")["HostConfig"]


def test_what_is_attached() -> None:
    streams = ("AttachStdin", "AttachStdout", "AttachStderr", "OpenStdin", "StdinOnce", "Tty")
    assert [body("img")[key] for key in streams] == [False, True, True, False, False, False]
    assert [body("-it", "img")[key] for key in streams] == [True, True, True, True, True, True]
    assert [body("-it", "img", detached=True)[key] for key in streams] == [False, False, False, True, False, True]
    assert [body("-a", "STDERR", "img")[key] for key in streams] == [False, False, True, False, False, False]


def test_command_and_entrypoint() -> None:
    found = body("--entrypoint", "/bin/sh", "img", "-c", "--rm")
    assert (found["Entrypoint"], found["Cmd"], found["Image"]) == (["/bin/sh"], ["-c", "--rm"], "img")
    assert body("--entrypoint", "", "img")["Entrypoint"] == [""]
    assert body("img")["Entrypoint"] is None
    assert body("img")["Cmd"] is None


@pytest.mark.parametrize(
    ("spec", "bindings"),
    [
        ("80", {"80/tcp": [("", "")]}),
        ("8080:80", {"80/tcp": [("", "8080")]}),
        ("127.0.0.1:8080:80/udp", {"80/udp": [("127.0.0.1", "8080")]}),
        ("127.0.0.1::80", {"80/tcp": [("127.0.0.1", "")]}),
        ("[::1]:8080:80", {"80/tcp": [("::1", "8080")]}),
        ("90-91:80-81", {"80/tcp": [("", "90")], "81/tcp": [("", "91")]}),
        ("9000-9010:80", {"80/tcp": [("", "9000-9010")]}),
        ("80-81", {"80/tcp": [("", "")], "81/tcp": [("", "")]}),
        ("published=8080,target=80,protocol=udp", {"80/udp": [("", "8080")]}),
    ],
)
def test_published_ports(spec: str, bindings: dict[str, list[tuple[str, str]]]) -> None:
    found = body("-p", spec, "img")
    pairs = {
        port: [(it["HostIp"], it["HostPort"]) for it in its]
        for port, its in found["HostConfig"]["PortBindings"].items()
    }
    assert pairs == bindings
    assert found["ExposedPorts"].keys() == bindings.keys()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-p", "99999:80"], "invalid hostPort: 99999"),
        (["-p", "80:99999"], "invalid containerPort: 99999"),
        (["-p", "a:80"], "invalid hostPort: a"),
        (["-p", "80:"], "no port specified: 80:<empty>"),
        (["-p", "1.2.3:80:80"], "invalid IP address: 1.2.3"),
        (["-p", "80-82:90-91"], "invalid ranges specified for container and host Ports: 90-91 and 80-82"),
        (["-p", "80:80/foo"], "invalid proto: foo"),
        (["--restart", "always", "--rm"], "conflicting options: cannot specify both --restart and --rm"),
        (["--restart", "on-failure:x"], "invalid restart policy format: maximum retry count must be an integer"),
        (["--network", "bridge", "--network-alias", "x"],
         "network-scoped aliases are only supported for user-defined networks"),
        (["--network", "host", "--network", "mine"],
         "conflicting options: cannot attach both user-defined and non-user-defined network-modes"),
        (["--network", "a", "--network", "a"], 'network "a" is specified multiple times'),
        (["--network", "name=a,ip=10.0.0.1", "--ip", "10.0.0.2"],
         "conflicting options: cannot specify both --ip and per-network IPv4 address"),
        (["--no-healthcheck", "--health-cmd", "x"], "--no-healthcheck conflicts with --health-* options"),
        (["--health-interval", "-1s"], "--health-interval cannot be negative"),
        (["--pid", "foo"], "--pid: invalid PID mode"),
        (["--security-opt", "foo"], 'Invalid --security-opt: "foo"'),
        (["--env-file", "/nonexistent/file"], "open /nonexistent/file: no such file or directory"),
    ],
)  # fmt: skip
def test_refusals(words: list[str], message: str) -> None:
    with pytest.raises(CommandFailed) as caught:
        body(*words, "img")
    assert caught.value.message == message


def test_volumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = body("-v", "/a:/b", "-v", "vol:/c:ro", "-v", "/anon", "-v", "./x:/d", "-v", ".:/e", "img")
    assert found["HostConfig"]["Binds"] == ["/a:/b", "vol:/c:ro", f"{tmp_path}/x:/d", f"{tmp_path}:/e"]
    assert found["Volumes"] == {"/anon": {}}


@pytest.mark.parametrize(
    ("spec", "mount"),
    [
        ("dst=/x", {"Type": "volume", "Target": "/x"}),
        ("type=bind,src=/a,dst=/b,ro", {"Type": "bind", "Source": "/a", "Target": "/b", "ReadOnly": True}),
        (
            'type=volume,src=v,dst=/x,volume-nocopy,volume-driver=nfs,"volume-opt=o=addr=h,rw",volume-label=a=b',
            {
                "Type": "volume",
                "Source": "v",
                "Target": "/x",
                "VolumeOptions": {
                    "NoCopy": True,
                    "DriverConfig": {"Name": "nfs", "Options": {"o": "addr=h,rw"}},
                    "Labels": {"a": "b"},
                },
            },
        ),
        (
            "type=tmpfs,dst=/x,tmpfs-size=1m,tmpfs-mode=1777",
            {"Type": "tmpfs", "Target": "/x", "TmpfsOptions": {"SizeBytes": 1 << 20, "Mode": 0o1777}},
        ),
        (
            "type=bind,src=/a,dst=/b,bind-propagation=rslave,bind-recursive=disabled",
            {
                "Type": "bind",
                "Source": "/a",
                "Target": "/b",
                "BindOptions": {"Propagation": "rslave", "NonRecursive": True},
            },
        ),
        (
            "type=bind,src=/a,dst=/b,bind-idmap",
            {
                "Type": "bind",
                "Source": "/a",
                "Target": "/b",
                "BindOptions": {"IDMapping": {"Source": "match-user"}},
            },
        ),
        (
            "type=bind,src=/a,dst=/b,bind-idmap=match-user:web",
            {
                "Type": "bind",
                "Source": "/a",
                "Target": "/b",
                "BindOptions": {"IDMapping": {"Source": "match-user", "User": "web"}},
            },
        ),
        ("src=v,dst=/b,U", {"Type": "volume", "Source": "v", "Target": "/b", "Chown": True}),
        (
            "type=image,src=i,dst=/b,image-subpath=p",
            {"Type": "image", "Source": "i", "Target": "/b", "ImageOptions": {"Subpath": "p"}},
        ),
    ],
)
def test_mounts(spec: str, mount: dict[str, Any]) -> None:
    assert host("--mount", spec)["Mounts"] == [mount]


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ("type=foo", "target is required"),
        ("target=x,foo=1", "unexpected key 'foo' in 'foo=1'"),
        ("foo", "invalid field 'foo' must be a key=value pair"),
        ("type=bind,src=/x,dst=/y,ro=maybe", "invalid value for ro: maybe"),
        (
            "type=bind,src=/a,dst=/x,bind-idmap=all",
            'invalid value for bind-idmap: all (must be "match-user[:USER]" or "userns")',
        ),
        ("src=a,dst=/x,bind-idmap", "cannot mix 'bind-*' options with mount type 'volume'"),
        ("type=tmpfs,dst=/x,volume-nocopy", "cannot mix 'volume-*' options with mount type 'tmpfs'"),
    ],
)
def test_bad_mounts(spec: str, why: str) -> None:
    with pytest.raises(UsageError) as caught:
        body("--mount", spec, "img")
    assert caught.value.message == f'invalid argument "{spec}" for "--mount" flag: {why}'


def test_networks() -> None:
    found = body(
        "--network", "name=front,alias=a,alias=b,ip=10.0.0.5,driver-opt=k=v,gw-priority=3", "--network", "back", "img"
    )
    assert found["HostConfig"]["NetworkMode"] == "front"
    assert found["NetworkingConfig"]["EndpointsConfig"] == {
        "front": {
            "Aliases": ["a", "b"],
            "DriverOpts": {"k": "v"},
            "GwPriority": 3,
            "IPAMConfig": {"IPv4Address": "10.0.0.5"},
        },
        "back": {},
    }
    assert body("--network", "one", "img")["NetworkingConfig"] == {"EndpointsConfig": {}}
    assert body("img")["HostConfig"]["NetworkMode"] == "default"


def test_limits_are_driver_options() -> None:
    found = body(
        "--network", "name=front,rate-in=10mbit,rate-out=5mbit,delay=20ms,loss=1%,no-default-route=true", "img"
    )
    assert found["NetworkingConfig"]["EndpointsConfig"]["front"]["DriverOpts"] == {
        "rate-in": "10mbit", "rate-out": "5mbit", "delay": "20ms", "loss": "1%", "no-default-route": "true",
    }  # fmt: skip


def test_older_engines_want_the_mac_address_at_the_top() -> None:
    assert body("--mac-address", "92:d0:c6:0a:29:33", "img", api=(1, 41))["MacAddress"] == "92:d0:c6:0a:29:33"
    assert "MacAddress" not in body("--mac-address", "92:d0:c6:0a:29:33", "img")


def test_environment_and_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OURS", "yes")
    monkeypatch.delenv("THEIRS", raising=False)
    file = tmp_path / "env"
    file.write_text("# a comment\nA=1\nOURS\nTHEIRS\nB=x y\n")
    found = body("--env-file", str(file), "-e", "OURS", "-e", "THEIRS", "-e", "C=", "-l", "x=y", "-l", "z", "img")
    assert found["Env"] == ["A=1", "OURS=yes", "B=x y", "OURS=yes", "THEIRS", "C="]
    assert found["Labels"] == {"x": "y", "z": ""}


def test_limits_and_the_rest() -> None:
    found = host(
        "-m", "64m", "--memory-swap", "-1", "--cpus", "1.5", "--pids-limit", "10", "--ulimit", "nofile=5:6", "--init",
        "--cap-add", "net_admin", "--cap-drop", "all", "--device", "/dev/null:/dev/x:r", "--restart", "on-failure:3",
        "--tmpfs", "/t:size=1m", "--sysctl", "a.b=1", "--log-opt", "max-size=1m", "--add-host", "h=1.2.3.4",
    )  # fmt: skip
    assert found["Memory"] == 64 << 20
    assert found["MemorySwap"] == -1
    assert found["NanoCpus"] == 1_500_000_000
    assert found["PidsLimit"] == 10
    assert found["Ulimits"] == [{"Name": "nofile", "Soft": 5, "Hard": 6}]
    assert found["Init"] is True
    assert (found["CapAdd"], found["CapDrop"]) == (["CAP_NET_ADMIN"], ["ALL"])
    assert found["Devices"] == [{"PathOnHost": "/dev/null", "PathInContainer": "/dev/x", "CgroupPermissions": "r"}]
    assert found["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 3}
    assert found["Tmpfs"] == {"/t": "size=1m"}
    assert found["Sysctls"] == {"a.b": "1"}
    assert found["LogConfig"] == {"Type": "", "Config": {"max-size": "1m"}}
    assert found["ExtraHosts"] == ["h:1.2.3.4"]


def test_health() -> None:
    found = body("--health-cmd", "true", "--health-interval", "5s", "--health-retries", "3", "img")
    assert found["Healthcheck"] == {"Test": ["CMD-SHELL", "true"], "Interval": 5_000_000_000, "Retries": 3}
    assert body("--no-healthcheck", "img")["Healthcheck"] == {"Test": ["NONE"]}
