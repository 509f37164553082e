"""Which networks may go. That they go without a trace is shown where there is a kernel."""

from pathlib import Path
from typing import Any

import pytest

from berth.base.clock import SystemClock
from berth.base.errors import EngineError
from berth.networks.errors import (
    ConfigInUse,
    HasActiveEndpoints,
    NetworkNotFound,
    PredefinedNetwork,
    PruneRunning,
)
from berth.networks.model import NetworkRecord
from berth.networks.removing import Removing
from berth.networks.tenants import Tenants
from berth.store.memory import MemoryRecords
from berth.wire.filters import Filters, InvalidFilter, parse_filters
from tests.unit.networks.bench import Bench


class NotedBuilding:
    """Unmakes nothing, and remembers what."""

    def __init__(self, problem: Exception | None = None) -> None:
        self.unmade: list[str] = []
        self.problem = problem

    def unmake(self, record: NetworkRecord) -> tuple[str, ...]:
        if self.problem is not None:
            raise self.problem
        self.unmade.append(record.name)
        return ()


def removing(bench: Bench, building: Any) -> Removing:
    return Removing(
        networks=MemoryRecords(),
        register=bench.register,
        tenants=Tenants(bench.tenants),
        sharing=bench.attachments.sharing,
        building=building,
        foreign=bench.attachments._foreign,
        reaper=bench.attachments.reaper,
        telling=bench.attachments.telling,
        clock=SystemClock(),
    )


async def test_one_that_nobody_uses_goes_and_is_told_of(tmp_path: Path) -> None:
    bench, building = Bench(tmp_path), NotedBuilding()
    await removing(bench, building).remove("inner")
    assert (building.unmade, bench.register.named("inner")) == (["inner"], None)
    assert [(one.action, one.attributes["name"]) for one in bench.events] == [("destroy", "inner")]
    with pytest.raises(NetworkNotFound):
        await removing(bench, building).remove("inner")


async def test_those_that_are_needed_stay(tmp_path: Path) -> None:
    bench, building = Bench(tmp_path), NotedBuilding()
    await bench.runs("one", bench.red)
    bench.add("config", config_only=True)
    bench.add("user", bench.inner.pools[0], config_from="config")
    for name, problem in (("bridge", PredefinedNetwork), ("red", HasActiveEndpoints), ("config", ConfigInUse)):
        with pytest.raises(problem):
            await removing(bench, building).remove(name)
        assert bench.register.named(name) is not None
    assert building.unmade == []
    assert bench.events == []


async def test_one_that_cannot_be_unmade_is_there_again(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    with pytest.raises(EngineError, match="busy"):
        await removing(bench, NotedBuilding(EngineError("busy"))).remove("inner")
    assert bench.register.named("inner") == bench.inner


async def test_prune_takes_what_is_unused_and_old_enough(tmp_path: Path) -> None:
    bench, building = Bench(tmp_path), NotedBuilding()
    await bench.runs("one", bench.red)
    bench.add("labelled", bench.inner.pools[0], labels={"keep": ""})
    service = removing(bench, building)
    assert await service.prune(parse_filters('{"label!":["keep"],"until":["1h"]}')) == ("inner",)
    assert await service.prune(parse_filters('{"until":["0.000000001"]}')) == (), "made in the first nanosecond"
    assert await service.prune(Filters({})) == ("labelled",)


@pytest.mark.parametrize("filters", ['{"until":["x"]}', '{"until":["1h","2h"]}', '{"driver":["bridge"]}'])
async def test_prune_refuses_filters_that_say_nothing(tmp_path: Path, filters: str) -> None:
    service = removing(Bench(tmp_path), NotedBuilding())
    with pytest.raises(InvalidFilter):
        await service.prune(parse_filters(filters))
    service._pruning = True
    with pytest.raises(PruneRunning):
        await service.prune(Filters({}))
