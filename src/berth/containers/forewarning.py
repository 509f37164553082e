"""Which mounts a container's user will not be able to write to: said when they are asked for, by creation or update.

Must not: refuse anything; what cannot be known quickly is not warned of.
"""

from collections.abc import Sequence
from typing import Final, Protocol

from berth.base.aio import in_thread
from berth.base.errors import SystemFault
from berth.containers import surroundings
from berth.containers.model import ContainerRecord
from berth.volumes.mounts.access import User
from berth.volumes.mounts.model import MountPoint

_ROOT: Final = ("", "0", "root")


class Forewarn(Protocol):
    """What the volumes know of it."""

    async def forewarn(self, points: Sequence[MountPoint], user: User, layers: Sequence[str]) -> list[str]:
        """Say which writable mounts a user cannot write to."""
        ...


async def unwritable(volumes: Forewarn, record: ContainerRecord, points: Sequence[MountPoint]) -> list[str]:
    """Say which of a container's mounts its user cannot write to."""
    if record.config.user.partition(":")[0] in _ROOT or not points:
        return []
    try:
        extra = record.host_config.group_add or ()
        user = await in_thread(surroundings.who_in_layers, record.layers, record.config.user, extra)
    except SystemFault:  # no such user: said at the start
        return []
    return await volumes.forewarn(points, user, record.layers)
