"""A volume's new name reaches every place of a container's record that names the volume, and no other."""

from pathlib import Path

import msgspec

from berth.containers.model import ContainerRecord
from berth.containers.retarget import data_moved, volume_renamed
from berth.volumes.mounts.model import MountPoint, MountType
from berth.wire.containers import ContainerConfig, HostConfig
from berth.wire.volumes import Mount


def point(name: str, **more: object) -> MountPoint:
    source = f"/volumes/{name}/_data"
    return MountPoint(type=MountType.VOLUME, name=name, target="/d", source=source, **more)  # type: ignore[arg-type]


def record(*points: MountPoint, **host: object) -> ContainerRecord:
    return ContainerRecord(
        id="c", name="c", created_ns=1, image_id="", image_ref="", config=ContainerConfig(),
        host_config=HostConfig(**host), mounts=points,  # type: ignore[arg-type]
    )  # fmt: skip


def test_all_that_names_the_volume_follows() -> None:
    bind = MountPoint(type=MountType.BIND, name="", target="/b", source="/old")
    before = record(
        point("old"), point("old", snapshot="s1"), point("older"), bind,
        binds=["old:/a:ro", "old@s1:/b", "older:/c", "/old:/d", "/anon"],
        mounts=[Mount(type="volume", source="old", target="/e"), Mount(type="bind", source="old", target="/f"),
                Mount(type="volume", source="old@s1", target="/g"), Mount(type="volume", target="/h")],
    )  # fmt: skip
    after = volume_renamed(before, "old", "new", "/volumes/new/_data")
    assert [(one.name, one.source) for one in after.mounts] == [
        ("new", "/volumes/new/_data"), ("new", "/volumes/new/snapshots/s1/_data"),
        ("older", "/volumes/older/_data"), ("", "/old"),
    ]  # fmt: skip
    assert after.host_config.binds == ["new:/a:ro", "new@s1:/b", "older:/c", "/old:/d", "/anon"]
    assert [one.source for one in after.host_config.mounts or ()] == ["new", "old", "new@s1", None]


def test_who_does_not_use_it_stays_as_it_is() -> None:
    before = record(point("other"), binds=["other:/a"])
    assert volume_renamed(before, "old", "new", "/volumes/new/_data") is before


def test_all_paths_follow_data_that_was_moved() -> None:
    bind = MountPoint(type=MountType.BIND, name="", target="/b", source="/old/volumes/a/_data")
    foreign = point("far", driver="else")
    before = msgspec.structs.replace(
        record(point("a", driver="local"), point("a", snapshot="s1", driver="local"), bind, foreign),
        layers=("/old/images/layers/3f/diff", "/old/images/layers/images/layers/x/diff", "/elsewhere"),
    )
    after = data_moved(before, Path("/new"), Path("/disk/volumes"))
    assert [one.source for one in after.mounts] == [
        "/disk/volumes/a/_data", "/disk/volumes/a/snapshots/s1/_data", "/old/volumes/a/_data", "/volumes/far/_data",
    ]  # fmt: skip
    assert after.layers == ("/new/images/layers/3f/diff", "/new/images/layers/x/diff", "/elsewhere")
    assert data_moved(after, Path("/new"), Path("/disk/volumes")) is after
