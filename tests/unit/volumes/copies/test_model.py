"""Names of snapshots, and mounts of them."""

import pytest

from berth.containers.model import ContainerRecord
from berth.containers.retarget import volume_renamed
from berth.volumes.copies.errors import BadSnapshotName, SnapshotReadOnly
from berth.volumes.copies.model import Reference, automatic_name, parse_reference, snapshot_data
from berth.volumes.copies.mounts import of_snapshot
from berth.volumes.mounts.model import MountPoint, MountType, to_wire
from berth.volumes.mounts.parse import parse_bind
from berth.volumes.references import holders, names, snapshot_users, users_of_data, writers
from berth.wire.containers import ContainerConfig, HostConfig


def test_a_reference_names_a_volume_or_a_snapshot_of_it() -> None:
    assert parse_reference("data") == Reference("data")
    assert parse_reference("data@first") == Reference("data", "first")
    assert str(parse_reference("data@first")) == "data@first"
    for wrong in ("data@", "data@.hidden", "data@a/b", "data@a@b", f"data@{'x' * 300}"):
        with pytest.raises(BadSnapshotName):
            parse_reference(wrong)


def test_a_name_of_the_moment_is_a_name() -> None:
    made = automatic_name("before-rollback-", 1_700_000_000_123_456_789)
    assert made == "before-rollback-20231114-221320-123"
    assert parse_reference(f"data@{made}").snapshot == made


def test_only_read_only_mounts_of_snapshots() -> None:
    seen = of_snapshot(parse_bind("data@first:/p:ro")).point
    assert (seen.name, seen.snapshot, seen.rw, seen.copy_up) == ("data", "first", False, False)
    assert next(iter(to_wire([seen])))["Name"] == "data@first"
    for wrong in ("data@first:/p", "data@first:/p:rw"):
        with pytest.raises(SnapshotReadOnly, match="data@first is a snapshot"):
            of_snapshot(parse_bind(wrong))
    plain = parse_bind("/srv/a@b:/p")
    assert of_snapshot(plain) is plain


def test_a_snapshot_counts_as_used_and_its_volumes_data_does_not() -> None:
    snapshot = of_snapshot(parse_bind("data@first:/p:ro")).point
    own, reading = parse_bind("data:/d").point, parse_bind("data:/d:ro").point
    users = [("looks", (snapshot,)), ("writes", (own,)), ("reads", (reading,))]
    assert holders(users) == {"data": ("looks", "writes", "reads")}
    assert users_of_data(users) == {"data": ("writes", "reads")}
    assert writers(users) == {"data": ("writes",)}
    assert snapshot_users(users, "data", "first") == ("looks",)
    assert snapshot_users(users, "data", "second") == ()
    assert names((snapshot,)) == set()


def test_a_snapshot_follows_its_volumes_new_name() -> None:
    point = MountPoint(
        type=MountType.VOLUME, name="data", snapshot="first", target="/p", rw=False,
        source=str(snapshot_data("/v/data/_data", "first")),
    )  # fmt: skip
    record = ContainerRecord(
        id="c", name="c", created_ns=0, image_id="", image_ref="", config=ContainerConfig(),
        host_config=HostConfig(binds=["data@first:/p:ro", "database:/q"]), mounts=(point,),
    )  # fmt: skip
    renamed = volume_renamed(record, "data", "other", "/v/other/_data")
    assert renamed.mounts[0].source == "/v/other/snapshots/first/_data"
    assert renamed.mounts[0].reference == "other@first"
    assert renamed.host_config.binds == ["other@first:/p:ro", "database:/q"]
