"""Looking up what containers want."""

from berth.networks.model import Tenant
from berth.networks.tenants import Tenants
from berth.store.memory import MemoryRecords


async def made() -> Tenants:
    records: MemoryRecords[Tenant] = MemoryRecords()
    for number, name in enumerate(("web", "db", "a1a1")):
        await records.put(f"a{number}" * 32, Tenant(f"a{number}" * 32, name))
    return Tenants(records)


async def test_one_never_declared_wants_nothing() -> None:
    assert (await made()).of("b" * 64) == Tenant("b" * 64, "", mode="none")
    assert (await made()).of("a0" * 32).name == "web"


async def test_one_is_found_by_id_name_and_start_of_its_id() -> None:
    tenants = await made()
    for ref, name in (("a1" * 32, "db"), ("db", "db"), ("/db", "db"), ("a0a0", "web")):
        found = tenants.find(ref)
        assert found is not None
        assert found.name == name, ref
    assert tenants.find("nobody") is None
    assert [one.name for one in tenants.all()] == ["web", "db", "a1a1"]
