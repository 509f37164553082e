"""Ipvlan networks and VLANs: this machine's kernel may have neither, so a kernel of its own shows them."""

import json
from pathlib import Path

import pytest

from berth.base.errors import EngineError
from berth.wire.networks import NetworkCreate
from tests.netns.test_networks import World, snapshot
from tests.netns.throwaway import isolated
from tests.scenarios.inside import sublinks
from tests.support import uml

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What became of each test there: nothing, or a traceback."""
    if reason := uml.is_missing():
        pytest.skip(reason)
    place = tmp_path_factory.mktemp("sublinks")
    place.chmod(0o755)
    modules = ("veth", "bridge", "macvlan", "ipvlan", "8021q")
    ran = uml.run(Path(sublinks.__file__), place, modules=modules)
    assert ran.code == 0, ran.err
    found: dict[str, str] = json.loads(ran.out)
    return found


@pytest.mark.parametrize("name", [test.__name__ for test in sublinks.TESTS])
def test_in_a_kernel_that_has_them(told: dict[str, str], name: str) -> None:
    assert told[name] == "", told[name]


@isolated
async def test_a_kernel_without_ipvlan_says_so_and_keeps_nothing(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.service.adopt(set())
    before = snapshot()
    said = ""
    try:
        await world.service.create(NetworkCreate(name="x", driver="ipvlan"))
    except EngineError as exc:
        said = str(exc)
    else:
        await world.service.remove("x")
    assert not said or "has no ipvlan links: its module ipvlan is not there" in said
    assert snapshot() == before
    assert [one.name for one in world.networks.all() if not one.is_predefined] == []
