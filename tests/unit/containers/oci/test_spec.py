import json
from typing import Any

import msgspec
import pytest

from berth.base.errors import InvalidArgument
from berth.containers.model import ContainerRecord
from berth.containers.oci import capabilities, defaults, resources, seccomp, spec
from berth.containers.users import Identity
from berth.volumes.mounts.model import OciMount
from berth.wire.containers import ContainerConfig, HostConfig, Ulimit, UpdateRequest

ALL = defaults.ALL_CAPABILITIES


def record(config: ContainerConfig | None = None, host: HostConfig | None = None) -> ContainerRecord:
    return ContainerRecord(
        id="a" * 64, name="a", created_ns=1, image_id="sha256:1", image_ref="busybox",
        config=config or ContainerConfig(), host_config=host or HostConfig(), path="sleep", args=("1",),
    )  # fmt: skip


def around(**fields: Any) -> spec.Surroundings:
    base = spec.Surroundings(
        rootfs="/b/rootfs", cgroup_path="/berth/aaa", identity=Identity(), known_capabilities=ALL, hostname="box",
        namespaces=spec.Joined(network="/run/netns/x"), own_network=True,
    )  # fmt: skip
    values = {name: getattr(base, name) for name in base.__dataclass_fields__}
    return spec.Surroundings(**values | fields)


def test_a_plain_container() -> None:
    built = spec.build(record(), around())
    json.dumps(built)
    assert built["process"]["args"] == ["sleep", "1"]
    assert built["process"]["capabilities"]["bounding"] == sorted(defaults.CAPABILITIES, key=ALL.index)
    assert built["process"]["cwd"] == "/"
    assert {"type": "network", "path": "/run/netns/x"} in built["linux"]["namespaces"]
    assert [one["type"] for one in built["linux"]["namespaces"]] == ["mount", "network", "uts", "pid", "ipc"]
    assert "/proc/kcore" in built["linux"]["maskedPaths"]
    assert built["linux"]["sysctl"] == defaults.NETWORK_SYSCTLS
    assert built["linux"]["resources"]["devices"][0] == {"allow": False, "access": "rwm"}


def test_privileged() -> None:
    built = spec.build(record(host=HostConfig(privileged=True)), around(seccomp={"defaultAction": "SCMP_ACT_ERRNO"}))
    assert built["process"]["capabilities"]["bounding"] == list(ALL)
    assert not {"seccomp", "maskedPaths", "readonlyPaths"} & set(built["linux"])
    assert built["linux"]["resources"]["devices"] == [{"allow": True, "access": "rwm"}]
    assert all("ro" not in one["options"] for one in built["mounts"] if one["type"] in ("sysfs", "cgroup"))


def test_host_namespaces_are_not_made() -> None:
    joined = spec.Joined(network=None, ipc=None, pid="/proc/7/ns/pid", uts=None)
    built = spec.build(record(), around(namespaces=joined, own_network=False, shm="/dev/shm"))
    assert built["linux"]["namespaces"] == [{"type": "mount"}, {"type": "pid", "path": "/proc/7/ns/pid"}]
    assert "hostname" not in built
    assert "sysctl" not in built["linux"]
    shm = next(one for one in built["mounts"] if one["destination"] == "/dev/shm")
    assert (shm["type"], shm["source"]) == ("bind", "/dev/shm")


def test_a_mount_of_the_users_takes_the_place_of_a_default_one() -> None:
    mounts = (OciMount("/dev/shm", "tmpfs", "tmpfs", ()), OciMount("/etc/hosts", "/mine", "bind", ("rbind", "rshared")))
    built = spec.build(
        record(), around(mounts=mounts, files={"/etc/hosts": "/c/hosts", "/etc/hostname": "/c/hostname"})
    )
    targets = [one["destination"] for one in built["mounts"]]
    assert targets.count("/dev/shm") == targets.count("/etc/hosts") == targets.count("/etc/hostname") == 1
    assert built["linux"]["rootfsPropagation"] == "shared"


def test_a_mount_above_the_engines_files_does_not_hide_them() -> None:
    mounts = (OciMount("/etc", "/vol", "bind", ("rbind",)), OciMount("/etc/hosts/x", "/y", "bind", ("rbind",)))
    built = spec.build(record(), around(mounts=mounts, files={"/etc/resolv.conf": "/c/r"}, init="/usr/bin/tini"))
    order = [one["destination"] for one in built["mounts"]]
    assert order.index("/etc") < order.index("/etc/resolv.conf") < order.index("/etc/hosts/x")
    assert order.index("/proc") < order.index("/etc")


def test_the_environment() -> None:
    config = ContainerConfig(tty=True, env=["A=b=c", "PATH", "HOME=/mine", "EMPTY="])
    assert spec.environment(config, "box", "/root") == ["HOSTNAME=box", "TERM=xterm", "A=b=c", "HOME=/mine", "EMPTY="]


def test_limits_above_the_ceiling_are_clamped() -> None:
    host = HostConfig(ulimits=[Ulimit(name="nofile", soft=5000, hard=9000), Ulimit(name="core", soft=-1, hard=-1)])
    limits = spec.process(record(host=host), around(rlimit_ceiling={"nofile": 4096}))["rlimits"]
    assert limits[0] == {"type": "RLIMIT_NOFILE", "hard": 4096, "soft": 4096}
    assert limits[1]["hard"] == 2**64 - 1


def test_an_init_is_put_in_front() -> None:
    built = spec.build(record(), around(init="/usr/bin/tini-static"))
    assert built["process"]["args"] == ["/sbin/docker-init", "--", "sleep", "1"]
    assert any(one["destination"] == "/sbin/docker-init" for one in built["mounts"])


@pytest.mark.parametrize(
    ("add", "drop", "have", "lack"),
    [
        (["SYS_ADMIN"], [], "CAP_SYS_ADMIN", "CAP_NET_ADMIN"),
        ([], ["cap_chown"], "CAP_KILL", "CAP_CHOWN"),
        (["ALL"], ["SYS_ADMIN"], "CAP_NET_ADMIN", "CAP_SYS_ADMIN"),
        (["chown"], ["ALL"], "CAP_CHOWN", "CAP_KILL"),
    ],
)
def test_capabilities(add: list[str], drop: list[str], have: str, lack: str) -> None:
    found = capabilities.chosen(ALL, add, drop, privileged=False)
    assert have in found
    assert lack not in found


def test_capabilities_the_kernel_lacks_are_left_out() -> None:
    assert capabilities.chosen(ALL[:5], ["ALL"], [], privileged=False) == ALL[:5]


def test_limits() -> None:
    host = HostConfig(memory=64 << 20, memory_swap=-1, nano_cpus=500_000_000, pids_limit=50, cpuset_cpus="0")
    assert resources.limits(host) == {
        "memory": {"limit": 64 << 20, "swap": -1},
        "cpu": {"period": 100_000, "quota": 50_000, "cpus": "0"},
        "pids": {"limit": 50},
    }
    assert resources.limits(HostConfig()) == {}
    assert resources.limits(HostConfig(memory=64 << 20, memory_swap=128 << 20), has_swap=False) == {
        "memory": {"limit": 64 << 20}
    }
    assert resources.limits(UpdateRequest(pids_limit=-1)) == {"pids": {"limit": -1}}


def test_a_profile_is_cut_to_machine_kernel_and_capabilities() -> None:
    profile = seccomp.parse(
        msgspec.json.encode(
            {
                "defaultAction": "SCMP_ACT_ERRNO",
                "defaultErrnoRet": 1,
                "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]}],
                "syscalls": [
                    {"names": ["read"], "action": "SCMP_ACT_ALLOW"},
                    {"names": ["mount"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN"]}},
                    {
                        "names": ["mount"],
                        "action": "SCMP_ACT_ERRNO",
                        "errnoRet": 1,
                        "excludes": {"caps": ["CAP_SYS_ADMIN"]},
                    },
                    {"names": ["arm"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["arm64"]}},
                    {"names": ["new"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "6.9"}},
                ],
            }
        )
    )
    plain = seccomp.compiled(profile, "x86_64", (6, 1), ())
    assert [rule["names"] + [rule["action"]] for rule in plain["syscalls"]] == [
        ["read", "SCMP_ACT_ALLOW"],
        ["mount", "SCMP_ACT_ERRNO"],
    ]
    assert plain["architectures"] == ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]
    admin = seccomp.compiled(profile, "x86_64", (6, 9), ("CAP_SYS_ADMIN",))
    assert [rule["names"][0] for rule in admin["syscalls"]] == ["read", "mount", "new"]


def test_a_bad_profile_is_a_clear_error() -> None:
    with pytest.raises(InvalidArgument, match="Decoding seccomp profile failed"):
        seccomp.parse("{}")
