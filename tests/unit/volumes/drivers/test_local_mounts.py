"""Which mount calls the options of a volume ask for."""

import pytest

from berth.volumes.drivers.local_mounts import (
    MountCall,
    explained,
    failed_text,
    mount_calls,
    server_name,
    tcp_port,
    wants_loop,
)
from berth.volumes.options import LocalOptions


def test_tmpfs() -> None:
    assert mount_calls(LocalOptions("tmpfs", "size=1m,uid=5,noexec", "tmpfs"), "/t") == (
        MountCall("tmpfs", "/t", "tmpfs", 0x8, "size=1m,uid=5"),
    )


def test_a_read_only_bind_needs_two_calls() -> None:
    assert mount_calls(LocalOptions("none", "bind,ro", "/src"), "/t") == (
        MountCall("/src", "/t", "none", 0x1001, ""),
        MountCall("", "/t", "", 0x1021, ""),
    )


def test_propagation_is_a_call_of_its_own() -> None:
    assert mount_calls(LocalOptions("none", "rbind,rslave", "/src"), "/t")[1] == MountCall("", "/t", "", 0x84000, "")


def test_names_of_servers_become_addresses() -> None:
    options = LocalOptions("nfs", "vers=4,addr=nas.example,soft", ":/x")
    assert server_name(options) == "nas.example"
    assert mount_calls(options, "/t", "192.0.2.1")[0].data == "vers=4,addr=192.0.2.1,soft"
    assert server_name(LocalOptions("tmpfs", "addr=x", "tmpfs")) == ""


def test_words_of_failure() -> None:
    options = LocalOptions("cifs", "ro,username=u,password=p", "//h/x")
    assert failed_text(options, "/t", "no such device") == (
        "failed to mount local volume: mount //h/x:/t, flags: 0x1, data: username=u,password=********: no such device"
    )


def test_a_share_names_its_server() -> None:
    options = LocalOptions("cifs", "username=u", "//files.example/share")
    assert server_name(options) == "files.example"
    assert mount_calls(options, "/t", "192.0.2.1")[0].data == "username=u,ip=192.0.2.1"
    assert server_name(LocalOptions("cifs", "ip=192.0.2.1", "//files.example/share")) == ""


def test_a_file_needs_a_loop_device() -> None:
    options = LocalOptions("ext4", "loop,noatime", "/images/a")
    assert wants_loop(options)
    assert mount_calls(options, "/t")[0] == MountCall("/images/a", "/t", "ext4", 0x400, "")
    assert not wants_loop(LocalOptions("ext4", "noloop,noatime", "/dev/x"))


@pytest.mark.parametrize(
    ("kind", "o", "port"),
    [
        ("nfs", "addr=h", 2049),
        ("nfs4", "addr=h,port=12049", 12049),
        ("nfs", "addr=h,vers=3", 0),
        ("nfs", "addr=h,proto=udp", 0),
        ("nfs", "addr=h,proto=rdma", 0),
        ("cifs", "addr=h", 445),
        ("cifs", "addr=h,port=1445", 1445),
        ("fuse.sshfs", "addr=h", 0),
    ],
)
def test_where_a_server_listens(kind: str, o: str, port: int) -> None:
    assert tcp_port(LocalOptions(kind, o, "x")) == port


def test_refusals_are_explained() -> None:
    said = explained(LocalOptions("nfs", "addr=h", ":/x"), "no such device")
    assert said == "no such device: this machine's kernel has no file system 'nfs'; try: modprobe nfs"
    said = explained(LocalOptions("ext4", "", "/images/a"), "block device required")
    assert said.startswith("block device required: /images/a is no block device; if it is a file with a file system")
    said = explained(LocalOptions("none", "", "/srv/data"), "no such device")
    assert said == "no such device: to mount the directory /srv/data, add bind to o= (o=bind)"
    said = explained(LocalOptions("none", "bind", "/srv/data"), "no such file or directory")
    assert said.endswith("is /srv/data there? A directory is made with: mkdir -p /srv/data")
    said = explained(LocalOptions("none", "bind", "./data"), "no such file or directory")
    assert said.endswith("A directory is named by its absolute path")
    assert explained(LocalOptions("ext4", "", "/dev/x"), "invalid argument") == "invalid argument"
