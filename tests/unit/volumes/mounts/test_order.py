"""Parents come before what lies in them; what clashes is refused; an image's volume gives way."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from berth.volumes.errors import DuplicateTarget
from berth.volumes.mounts.model import MountPoint, MountType
from berth.volumes.mounts.order import below, by_depth, combine
from berth.volumes.mounts.parse import parse_bind, parse_config_volume, parse_tmpfs

TARGETS = st.lists(st.sampled_from("abc"), min_size=1, max_size=4).map(lambda names: "/" + "/".join(names))


@given(st.sets(TARGETS, max_size=12))
def test_no_mount_hides_an_earlier_one(targets: set[str]) -> None:
    points = by_depth([MountPoint(type=MountType.TMPFS, target=target) for target in targets])
    seen: list[str] = []
    for point in points:
        assert not any(below(earlier, [point.target]) for earlier in seen)
        seen.append(point.target)
    assert set(seen) == targets


def test_two_of_a_kind_clash() -> None:
    with pytest.raises(DuplicateTarget, match="Duplicate mount point: /x"):
        combine([], [parse_bind("a1:/x"), parse_bind("b1:/x/")], [], [], [])
    with pytest.raises(DuplicateTarget):
        combine([], [parse_bind("a1:/x")], [], [parse_tmpfs("/x", "")], [])


def test_what_is_asked_for_wins() -> None:
    inherited = [parse_bind("old:/x").point, parse_bind("kept:/y").point]
    kept, asked = combine(
        inherited, [parse_bind("new:/x")], [], [], [parse_config_volume(target) for target in ("/x", "/y", "/z")]
    )
    assert [point.name for point in kept] == ["kept"]
    assert [(one.point.target, one.point.name) for one in asked] == [("/x", "new"), ("/z", "")]
