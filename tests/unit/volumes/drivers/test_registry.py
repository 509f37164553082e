"""Drivers by name, and what is said where there is none."""

import pytest

from berth.volumes.drivers.registry import Drivers
from berth.volumes.errors import NoSuchDriver


@pytest.mark.parametrize(
    ("driver", "hint"),
    [("nfs", "docker volume create -o type=nfs -o o=addr=SERVER,rw -o device=:/PATH vv"), ("cifs", "-o type=cifs")],
)
def test_a_file_servers_kind_taken_for_a_driver_leads_to_the_command_that_mounts_it(driver: str, hint: str) -> None:
    with pytest.raises(NoSuchDriver) as refused:
        Drivers({}).get("vv", driver)
    assert str(refused.value).startswith(f"create vv: error looking up volume plugin {driver}: ")
    assert hint in str(refused.value)


def test_any_other_is_just_not_there() -> None:
    with pytest.raises(NoSuchDriver, match='The driver at hand is "local"$'):
        Drivers({}).get("vv", "aws")
