"""Images from and to registries: pull, push, what a registry says about a name, credentials."""

from collections.abc import AsyncIterator, Callable
from typing import Any

from berth.base.aio import Tasks
from berth.images import messages
from berth.images.catalogue import Catalogue
from berth.images.intake import Intake
from berth.images.manifest import Platform
from berth.images.messages import Message
from berth.images.reference import Reference
from berth.images.skopeo import Skopeo
from berth.wire.images import AuthConfig

Publish = Callable[[str, str, str], None]


class Transfers:
    """Pulls and pushes."""

    def __init__(
        self,
        catalogue: Catalogue,
        intake: Intake,
        skopeo: Skopeo,
        tasks: Tasks,
        publish: Publish,
        platform: Platform,
    ) -> None:
        self._catalogue = catalogue
        self._intake = intake
        self._skopeo = skopeo
        self._tasks = tasks
        self._publish = publish
        self._platform = platform

    async def pull(
        self, reference: Reference, *, auth: AuthConfig | None = None, platform: Platform | None = None
    ) -> AsyncIterator[Message]:
        """Pull."""
        ident = await self._intake.take_in(f"docker://{reference.full}", options=self._skopeo.tls(reference, "src-"))
        await self._catalogue.put(reference, ident)
        yield messages.status(f"Status: Downloaded newer image for {reference.familiar}")

    async def push(self, reference: Reference, *, auth: AuthConfig | None = None) -> AsyncIterator[Message]:
        """Push."""
        yield messages.status("later")

    async def distribution(self, reference: Reference, *, auth: AuthConfig | None = None) -> dict[str, Any]:
        """Distribution."""
        return {}

    async def login(self, auth: AuthConfig) -> None:
        """Login."""
