from typing import Any

import pytest

from berth.containers.reconcile import Verdict, resting
from berth.containers.states import State
from berth.wire.containers import HostConfig, RestartPolicy
from tests.unit.containers.test_listing import record


def host(policy: str = "no", *, remove: bool = False) -> HostConfig:
    return HostConfig(restart_policy=RestartPolicy(name=policy), auto_remove=remove)


STOPPED: dict[str, Any] = {"state": State.EXITED, "has_been_manually_stopped": True}


@pytest.mark.parametrize(
    ("fields", "same_boot", "verdict"),
    [
        ({}, False, Verdict.CREATED),
        ({"state": State.REMOVING}, True, Verdict.REMOVE),
        ({"state": State.DEAD}, False, Verdict.REMOVE),
        ({"state": State.RUNNING}, True, Verdict.ENDED),
        ({"state": State.RUNNING}, False, Verdict.ENDED),
        ({"state": State.RUNNING, "host_config": host("always")}, True, Verdict.ENDED),
        ({"state": State.RUNNING, "host_config": host("always")}, False, Verdict.START),
        ({"state": State.RUNNING, "host_config": host("on-failure")}, False, Verdict.START),
        (STOPPED | {"host_config": host("always")}, True, Verdict.START),
        (STOPPED | {"host_config": host("unless-stopped")}, True, Verdict.REST),
        ({"state": State.EXITED, "host_config": host(remove=True)}, True, Verdict.REMOVE),
        ({"host_config": host("always")}, True, Verdict.REST),
    ],
)  # fmt: skip
def test_what_becomes_of_a_container_without_a_process(
    fields: dict[str, Any], verdict: Verdict, *, same_boot: bool
) -> None:
    assert resting(record("a", **fields), same_boot=same_boot) is verdict
