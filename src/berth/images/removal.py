"""What removing an image by name or identifier means, in Docker's order of rules. Pure.

Rules of moby ``daemon/images/image_delete.go``: a name goes if another is left or nothing uses the image; the image
goes with its last name, or by identifier if it has one name at most; force overrules stopped containers only.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from berth.images.errors import DeletionConflict, ReferenceInUse
from berth.images.reference import Reference

#: Container id and whether it runs.
User = tuple[str, bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """Names to take away, in order, and whether the image itself goes."""

    untag: tuple[Reference, ...]
    delete: bool


def plan_removal(
    *,
    ref: str,
    named: Reference | None,
    image_id: str,
    names: Sequence[Reference],
    users: Sequence[User],
    force: bool,
) -> Removal:
    """Decide; `named` is the parsed name if `ref` is none of the image's identifier. Raises a conflict."""
    if named is None:
        return _by_identifier(image_id, names, users, force=force)
    if not force and users and _is_single(names):
        raise ReferenceInUse(ref, users[0][0], image_id)
    untag = [named]
    rest = [name for name in names if name != named]
    if not named.digest and not any(not name.digest and name.repository == named.repository for name in rest):
        untag += [name for name in rest if name.repository == named.repository]
        rest = [name for name in rest if name.repository != named.repository]
    # With containers left the image stays, nameless: they are mounted on its layers.
    return Removal(untag=tuple(untag), delete=not rest and not users)


def _by_identifier(image_id: str, names: Sequence[Reference], users: Sequence[User], *, force: bool) -> Removal:
    running = next((ident for ident, runs in users if runs), None)
    if running is not None:
        raise DeletionConflict(image_id, f"image is being used by running container {running[:12]}", hard=True)
    if not force:
        if not _is_single(names):
            raise DeletionConflict(image_id, "image is referenced in multiple repositories", hard=False)
        if users:
            raise DeletionConflict(image_id, f"image is being used by stopped container {users[0][0][:12]}", hard=False)
    return Removal(untag=tuple(names), delete=not users)


def _is_single(names: Sequence[Reference]) -> bool:
    """Tell whether there is one tag at most and all names are of one repository."""
    tags = [name for name in names if not name.digest]
    return len(names) <= 1 or (len(tags) <= 1 and len({name.repository for name in names}) == 1)
