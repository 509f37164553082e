"""Looks up what containers want. Must not: change it."""

from berth.networks.model import Tenant
from berth.store.base import Records


class Tenants:
    """The containers that have wanted something of networks."""

    def __init__(self, records: Records[Tenant]) -> None:
        self._records = records

    def of(self, container_id: str) -> Tenant:
        """Return what a container wants; one never declared wants nothing."""
        return self._records.get(container_id) or Tenant(container_id, "", mode="none")

    def all(self) -> list[Tenant]:
        """Return what every container wants."""
        return self._records.all()

    def find(self, ref: str) -> Tenant | None:
        """Look a container up by id or name."""
        exact = self._records.get(ref)
        if exact is not None:
            return exact
        name = ref.removeprefix("/")
        return next((one for one in self._records.all() if one.name == name or one.container_id.startswith(ref)), None)
