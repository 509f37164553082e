"""Volumes by name, driver and label: the index against a look at each volume."""

import asyncio
from itertools import product

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from berth.store.memory import MemoryRecords
from berth.volumes.finding import Finding
from berth.volumes.model import VolumeRecord
from berth.wire.filters import Filters

WANTED = [
    {"label": ("a",)},
    {"label": ("a=1",)},
    {"label": ("a=1", "b")},
    {"label": ("a=1", "a=2")},
    {"label": ("a=",)},
    {"driver": ("local",)},
    {"driver": ("local", "other")},
    {"driver": ("nosuch",)},
    {"name": ("x",)},
    {"name": ("x", "y"), "label": ("b",), "driver": ("local",)},
    {"name": ()},
]


def passes(record: VolumeRecord, filters: Filters) -> bool:
    return (
        (not filters.get("name") or any(want in record.name for want in filters.get("name")))
        and filters.exact("driver", record.driver)
        and filters.labels(record.labels or {})
    )


volumes = st.builds(
    VolumeRecord,
    name=st.sampled_from(["x1", "x2", "y1"]),
    driver=st.sampled_from(["local", "other"]),
    labels=st.none() | st.dictionaries(st.sampled_from(["a", "b", "a=1"]), st.sampled_from(["", "1", "2"])),
)


@given(st.lists(st.tuples(st.sampled_from(["put", "drop", "move"]), volumes), max_size=20), st.integers(0, 20))
def test_the_index_follows_the_records(steps: list[tuple[str, VolumeRecord]], begin: int) -> None:
    async def main() -> None:
        records: MemoryRecords[VolumeRecord] = MemoryRecords()
        finding: Finding | None = None
        for number, (what, record) in enumerate(steps):
            if number == begin:
                finding = Finding(records)
            if what == "put":
                await records.put(record.name, record)
            elif what == "drop":
                await records.drop(record.name)
            else:
                await records.move("x1", records, "z1", msgspec.structs.replace(record, name="z1"))
        finding = finding or Finding(records)
        for terms, among in product(WANTED, [(), ({"x1", "z1"},)]):
            filters = Filters(terms)
            expected = [one for one in records.all() if passes(one, filters) and (not among or one.name in among[0])]
            found = finding.find(filters, *among)
            assert sorted(found, key=lambda one: one.name) == sorted(expected, key=lambda one: one.name), terms

    asyncio.run(main())


@pytest.mark.parametrize("terms", WANTED)
def test_nothing_is_found_where_nothing_is(terms: dict[str, tuple[str, ...]]) -> None:
    assert Finding(MemoryRecords()).find(Filters(terms)) == []
