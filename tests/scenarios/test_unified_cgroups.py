"""A machine whose control groups are all version 2, as distributions have them today; this one's may be older.

Where it is, the rest of the suite shows the same; where not, a kernel of its own does.
"""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.inside import unified
from tests.support import uml

pytestmark = pytest.mark.root

MIB = 1 << 20


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory, busybox: Path) -> dict[str, Any]:
    """What the program said that ran there."""
    if reason := uml.is_missing():
        pytest.skip(reason)
    place = tmp_path_factory.mktemp("unified")
    os.chmod(place, 0o755)
    shutil.unpack_archive(busybox, place / "root.bb")
    shutil.move(place / "root.bb/bin/busybox", place / "busybox")
    shutil.rmtree(place / "root.bb")
    ran = uml.run(Path(unified.__file__), place, modules=("overlay", "nf_tables"))
    assert ran.code == 0, ran.err
    found: dict[str, Any] = json.loads(ran.out)
    return found


def test_it_is_such_a_machine(told: dict[str, Any]) -> None:
    assert (told["version"], told["hybrid"]) == (2, False)
    assert told["ready"]


def test_limits_reach_the_kernel_and_are_changed_live(told: dict[str, Any]) -> None:
    limits, updated = told["limits"], told["updated"]
    assert (limits["memory.max"], limits["memory.low"]) == (str(64 * MIB), str(32 * MIB))
    assert (limits["cpu.max"], limits["pids.max"]) == ("50000 100000", "20")
    assert int(limits["cpu.weight"]) == 1 + (512 - 2) * 9999 // 262142
    assert (updated["memory.max"], updated["cpu.max"], updated["pids.max"]) == (str(96 * MIB), "25000 100000", "30")


def test_a_command_runs_in_the_containers_group(told: dict[str, Any]) -> None:
    assert told["exec"] == [0, "0::/\n"]
    assert told["processes"] == 1


def test_figures_are_of_the_containers_group(told: dict[str, Any]) -> None:
    stats = told["stats"]
    assert stats["limit"] == 96 * MIB
    assert stats["usage"]
    assert stats["cpu"]
    assert (stats["pids"]["current"], stats["pids"]["limit"]) == (1, 30)


def test_it_freezes_and_ends_and_leaves_nothing(told: dict[str, Any]) -> None:
    assert told["frozen"] == "1"
    assert told["killed"] == 137
    assert not told["group left"]
    assert told["left"] == []


def test_too_much_memory_and_too_many_processes_end_it(told: dict[str, Any]) -> None:
    assert told["greedy"] == [137, True]
    assert told["forks"]
