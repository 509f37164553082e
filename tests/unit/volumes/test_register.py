"""While an operation works on a volume's data the volume stays where it is, and containers keep out if they must."""

import asyncio
from contextlib import nullcontext

import pytest

from berth.base.clock import SystemClock
from berth.events.bus import Bus
from berth.store.memory import MemoryRecords
from berth.volumes.errors import NoSuchVolume, VolumeOccupied, VolumeRunning
from berth.volumes.model import VolumeRecord
from berth.volumes.mounts.model import MountPoint, MountType
from berth.volumes.register import Register

POINT = MountPoint(type=MountType.VOLUME, name="data", source="/nowhere", target="/data")


@pytest.fixture
def register() -> Register:
    records: MemoryRecords[VolumeRecord] = MemoryRecords()
    asyncio.run(records.put("data", VolumeRecord(name="data")))
    return Register(records, Bus(SystemClock()), lambda: [("c1", (POINT,))])


@pytest.mark.parametrize(
    ("first", "second", "refused"), [(False, False, False), (False, True, True), (True, False, True)]
)
def test_readers_share_and_a_writer_is_alone(register: Register, first: bool, second: bool, refused: bool) -> None:
    with register.occupy("data", "backup", exclusive=first):
        expected = pytest.raises(VolumeOccupied, match="running backup") if refused else nullcontext()
        with expected, register.occupy("data", "restore", exclusive=second):
            pass
    with register.occupy("data", "restore", exclusive=True):
        pass


def test_a_writer_waits_for_no_running_container_but_is_refused(register: Register) -> None:
    with (
        register.occupy("data", "restore", exclusive=True),
        pytest.raises(VolumeOccupied, match="^start c1: volume data"),
    ):
        register.check_startable("c1", "data")
    register.attached.add("c1")
    with (
        pytest.raises(VolumeRunning, match=r"\[c1\].*docker stop c1"),
        register.occupy("data", "restore", exclusive=True),
    ):
        pass
    with register.occupy("data", "backup"):
        register.check_startable("c1", "data")
        with pytest.raises(VolumeOccupied, match="^remove data"):
            register.check_unoccupied("remove", "data")
    register.check_unoccupied("remove", "data")


def test_only_what_is_there_can_be_occupied(register: Register) -> None:
    with pytest.raises(NoSuchVolume), register.occupy("other", "backup"):
        pass
