"""Which mount calls the options of a volume ask for."""

from berth.volumes.drivers.local_mounts import MountCall, failed_text, mount_calls, server_name
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
