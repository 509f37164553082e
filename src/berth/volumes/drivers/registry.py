"""The drivers of one engine by name."""

from collections.abc import Mapping

from berth.volumes.drivers.base import VolumeDriver
from berth.volumes.errors import NoSuchDriver
from berth.volumes.model import LOCAL, VolumeRecord


class Drivers:
    """Finds the driver of a volume."""

    def __init__(self, drivers: Mapping[str, VolumeDriver]) -> None:
        self._drivers = drivers

    def get(self, name: str, driver: str) -> VolumeDriver:
        """Return a driver for volume `name`; an empty `driver` is the local one. Raises `NoSuchDriver`."""
        found = self._drivers.get(driver or LOCAL)
        if found is None:
            raise NoSuchDriver(name, driver)
        return found

    def of(self, record: VolumeRecord) -> VolumeDriver:
        """Return the driver of a recorded volume."""
        return self.get(record.name, record.driver)

    def every(self) -> Mapping[str, VolumeDriver]:
        """Return all."""
        return self._drivers
