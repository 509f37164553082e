"""What goes along with a container's life: attached clients, health checks. Protocols only.

`Containers.accompany` registers one; they are called in the order of registration, under the container's lock,
so they must not call back into the service's verbs and must be quick.
"""

from typing import Protocol

from berth.containers.model import ContainerRecord


class Companion(Protocol):
    """Told about every turn of a container's life."""

    async def launched(self, record: ContainerRecord) -> None:
        """The monitor runs and its attach socket exists; the container's process waits to be let go.

        Who connects now misses no output. A failure here fails the start.
        """
        ...

    def started(self, record: ContainerRecord) -> None:
        """The process runs; also called for containers found alive when the engine starts."""
        ...

    async def ended(self, record: ContainerRecord) -> None:
        """The process is gone, `record` has its exit code; or a start failed before the process ran."""
        ...

    async def removed(self, record: ContainerRecord) -> None:
        """The container is gone; its directory may be removed at any moment."""
        ...
