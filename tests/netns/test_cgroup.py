"""Control groups of this machine."""

from dataclasses import replace
from pathlib import Path

import pytest

from berth.kernel import cgroup

pytestmark = pytest.mark.root


def test_getting_ready_for_moves_moves_nothing() -> None:
    before = Path("/proc/self/cgroup").read_text()
    assert cgroup.get_ready_for_moves(cgroup.look())
    assert Path("/proc/self/cgroup").read_text() == before


def test_a_mount_that_shows_other_groups_is_left_alone(tmp_path: Path) -> None:
    groups = cgroup.look()
    members = tmp_path / Path(_own_group()).relative_to("/") / "cgroup.procs"
    members.parent.mkdir(parents=True, exist_ok=True)
    members.write_text("1\n")
    elsewhere = replace(groups, unified=tmp_path) if groups.unified else replace(groups, v1={"pids": tmp_path})
    assert not cgroup.get_ready_for_moves(elsewhere)
    assert members.read_text() == "1\n"


def _own_group() -> str:
    unified = cgroup.look().unified is not None
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, names, path = line.split(":", 2)
        if (not names) if unified else ("pids" in names.split(",")):
            return path
    raise AssertionError("this process is in no group")


def test_two_engines_hold_a_controller_off_the_unified_hierarchy_each(tmp_path: Path) -> None:
    """What one took is still taken when it has given it back, if another needed it too."""
    groups = cgroup.look()
    spare = groups.unified_controllers | cgroup.held_elsewhere(groups)
    if groups.version != 1 or not spare:
        # A machine with one version only has no such controllers; the unified tests run the engine there.
        assert not cgroup.held_elsewhere(groups)
        return
    first, second = tmp_path / "first", tmp_path / "second"
    try:
        assert set(cgroup.take_from_unified(spare, first)) == spare
        assert set(cgroup.take_from_unified(spare, second)) == spare
        cgroup.give_back(first)
        assert not cgroup.look().unified_controllers & spare
    finally:
        cgroup.give_back(first)
        cgroup.give_back(second)
