"""Entries of the OCI specification."""

from berth.volumes.mounts.model import OciMount
from berth.volumes.mounts.oci import render
from berth.volumes.mounts.parse import parse_bind, parse_mount, parse_tmpfs
from berth.wire.volumes import BindOptions, Mount


def test_volumes_and_binds() -> None:
    assert render(parse_bind("v1:/x").point, "/data") == OciMount("/x", "/data", "bind", ("rbind", "rprivate"))
    assert render(parse_bind("v1:/x:ro").point, "/data").options == ("rbind", "ro", "rprivate")
    assert render(parse_bind("/h:/x:rslave").point, "/h").options == ("rbind", "rslave")


def test_read_only_reaches_what_lies_below() -> None:
    point = parse_bind("/h:/x:ro").point
    assert render(point, "/h", has_submounts=True).options == ("rbind", "ro", "rro", "rprivate")
    flat = Mount(
        type="bind", source="/h", target="/x", read_only=True, bind_options=BindOptions(read_only_non_recursive=True)
    )
    assert "rro" not in render(parse_mount(flat).point, "/h", has_submounts=True).options
    single = Mount(type="bind", source="/h", target="/x", bind_options=BindOptions(non_recursive=True))
    assert render(parse_mount(single).point, "/h").options == ("bind", "private")


def test_tmpfs() -> None:
    assert render(parse_tmpfs("/t", "size=1m").point, "") == OciMount(
        "/t", "tmpfs", "tmpfs", ("noexec", "nosuid", "nodev", "size=1m", "rprivate")
    )
