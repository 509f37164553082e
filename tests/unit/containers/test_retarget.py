"""A volume's new name reaches every place of a container's record that names the volume, and no other."""

from berth.containers.model import ContainerRecord
from berth.containers.retarget import volume_renamed
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
