"""What containers need of images, networks and volumes. Protocols only; the services fit them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from berth.images.model import ImageRecord
from berth.networks.model import Sandbox, Tenant
from berth.volumes.mounts.access import User
from berth.volumes.mounts.model import MountPoint, OciMount
from berth.volumes.mounts.owners import WhoIs
from berth.wire.containers import HostConfig


class ImagePart(Protocol):
    """What containers need of images."""

    def resolve(self, ref: str) -> ImageRecord:
        """Return an image by name, digest, id or prefix; raises `NotFound`."""
        ...

    def by_id(self, ident: str) -> ImageRecord | None:
        """Return an image by its full id."""
        ...


class VolumePart(Protocol):
    """What containers need of volumes."""

    async def resolve(
        self,
        container_id: str,
        host_config: HostConfig,
        config_volumes: Sequence[str],
        inherited: Sequence[MountPoint],
    ) -> tuple[MountPoint, ...]:
        """Decide the mounts of a container being created."""
        ...

    def claiming_image(self, image_id: str) -> Sequence[str]:
        """Return the containers that are about to get a mount of an image."""
        ...

    async def forewarn(self, points: Sequence[MountPoint], user: User, layers: Sequence[str]) -> list[str]:
        """Say which writable mounts a container's user cannot write to."""
        ...

    async def attach(
        self, container_id: str, points: Sequence[MountPoint], rootfs: Path, who: WhoIs
    ) -> tuple[OciMount, ...]:
        """Make mounts ready; `who` knows the container's users."""
        ...

    async def detach(self, container_id: str, points: Sequence[MountPoint]) -> None:
        """Let go of them; may be called twice."""
        ...

    async def release(self, container_id: str, points: Sequence[MountPoint], *, remove_anonymous: bool) -> None:
        """Let go of mounts for good."""
        ...


class NetworkPart(Protocol):
    """What containers need of networks."""

    async def declare(self, tenant: Tenant) -> None:
        """Check and store what a container wants."""
        ...

    def forewarn(self, mode: str) -> Sequence[str]:
        """Say what keeps a container of a network mode from what is outside."""
        ...

    async def open(self, container_id: str) -> Sandbox:
        """Make the namespace and all in it."""
        ...

    async def close(self, container_id: str) -> None:
        """Take it away; may be called twice."""
        ...

    async def forget(self, container_id: str) -> None:
        """Drop what a container wants."""
        ...

    async def renamed(self, container_id: str, new_name: str) -> None:
        """Learn a container's new name."""
        ...

    async def adopt(self, alive: set[str]) -> None:
        """Reconcile the kernel; containers that are not alive are closed."""
        ...

    def mode(self, container_id: str, recorded: str) -> str:
        """Return ``HostConfig.NetworkMode``: the network named at creation, by the name it has now."""
        ...

    def settings(self, container_id: str) -> dict[str, Any]:
        """Return ``NetworkSettings`` of inspect."""
        ...

    def summary(self, container_id: str) -> dict[str, Any]:
        """Return ``NetworkSettings`` of the list."""
        ...

    def ports(self, container_id: str) -> Sequence[dict[str, Any]]:
        """Return ``Ports`` of the list."""
        ...
