"""A world whose records are on disk, as an engine's are: what it wrote is there for the next one."""

from pathlib import Path

from berth.kernel.mount import mount
from berth.networks.model import LastHeld, LiveSandbox, NetworkRecord, Tenant
from berth.networks.service import Networks
from berth.store.sqlite import Stores
from tests.netns.test_networks import World
from tests.support.faults import FailingRecords


class StoredWorld(World):
    """Steps are a record's write too, and a kill forgets nothing that was written."""

    stores: Stores | None = None

    def __init__(self, root: Path, **settings: object) -> None:
        data = root / "data"
        if not data.is_mount():  # in the test's own mount namespace: syncing costs nothing
            data.mkdir()
            mount("tmpfs", str(data), "tmpfs")
        super().__init__(root, **settings)  # type: ignore[arg-type]

    def fresh(self) -> Networks:
        if self.stores is not None:
            self.stores.close()
        self.stores = Stores(self.layout.database, self.layout.runtime_database)
        self.networks = FailingRecords(self.stores.durable("networks", NetworkRecord), self.fault)
        self.tenants = FailingRecords(self.stores.durable("tenants", Tenant), self.fault)
        self.live = FailingRecords(self.stores.runtime("sandboxes", LiveSandbox), self.fault)
        self.last = self.stores.runtime("addresses", LastHeld)  # what is lost of it is not missed
        return super().fresh()

    def wake(self) -> None:
        self.stores = self.service = None  # type: ignore[assignment]  the other process's: its threads are not here
        self.fresh()
