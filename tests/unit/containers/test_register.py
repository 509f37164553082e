"""Containers by name: what a filter may mean."""

import asyncio

import msgspec
import pytest

from berth.containers import listing
from berth.containers.model import ContainerRecord
from berth.containers.register import Register
from berth.store.memory import MemoryRecords
from berth.wire.containers import ContainerConfig, HostConfig
from berth.wire.filters import Filters

NAMES = ["web", "web.2", "db-web", "other"]
FACTS = listing.Facts(lambda _: None, lambda _: set(), lambda _: {}, lambda _: ())


def record(name: str, created: int) -> ContainerRecord:
    ident = (name.encode().hex() * 64)[:64]
    return ContainerRecord(
        id=ident, name=name, created_ns=created, image_id="sha256:1", image_ref="busybox",
        config=ContainerConfig(), host_config=HostConfig(),
    )  # fmt: skip


async def filled() -> Register:
    register = Register(MemoryRecords(), MemoryRecords())
    for at, name in enumerate(NAMES):
        one = record(name, at)
        register.take_name(name, one.id)
        await register.put(one)
    return register


@pytest.mark.parametrize(
    ("pattern", "looked_at"),
    [
        ("web", 3), ("/web", 3), ("^web", 2), ("^/web", 2), ("^/web$", 1), ("web$", 2), (r"^web\.2$", 1), ("w.b", 3),
        ("", 4), ("^", 4), ("/", 4), ("nosuch", 0),
        (".web", 4), ("^.web$", 4), ("^/?web$", 4), ("web|other", 4), ("web(", 4),
    ],
)  # fmt: skip
def test_few_are_looked_at_and_none_is_missed(pattern: str, looked_at: int) -> None:
    async def main() -> None:
        register, query = await filled(), listing.Query(Filters({"name": (pattern,)}), all_=True)
        few = register.like([pattern])
        assert len(few) == looked_at
        assert listing.select(few, query, FACTS) == listing.select(register.all(), query, FACTS)

    asyncio.run(main())


def test_names_that_change_are_found_once() -> None:
    async def main() -> None:
        register = await filled()
        web = register.find("web")
        register.take_name("web-new", web.id)
        assert [one.name for one in register.like(["^web"])] == ["web", "web.2"]
        await register.put(msgspec.structs.replace(web, name="web-new"))
        register.give_back_name("web", web.id)
        assert [one.name for one in register.like(["^web"])] == ["web-new", "web.2"]
        await register.drop(register.find("web-new"))
        assert [one.name for one in register.like(["^web"])] == ["web.2"]

    asyncio.run(main())
