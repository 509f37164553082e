"""Every form of asking for a mount, and Docker's words for what is wrong."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from berth.base.errors import InvalidArgument
from berth.volumes.mounts.model import MountType
from berth.volumes.mounts.parse import (
    inherit,
    merge_tmpfs_options,
    near_root,
    parse_bind,
    parse_config_volume,
    parse_mount,
    parse_tmpfs,
    parse_volumes_from,
)
from berth.wire.volumes import BindOptions, DriverConfig, IDMapping, ImageOptions, Mount, TmpfsOptions, VolumeOptions


@pytest.mark.parametrize(
    ("raw", "type_", "name", "source", "target", "mode", "rw", "propagation"),
    [
        ("vol:/x", "volume", "vol", "", "/x", "z", True, ""),
        ("vol:/x:ro", "volume", "vol", "", "/x", "ro", False, ""),
        ("vol:/x:z,ro,nocopy", "volume", "vol", "", "/x", "z,ro,nocopy", False, ""),
        ("vol:/x/../y/", "volume", "vol", "", "/y", "z", True, ""),
        ("/x", "volume", "", "", "/x", "z", True, ""),
        ("/h:/x", "bind", "", "/h", "/x", "", True, "rprivate"),
        ("//h//a/:/x", "bind", "", "/h/a", "/x", "", True, "rprivate"),
        ("/h:/x:ro,rshared", "bind", "", "/h", "/x", "ro,rshared", False, "rshared"),
        ("/h:/x:rslave,z", "bind", "", "/h", "/x", "rslave,z", True, "rslave"),
        ("/h:/x:cached", "bind", "", "/h", "/x", "cached", True, "rprivate"),
    ],
)
def test_binds_as_docker_shows_them(
    raw: str, type_: str, name: str, source: str, target: str, mode: str, rw: bool, propagation: str
) -> None:
    point = parse_bind(raw).point
    assert (point.type.value, point.name, point.source, point.target) == (type_, name, source, target)
    assert (point.mode, point.rw, point.propagation) == (mode, rw, propagation)


def test_nocopy_and_created_sources() -> None:
    assert parse_bind("vol:/x").point.copy_up
    assert not parse_bind("vol:/x:nocopy").point.copy_up
    assert parse_bind("/h:/x").point.create_source
    assert not parse_mount(Mount(type="bind", source="/h", target="/x")).point.create_source
    made = Mount(type="bind", source="/h", target="/x", bind_options=BindOptions(create_mountpoint=True))
    assert parse_mount(made).point.create_source


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ("", "invalid volume specification: ''"),
        (":/x", "invalid volume specification: ':/x'"),
        ("/x:ro", "invalid volume specification: '/x:ro'"),
        ("a:b:c:d", "invalid volume specification: 'a:b:c:d'"),
        ("vol:/x:bad", "invalid mode: bad"),
        ("vol:/x:ro,rw", "invalid mode: ro,rw"),
        ("vol:/x:z,Z", "invalid mode: z,Z"),
        ("vol:/x:ro,", "invalid mode: ro,"),
        (
            "vol:x",
            (
                "invalid volume specification: 'vol:x': invalid mount config for type \"volume\": "
                "invalid mount path: 'x' mount path must be absolute"
            ),
        ),
        (
            "vol:/",
            (
                "invalid volume specification: 'vol:/': invalid mount config for type \"volume\": "
                "invalid specification: destination can't be '/'"
            ),
        ),
        (
            "vol:/x:rshared",
            (
                "invalid volume specification: 'vol:/x:rshared': invalid mount config for type \"volume\": "
                "field BindOptions must not be specified"
            ),
        ),
        (
            "/tmp:/x:nocopy",
            (
                "invalid volume specification: '/tmp:/x:nocopy': invalid mount config for type \"bind\": "
                "field VolumeOptions must not be specified"
            ),
        ),
    ],
)
def test_bad_binds(raw: str, words: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse_bind(raw)
    assert str(caught.value) == words


@pytest.mark.parametrize(
    ("mount", "words"),
    [
        (Mount(target="/x"), 'invalid mount config for type "": mount type unknown'),
        (Mount(type="foo", target="/x"), 'invalid mount config for type "foo": mount type unknown'),
        (Mount(type="volume"), 'type "volume": field Target must not be empty'),
        (Mount(type="bind", target="/x"), 'type "bind": field Source must not be empty'),
        (Mount(type="bind", target="/x", source="rel"), "invalid mount path: 'rel' mount path must be absolute"),
        (Mount(type="bind", target="/", source="/h"), "destination can't be '/'"),
        (
            Mount(type="bind", target="/x", source="/h", bind_options=BindOptions(propagation="foo")),
            "invalid propagation mode: foo",
        ),
        (
            Mount(type="bind", target="/x", source="/h", volume_options=VolumeOptions()),
            "field VolumeOptions must not be specified",
        ),
        (Mount(type="tmpfs", target="/x", source="/h"), "field Source must not be specified"),
        (Mount(type="image", target="/x"), 'type "image": field Source must not be empty'),
        (
            Mount(type="image", target="/x", source="i", bind_options=BindOptions()),
            "field BindOptions must not be specified",
        ),
        (
            Mount(type="image", target="/x", source="i", image_options=ImageOptions(subpath="../x")),
            "subpath must be a relative path within the image",
        ),
        (
            Mount(type="tmpfs", target="/x", bind_options=BindOptions()),
            "field BindOptions must not be specified",
        ),
        (Mount(type="tmpfs", target="/x", tmpfs_options=TmpfsOptions(size_bytes=-1)), "must not be negative"),
        (
            Mount(type="volume", target="/x", read_only=True),
            "must not set ReadOnly mode when using anonymous volumes",
        ),
        (
            Mount(type="volume", target="/x", source="v", volume_options=VolumeOptions(subpath="../x")),
            "subpath must be a relative path within the volume",
        ),
        (
            Mount(type="volume", target="/x", source="v", volume_options=VolumeOptions(subpath="/x")),
            "subpath must be a relative path within the volume",
        ),
        (
            Mount(type="volume", target="/x", volume_options=VolumeOptions(subpath="x")),
            "must not set Subpath when using anonymous volumes",
        ),
        (
            Mount(type="bind", target="/x", source="/h", bind_options=BindOptions(read_only_force_recursive=True)),
            "read-only",
        ),
    ],
)
def test_bad_mounts(mount: Mount, words: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse_mount(mount)
    assert words in str(caught.value)


def test_image_mounts_are_read_only() -> None:
    asked = parse_mount(
        Mount(type="image", source="busybox", target="/x/", image_options=ImageOptions(subpath="etc/./x"))
    )
    point = asked.point
    assert (point.type, point.name, point.target, point.rw, point.subpath) == (
        MountType.IMAGE, "busybox", "/x", False, "etc/x",
    )  # fmt: skip


def test_volume_mounts() -> None:
    options = VolumeOptions(labels={"a": "b"}, driver_config=DriverConfig(name="local", options={"type": "tmpfs"}))
    asked = parse_mount(Mount(type="volume", source="v", target="/x", read_only=True, volume_options=options))
    assert asked.labels == {"a": "b"}
    assert asked.driver_opts == {"type": "tmpfs"}
    assert (asked.point.name, asked.point.driver, asked.point.rw, asked.point.mode) == ("v", "local", False, "z")
    assert not parse_mount(
        Mount(type="volume", source="v", target="/x", volume_options=VolumeOptions(subpath="a/b"))
    ).point.copy_up


def test_tmpfs() -> None:
    flag = parse_tmpfs("/t", "rw,exec,size=1m,mode=700,uid=5").point
    assert flag.tmpfs_options == ("nosuid", "nodev", "rw", "exec", "size=1m", "mode=700", "uid=5")
    assert not flag.listed
    mount = parse_mount(Mount(type="tmpfs", target="/t", tmpfs_options=TmpfsOptions(size_bytes=4096, mode=0o755))).point
    assert mount.tmpfs_options == ("noexec", "nosuid", "nodev", "size=4096", "mode=755")
    assert mount.listed
    with pytest.raises(InvalidArgument, match=r'invalid tmpfs option \["foo"\]'):
        parse_tmpfs("/t", "foo")
    with pytest.raises(InvalidArgument, match="mount path must be absolute"):
        parse_tmpfs("t", "")
    assert merge_tmpfs_options(["exec", "noexec"])[-1] == "noexec"


def test_volumes_from() -> None:
    assert parse_volumes_from("c") == ("c", "rw")
    assert parse_volumes_from("c:ro") == ("c", "ro")
    for bad in ("c:zz", "c:rshared", "c:nocopy", "c:"):
        with pytest.raises(InvalidArgument, match="invalid mode"):
            parse_volumes_from(bad)
    with pytest.raises(InvalidArgument, match="cannot be an empty string"):
        parse_volumes_from("")
    points = [parse_bind("v:/v").point, parse_bind("/h:/h").point, parse_tmpfs("/t", "").point]
    handed = inherit(points, "ro")
    assert [(point.target, point.rw, point.copy_up) for point in handed] == [("/v", False, False), ("/h", False, False)]
    assert all(point.rw for point in inherit(points, "rw"))


def test_config_volumes() -> None:
    point = parse_config_volume("/data/").point
    assert (point.type, point.target, point.mode, point.name) == (MountType.VOLUME, "/data", "", "")
    for bad in ("", "/", ":", "a/b", "/a/..", "/a\0b"):
        with pytest.raises(InvalidArgument):
            parse_config_volume(bad)


@given(st.text(alphabet=":/.,abroz-_ \0é", max_size=24))
def test_any_text_is_parsed_or_refused(raw: str) -> None:
    try:
        point = parse_bind(raw).point
    except InvalidArgument:
        return
    assert point.target.startswith("/")
    assert "/../" not in point.target + "/"
    assert point.target != "/"
    assert "\0" not in point.target + point.source
    assert (point.type is MountType.BIND) == point.source.startswith("/")


def test_binds_that_hold_the_engines_directory_follow_it() -> None:
    for source in ("/", "/var/lib", "/var/lib/berth", "/var/lib/berth/volumes/v1/_data"):
        point = near_root(parse_bind(f"{source}:/x"), "/var/lib/berth").point
        assert (point.propagation, point.propagation_wanted) == ("rslave", False)
    for source in ("/var/lib/berth2", "/var/li", "/home"):
        assert near_root(parse_bind(f"{source}:/x"), "/var/lib/berth").point.propagation == "rprivate"
    assert near_root(parse_bind("/:/x:rshared"), "/var/lib/berth").point.propagation == "rshared"
    with pytest.raises(InvalidArgument, match="must use either propagation mode"):
        near_root(parse_bind("/:/x:rprivate"), "/var/lib/berth")


def test_owners() -> None:
    assert parse_bind("/h:/x:ro,U").point.chown
    assert parse_bind("vol:/x:U").point.chown
    assert not parse_bind("vol:/x").point.chown
    options = BindOptions(id_mapping=IDMapping(source="match-user", user="web"))
    point = parse_mount(Mount(type="bind", source="/h", target="/x", bind_options=options)).point
    assert (point.mapped, point.mapped_user, point.chown) == (True, "web", False)
    with pytest.raises(InvalidArgument, match="field Chown must not be specified"):
        parse_mount(Mount(type="tmpfs", target="/x", chown=True))
    with pytest.raises(InvalidArgument, match="invalid mode: U"):
        parse_volumes_from("other:U")
