"""Options of the local driver, and names."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from berth.base.errors import InvalidArgument
from berth.base.ownership import Owner
from berth.volumes.options import LocalOptions, check_local, check_name, masked, parse_local, split_mount_options


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"foo": "1"}, 'create v: invalid option: "foo"'),
        ({"type": "tmpfs"}, 'create v: missing required option: "device"'),
        ({"o": "bind"}, 'create v: missing required option: "device"'),
        ({"device": "/x"}, 'create v: missing required option: "type"'),
        ({"size-mode": "image"}, 'create v: missing required option: "size"'),
        (
            {"size": "1m", "size-mode": "x"},
            'create v: invalid option: "size-mode" is one of auto, quota, image, not "x"',
        ),
        ({"size": "1m", "size-fs": "vfat"}, 'create v: invalid option: "size-fs" is one of ext4, xfs, not "vfat"'),
        ({"size": "299m", "size-fs": "xfs"}, "create v: a file system of type xfs needs a size of 300m at least"),
        ({"uid": "root"}, 'create v: invalid option: "uid" must be a number, not "root"'),
        ({"gid": "4294967295"}, 'create v: invalid option: "gid" must be a number, not "4294967295"'),
        ({"mode": "0888"}, 'create v: invalid option: "mode" must be an octal mode, not "0888"'),
        ({"mode": "17777"}, 'create v: invalid option: "mode" must be an octal mode, not "17777"'),
        (
            {"type": "none", "o": "bind", "device": "/x", "size": "1g"},
            'create v: "size" is for volumes without a device; a tmpfs takes its size in "o": o=size=…',
        ),
        ({"size": "zz"}, "create v: invalid size: 'zz'"),
    ],
)
def test_bad_options(options: dict[str, str], words: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse_local("v", options)
    assert str(caught.value) == words


@pytest.mark.parametrize(
    "device", ["//server:445/share", "//[fd00::1]:445/share", "//server:445", "smb://server:445/s"]
)
def test_a_port_belongs_into_the_options_of_a_share(device: str) -> None:
    words = "create v: port not allowed in CIFS device URL, include 'port' in 'o='"
    with pytest.raises(InvalidArgument, match=f"^{words}$"):
        check_local("v", {"type": "cifs", "device": device, "o": "username=u"})
    parse_local("v", {"type": "cifs", "device": device})  # one that is on record can be seen, and removed
    for good in ("//server/share", "//[fd00::1]/share", "//server/a:445/b"):
        check_local("v", {"type": "cifs", "device": good, "o": "port=445"})
    check_local("v", {"type": "none", "device": device, "o": "bind"})


def test_good_options() -> None:
    assert parse_local("v", {}) == LocalOptions()
    assert not parse_local("v", {}).wants_mount
    nfs = parse_local("v", {"type": "nfs", "o": "addr=h", "device": ":/x"})
    assert nfs.wants_mount
    assert nfs.networked
    assert not parse_local("v", {"type": "tmpfs", "device": "tmpfs"}).networked
    assert parse_local("v", {"size": "1.5g", "size-mode": "quota"}).size == 3 << 29
    assert parse_local("v", {"size": "0"}).size == 0
    assert parse_local("v", {"uid": "5", "mode": "0750"}).owner == Owner(5, None, 0o750)


def test_flags_and_data_are_told_apart() -> None:
    assert split_mount_options("ro,size=1m,nosuid,rw") == (0x2, "size=1m")
    assert split_mount_options("rbind") == (0x5000, "")
    assert masked("username=a,password=b,addr=c") == "username=a,password=********,addr=c"


@pytest.mark.parametrize("name", ["x/y", "../y", ".hidden", "-x1", "a b", "a\nb", "a\0b", "é1", "aa\n", "..", "_a"])
def test_hostile_names(name: str) -> None:
    with pytest.raises(InvalidArgument, match="invalid characters"):
        check_name(name)


def test_names_have_two_characters() -> None:
    with pytest.raises(InvalidArgument, match="create x: volume name is too short, names should be at least two"):
        check_name("x")
    check_name("xy")
    check_name("x" * 255)
    with pytest.raises(InvalidArgument, match="volume name is too long: 256 characters, at most 255"):
        check_name("x" * 256)


@given(st.text(max_size=12))
def test_a_good_name_is_one_path_component(name: str) -> None:
    try:
        check_name(name)
    except InvalidArgument:
        return
    assert "/" not in name
    assert not name.startswith(".")
    assert name.isascii()
