"""What can go wrong with images, in Docker's words first.

The words and kinds are compatibility (moby ``daemon/images/image_delete.go``, ``daemon/images/image.go``,
``distribution/errors.go``; distribution's ``reference`` package); a second sentence of ours may follow.
"""

from collections.abc import Sequence

from berth.base.errors import Conflict, InvalidArgument, NotFound, SystemFault, Unauthorised
from berth.base.ids import short


class InvalidReference(InvalidArgument):
    """A text does not name an image."""

    def __init__(self, reason: str = "") -> None:
        super().__init__("invalid reference format" + (f": {reason}" if reason else ""))


class InvalidTag(InvalidArgument):
    """A text is no tag."""

    def __init__(self) -> None:
        super().__init__("invalid tag format")


class ImageNotFound(NotFound):
    """No image has this name, identifier or prefix."""

    def __init__(self, ref: str) -> None:
        super().__init__(f"No such image: {ref}")
        self.ref = ref


class AmbiguousImage(ImageNotFound):
    """A prefix fits several images: Docker says that there is none, we also say why."""

    def __init__(self, ref: str, found: Sequence[str]) -> None:
        super().__init__(f"{ref}. The prefix fits {', '.join(short(ident) for ident in found)}.")


class ReferenceInUse(Conflict):
    """The last name of an image that a container was made from."""

    def __init__(self, ref: str, container_id: str, image_id: str) -> None:
        super().__init__(
            f'conflict: unable to remove repository reference "{ref}" (must force) - '
            f"container {short(container_id)} is using its referenced image {short(image_id)}"
        )


class DeletionConflict(Conflict):
    """An image cannot be deleted; `hard` when force would not help."""

    def __init__(self, image_id: str, reason: str, *, hard: bool) -> None:
        super().__init__(
            f"conflict: unable to delete {short(image_id)} ({'cannot' if hard else 'must'} be forced) - {reason}"
        )


class ManifestUnknown(NotFound):
    """The registry has the repository, not the tag or digest."""

    def __init__(self, ref: str) -> None:
        super().__init__(f"manifest for {ref} not found: manifest unknown: manifest unknown")


class AccessDenied(NotFound):
    """The registry does not let us see the repository, or has none of this name: it does not say which."""

    def __init__(self, repository: str, reason: str = "requested access to the resource is denied") -> None:
        super().__init__(
            f"pull access denied for {repository}, repository does not exist or may require 'docker login': "
            f"denied: {reason}"
        )


class PushDenied(SystemFault):
    """The registry does not let us write."""


class BadCredentials(Unauthorised):
    """A registry refused a user name or password."""

    def __init__(self, registry: str) -> None:
        super().__init__(f"login attempt to https://{registry}/v2/ failed with status: 401 Unauthorized")


class RegistryFailed(SystemFault):
    """A registry cannot be reached or answers nonsense."""


class PlatformMissing(NotFound):
    """An image exists for other platforms only."""

    def __init__(self, ref: str, platform: str) -> None:
        super().__init__(f"no matching manifest for {platform} in the manifest list entries of {ref}")


class NothingToPush(NotFound):
    """No image here has this name."""

    def __init__(self, ref: str, *, tagged: bool) -> None:
        super().__init__(
            f"tag does not exist: {ref}" if tagged else f"An image does not exist locally with the tag: {ref}"
        )


class BadArchive(InvalidArgument):
    """An uploaded archive is no image archive."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"invalid archive: {reason}")


class BadChange(InvalidArgument):
    """A ``--change`` of import or commit is wrong."""


class UnknownRecipe(NotFound):
    """There is no recipe of this name."""

    def __init__(self, name: str, known: Sequence[str]) -> None:
        super().__init__(f"no recipe for an image named {name!r}; there are: {', '.join(known)}")


class RecipeFailed(SystemFault):
    """Building an image from packages failed."""
